"""Parallel tempering: DW4 from two starts, exchanges, the count of force calls, what it refuses."""

import functools
import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_systems import (
    double_well_4,
    left_weight,
    long_distances,
    oscillators,
    standard_error,
    unlike_wells,
)

from jaxphys.sampling import check_reference, parallel_tempering

KEY = jax.random.key(0)
KTS = np.array([1.0, 1.25, 1.6, 2.1, 2.8, 4.0])
STARTS = {
    2: 3.2 * np.array([[0, 0], [1, 0], [1, 1], [0, 1]]),
    4: np.array([[0, 0], [2.9, 0], [0, 5.2], [2.9, 5.2]]),
}


@functools.cache
def run(start, ladders=120, sweeps=240):
    """A run of DW4 from the shape with so many long distances."""
    noise = np.random.default_rng(0).normal(size=(ladders, 4, 2))
    positions = (STARTS[start] - STARTS[start].mean(axis=0) + 0.05 * noise).astype(np.float32)
    assert np.all(long_distances(positions) == start)
    return parallel_tempering(
        double_well_4, KEY, positions, kts=KTS, sweeps=sweeps, leapfrog=12, burn_in=sweeps // 2, keep_every=3,
        step_sizes=0.159 * np.sqrt(KTS), centre=True,
    )  # fmt: skip


def long(positions):
    """How many distances of one DW4 are above 4."""
    i, j = np.triu_indices(4, 1)
    return jnp.sum(jnp.sum((positions[i] - positions[j]) ** 2, axis=-1) > 16)


def check_dw4(found, precision):
    """Against the populations and the energy of long runs, to four standard errors of this precision."""
    count = long_distances(np.asarray(found.positions[:, :, 0]))
    for number, exact in ((2, 0.403), (4, 0.521)):
        fractions = np.mean(count == number, axis=0)
        assert abs(np.mean(fractions) - exact) < 4 * standard_error(fractions) < 4 * precision
    energies = np.mean(found.energies[:, :, 0], axis=0)
    assert abs(np.mean(energies) + 22.545) < 4 * standard_error(energies)


@pytest.mark.parametrize("start", [2, 4])
def test_populations_of_dw4_from_either_start(start):
    found = run(start)
    assert found.positions.shape == (80, 120, 6, 4, 2) and found.positions.dtype == np.float32
    check_dw4(found, 0.011)
    assert np.all(np.abs(found.swap_acceptance - 0.76) < 0.05)
    assert np.all(found.round_trips > 5)
    # every temperature has its own energies, in order
    assert np.all(np.diff(np.mean(found.energies, axis=(0, 1))) > 0)


@pytest.mark.slow
def test_two_long_runs_of_dw4_are_a_reference():
    runs = [run(start, ladders=300, sweeps=900) for start in (2, 4)]
    for found in runs:
        check_dw4(found, 0.004)
    first, second = (found.positions[:, :, 0] for found in runs)
    check_reference(double_well_4, first, second, kt=1.0, degrees_of_freedom=6, observables={"long": long})


def test_energies_belong_to_positions():
    found = run(2)
    expected = jax.vmap(jax.vmap(jax.vmap(double_well_4)))(found.positions[:5])
    np.testing.assert_allclose(found.energies[:5], expected, rtol=1e-4, atol=1e-3)


def test_basins_of_a_cold_well_and_its_tuned_steps():
    found = parallel_tempering(
        unlike_wells, KEY, np.ones((100, 1, 1)), kts=np.array([0.5, 1.0, 2.0, 4.0]), sweeps=200, leapfrog=6,
        burn_in=50,
    )  # fmt: skip
    for i, kt in enumerate([0.5, 1.0, 2.0, 4.0]):
        left = np.mean(found.positions[:, :, i] < 0, axis=(0, 2, 3))
        assert abs(np.mean(left) - left_weight(kt)[0]) < 4 * standard_error(left) < 0.1
    assert np.all(np.abs(found.acceptance - 0.8) < 0.08)
    assert np.all(np.diff(found.step_sizes) > 0)


def test_counts_are_of_what_is_kept():
    calls = itertools.count()

    def counting(positions):
        jax.debug.callback(lambda _: next(calls), positions[0, 0])
        return oscillators(positions)

    # with temperatures so near that every exchange is accepted
    settings = {"kts": 1 + 1e-9 * np.arange(3), "sweeps": 24, "leapfrog": 2, "step_sizes": np.full(3, 0.1)}
    start, expected = np.full((2, 3, 2, 3), 0.3), 0
    for burn_in in (0, 5):
        found = parallel_tempering(counting, KEY, start, **settings, burn_in=burn_in)
        jax.effects_barrier()
        assert found.force_calls == 6 * (1 + 2 * (24 + burn_in))
        expected += found.force_calls
        np.testing.assert_allclose(found.swap_acceptance, 1, atol=1e-6)
        # three replicas go round in circles: up in two or three sweeps, and down in as many
        assert np.all(np.abs(found.round_trips - 24 * 3 / 6) <= 3)
        assert np.all(found.acceptance > 0.9) and np.all(found.acceptance <= 1)
    assert next(calls) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kts": np.array([1.0, 0.5])}, r"kts must be ascending, got \[1.0, 0.5\]"),
        ({"kts": np.array([1.0, 1.0])}, "kts must be ascending"),
        ({"kts": np.array([1.0])}, r"at least two temperatures, got shape \(1,\)"),
        ({"kts": np.array([0.0, 1.0])}, "kts must be positive"),
        ({"step_sizes": np.ones(3)}, r"step_sizes must be one for each of 2 kts, got \(3,\)"),
        ({"step_sizes": np.array([0.1, -0.1])}, "step_sizes must be positive"),
        ({"positions": np.zeros((2, 3, 4, 3))}, r"must have 2 temperatures, as kts has, got \(2, 3, 4, 3\)"),
        ({"positions": np.zeros((4, 3))}, r"positions must have shape \(ladders, temperatures"),
        ({"positions": np.full((2, 4, 3), np.nan)}, "positions of walker 0 are not finite"),
        ({"positions": np.full((2, 4, 3), 1e200)}, "walker 0 of 4 starts with the energy inf"),
    ],
)
def test_what_parallel_tempering_refuses(change, message):
    arguments = {
        "positions": np.zeros((2, 4, 3)), "kts": np.array([0.5, 1.0]), "sweeps": 2,
        "step_sizes": np.array([0.1, 0.2]),
    } | change  # fmt: skip
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(parallel_tempering)(oscillators, KEY, **arguments)
