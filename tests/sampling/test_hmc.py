"""Hamiltonian Monte Carlo: known averages, the step size, the count of force calls, what it refuses."""

import functools
import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_systems import oscillators, springs, standard_error

from jaxphys.sampling import hmc, tune_step_size

KEY = jax.random.key(0)
START = np.full((200, 2, 3), 0.3)
RUN = {"kt": 0.5, "step_size": 0.35, "leapfrog": 5}


@functools.cache
def run(dtype="float64"):
    return hmc(oscillators, KEY, START.astype(dtype), **RUN, sweeps=60, burn_in=20, keep_every=3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_energies_and_widths_are_those_of_oscillators(dtype):
    found = run(dtype)
    assert found.positions.dtype == found.energies.dtype == dtype
    assert found.positions.shape == (20, 200, 2, 3) and found.energies.shape == (20, 200)
    energies = np.mean(found.energies, axis=0)
    assert abs(np.mean(energies) - 6 * 0.5 / 2) < 4 * standard_error(energies)
    squares = np.mean(np.square(found.positions), axis=(0, 2))
    for axis, stiffness in enumerate([1.0, 2.0, 4.0]):
        assert abs(np.mean(squares[:, axis]) - 0.5 / stiffness) < 4 * standard_error(squares[:, axis])
    assert 0.5 < found.acceptance < 0.99


def test_energies_belong_to_positions():
    found = run()
    expected = jax.vmap(jax.vmap(oscillators))(found.positions)
    np.testing.assert_allclose(found.energies, expected, rtol=1e-12)


def test_the_same_key_gives_the_same_run_also_inside_jit():
    def positions(key, start):
        return hmc(oscillators, key, start, **RUN, sweeps=60, burn_in=20, keep_every=3).positions

    np.testing.assert_allclose(jax.jit(positions)(KEY, START), run().positions, rtol=1e-10)
    assert not np.allclose(jax.jit(positions)(jax.random.key(1), START), run().positions)


def test_each_walker_has_its_temperature():
    kt = np.repeat([0.2, 1.0], 100)
    found = hmc(oscillators, KEY, START, **RUN | {"kt": kt}, sweeps=60, burn_in=20, keep_every=3)
    energies = np.mean(found.energies, axis=0)
    for part, temperature in ((energies[:100], 0.2), (energies[100:], 1.0)):
        assert abs(np.mean(part) - 3 * temperature) < 4 * standard_error(part)


def test_a_free_system_stays_where_it_is_and_loses_a_particle_of_freedom():
    found = hmc(springs, KEY, START, kt=0.5, step_size=0.3, leapfrog=5, sweeps=40, burn_in=20, centre=True)
    np.testing.assert_allclose(np.mean(found.positions, axis=2), 0, atol=1e-12)
    energies = np.mean(found.energies, axis=0)
    assert abs(np.mean(energies) - 3 * 0.5 / 2) < 4 * standard_error(energies)


def test_a_varied_step_leaves_the_resonance():
    def oscillator(positions):
        return 0.5 * jnp.sum(positions**2)

    # eight steps of an eighth of the leapfrog's own period lead back to the start
    resonant = {"kt": 1.0, "step_size": 2 * np.sin(np.pi / 8), "leapfrog": 8, "sweeps": 50}
    start = np.full((200, 1, 1), 2.0)
    stuck = hmc(oscillator, KEY, start, **resonant, jitter=0.0)
    free = hmc(oscillator, KEY, start, **resonant)
    np.testing.assert_allclose(stuck.energies, 2.0, atol=1e-9)
    energies = np.mean(free.energies[20:], axis=0)
    assert abs(np.mean(energies) - 0.5) < 4 * standard_error(energies)


def test_what_ends_in_nan_is_not_accepted():
    def walled(positions):
        return jnp.where(jnp.max(jnp.abs(positions)) < 0.5, 0.0, jnp.nan) + 0.0 * jnp.sum(positions)

    start = np.zeros((400, 1, 2))
    found = hmc(walled, KEY, start, kt=1.0, step_size=0.1, leapfrog=5, sweeps=50, burn_in=20)
    assert np.all(np.abs(found.positions) < 0.5) and np.all(np.isfinite(found.energies))
    squares = np.mean(np.square(found.positions), axis=(0, 2, 3))
    assert abs(np.mean(squares) - 1 / 12) < 4 * standard_error(squares)


@pytest.mark.parametrize("sampler", ["hmc", "tune_step_size"])
def test_force_calls_are_counted(sampler):
    calls = itertools.count()

    def counting(positions):
        jax.debug.callback(lambda _: next(calls), positions[0, 0])
        return oscillators(positions)

    if sampler == "hmc":
        found = hmc(counting, KEY, START[:3], **RUN, sweeps=4, burn_in=3, keep_every=2)
    else:
        found = tune_step_size(counting, KEY, START[:3], kt=0.5, leapfrog=2, sweeps=15, start=0.3)
    jax.effects_barrier()
    assert found.force_calls == next(calls)


@pytest.mark.parametrize(("start", "target"), [(1e-6, 0.6), (100.0, 0.9)])
def test_step_size_from_any_start(start, target):
    found = tune_step_size(oscillators, KEY, START, kt=0.5, leapfrog=5, start=start, target=target)
    assert abs(found.acceptance - target) < 0.02
    settings = RUN | {"step_size": found.step_size}
    check = hmc(oscillators, KEY, found.positions, **settings, sweeps=60, keep_every=3)
    assert abs(check.acceptance - target) < 0.04


def test_no_step_size_where_nothing_is_accepted():
    def needle(positions):
        return jnp.where(jnp.all(positions == 0.3), 0.0, jnp.nan) + 0.0 * jnp.sum(positions)

    with pytest.raises(ValueError, match=r"no step size found: .* probability 0\.00, not 0\.8"):
        tune_step_size(needle, KEY, START[:5], kt=0.5, leapfrog=2, sweeps=20)


def with_walker(place, value):
    start = START[:3].copy()
    start[place] = value
    return start


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kt": 0.0}, "kt must be positive and finite, got 0.0"),
        ({"kt": np.array([1.0, -1.0, 1.0])}, "kt must be positive"),
        ({"kt": np.ones(2)}, r"kt must be one number, or one for each of 3 walkers, got \(2,\)"),
        ({"step_size": np.nan}, "step_size must be positive and finite, got nan"),
        ({"sweeps": 0}, "sweeps must be at least 1, got 0"),
        ({"keep_every": 3}, "sweeps must be a multiple of keep_every, got 4 and 3"),
        ({"leapfrog": 0}, "leapfrog must be at least 1"),
        ({"burn_in": -1}, "burn_in must not be negative"),
        ({"jitter": 1.0}, "jitter must be at least 0 and below 1"),
        ({"positions": np.zeros((2, 3))}, r"positions must have shape \(walkers, particles, dimensions\)"),
        ({"positions": np.zeros((0, 2, 3))}, r"none of them empty, got \(0, 2, 3\)"),
        ({"positions": np.zeros((3, 1, 3)), "centre": True}, "nothing of a single particle"),
        ({"positions": with_walker(1, np.nan)}, "positions of walker 1 are not finite at the start"),
        ({"positions": with_walker(2, 1e200)}, "walker 2 of 3 starts with the energy inf"),
    ],
)  # fmt: skip
def test_what_hmc_refuses(change, message):
    arguments = {"positions": START[:3], "sweeps": 4, **RUN} | change
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(hmc)(oscillators, KEY, **arguments)  # without the tests' own check of annotations
