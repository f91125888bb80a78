"""Annealing by sequential Monte Carlo: free energies and basin weights that are known."""

import functools
import itertools

import jax
import numpy as np
import pytest
from model_systems import left_weight, oscillators, springs, standard_error, unlike_wells

from jaxphys.sampling import anneal, hmc

KEY = jax.random.key(0)


def equilibrium(kt, walkers, dtype="float64"):
    """Samples of two particles of `oscillators`, by themselves."""
    noise = np.random.default_rng(0).normal(size=(walkers, 2, 3))
    return (noise * np.sqrt(kt / np.array([1.0, 2.0, 4.0]))).astype(dtype)


@pytest.mark.parametrize(("kt_start", "kt_end", "dtype"), [(1.0, 0.2, "float32"), (0.3, 1.0, "float64")])
def test_free_energy_and_energy_of_oscillators(kt_start, kt_end, dtype):
    start = equilibrium(kt_start, 1000, dtype)
    found = anneal(
        oscillators, KEY, start, kt_start=kt_start, kt_end=kt_end, sweeps=8, step_size=0.4, leapfrog=5
    )
    assert found.positions.dtype == dtype
    assert abs(np.mean(found.energies) - 3 * kt_end) < 4 * standard_error(found.energies)
    # the weights of each rung have a relative variance of 1 / ess − 1
    error = np.sqrt(np.sum(1 / found.ess - 1) / 1000)
    assert abs(found.log_z_ratio - 3 * np.log(kt_end / kt_start)) < 4 * error < 0.3
    assert found.kts[0] == kt_start and found.kts[-1] == kt_end
    assert np.all(np.diff(found.kts) * np.sign(kt_end - kt_start) > 0)
    np.testing.assert_allclose(found.ess[:-1], 0.5, atol=0.01)
    assert found.ess[-1] >= 0.5 and 1 < found.ancestors < 1000
    assert len(np.unique(found.lineage)) == found.ancestors
    assert np.all(np.abs(found.acceptance - 0.8) < 0.15)


def test_a_constant_in_the_energy_changes_the_free_energy_alone():
    def raised(positions):
        return oscillators(positions) + 1e4

    settings = {"kt_start": 1.0, "kt_end": 0.2, "sweeps": 2, "step_size": 0.4, "leapfrog": 5}
    start = equilibrium(1.0, 1000)
    low, high = (anneal(fn, KEY, start, **settings) for fn in (oscillators, raised))
    np.testing.assert_allclose(high.kts, low.kts, rtol=1e-6)
    np.testing.assert_allclose(high.log_z_ratio + 1e4 * (1 / 0.2 - 1), low.log_z_ratio, atol=1e-4)


@functools.cache
def hot_wells():
    start = np.random.default_rng(1).choice([-1.0, 1.0], size=(1000, 1, 1))
    run = hmc(unlike_wells, KEY, start, kt=4.0, step_size=0.2, sweeps=100, keep_every=100)
    return np.asarray(run.positions[-1])


def test_basins_get_the_weights_that_cooling_alone_cannot_give_them():
    exact, log_z = left_weight(0.5)
    hot_exact, hot_log_z = left_weight(4.0)
    hot = hot_wells()
    cooled = hmc(unlike_wells, KEY, hot, kt=0.5, step_size=0.07, sweeps=200, keep_every=200).positions[-1]
    found = anneal(unlike_wells, KEY, hot, kt_start=4.0, kt_end=0.5, sweeps=10, step_size=0.2)
    error = np.sqrt(0.25 / 1000)
    assert abs(np.mean(hot < 0) - hot_exact) < 4 * error
    assert exact > 0.97 and np.mean(cooled < 0) < 0.8
    assert abs(np.mean(found.positions < 0) - exact) < 0.02
    assert abs(found.log_z_ratio - (log_z - hot_log_z)) < 0.15


def test_force_calls_are_counted_and_a_free_system_is_centred():
    calls = itertools.count()

    def counting(positions):
        jax.debug.callback(lambda _: next(calls), positions[0, 0])
        return springs(positions)

    found = anneal(
        counting, KEY, equilibrium(1.0, 5), kt_start=1.0, kt_end=0.5, sweeps=2, step_size=0.3, leapfrog=2,
        centre=True,
    )  # fmt: skip
    jax.effects_barrier()
    assert found.force_calls == next(calls)
    np.testing.assert_allclose(np.mean(found.positions, axis=1), 0, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kt_end": -0.1}, "kt_end must be positive and finite, got -0.1"),
        ({"kt_end": 1.0}, "kt_start and kt_end must differ, both are 1.0"),
        ({"ess_fraction": 1.0}, "ess_fraction must lie between 0 and 1, got 1.0"),
        ({"sweeps": 0}, "sweeps must be at least 1, got 0"),
        ({"step_size": 0.0}, "step_size must be positive"),
        ({"max_rungs": 1}, "after 1 rungs, on the way from 1.0 to 0.1: allow more"),
        ({"positions": np.full((4, 2, 3), np.inf)}, "positions of walker 0 are not finite"),
        ({"positions": np.full((4, 2, 3), 1e200)}, "walker 0 of 4 starts with the energy inf"),
    ],
)
def test_what_annealing_refuses(change, message):
    arguments = {
        "positions": equilibrium(1.0, 1000), "kt_start": 1.0, "kt_end": 0.1, "sweeps": 1, "step_size": 0.3,
        "leapfrog": 5,
    } | change  # fmt: skip
    with pytest.raises(ValueError, match=message):
        anneal(oscillators, KEY, **arguments)
