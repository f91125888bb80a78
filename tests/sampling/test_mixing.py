"""What a reference must show: the virial, two starts that agree, walkers that go everywhere."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_systems import oscillators, springs

from jaxphys.sampling import NotMixed, check_reference, hmc, virial

KEY = jax.random.key(0)


def exact(kt, seed=0, draws=16, walkers=50):
    """Independent samples of two particles of `oscillators`."""
    noise = np.random.default_rng(seed).normal(size=(draws, walkers, 2, 3))
    return noise * np.sqrt(kt / np.array([1.0, 2.0, 4.0]))


def two_wells(positions):
    """Alike on both sides, with a barrier of 6."""
    return 6 * (positions[0, 0] ** 2 - 1) ** 2


def side(positions):
    return jnp.where(positions[0, 0] > 0, 1.0, 0.0)


@functools.cache
def wells(kt, start):
    """A run of `two_wells` from both sides, the left one or the right one."""
    signs = {"both": np.resize([-1.0, 1.0], 60), "left": -np.ones(60), "right": np.ones(60)}[start]
    key = jax.random.fold_in(KEY, len(start))
    return hmc(
        two_wells, key, signs[:, None, None], kt=kt, step_size=0.11 * kt**0.5, sweeps=400, burn_in=50,
        keep_every=4,
    ).positions  # fmt: skip


def test_virial_counts_the_degrees_of_freedom():
    found = virial(oscillators, exact(0.5), 0.5)
    assert abs(found.value - 6) < 4 * found.error < 0.6
    # for a harmonic energy x·∇E is 2 E
    by_hand = 2 * jax.vmap(jax.vmap(oscillators))(exact(0.5)) / 0.5
    np.testing.assert_allclose(found.value, np.mean(by_hand), rtol=1e-12)
    np.testing.assert_allclose(found.error, np.std(np.mean(by_hand, 0), ddof=1) / np.sqrt(50), rtol=1e-12)


def test_virial_of_a_free_system_does_not_see_where_it_is():
    positions = exact(1.0)
    here, there = virial(springs, positions, 1.0), virial(springs, positions + 7.0, 1.0)
    np.testing.assert_allclose(here, there, rtol=1e-9)


def test_two_good_runs_are_a_reference():
    found = check_reference(oscillators, exact(0.5, 1), exact(0.5, 2), kt=0.5, degrees_of_freedom=6)
    energy = found.quantities["energy"]
    assert abs(energy.first.value - 1.5) < 4 * energy.first.error
    assert energy.apart < 4 and energy.rhat < 1.1
    assert [round(estimate.value) for estimate in found.virial] == [6, 6]


def test_wells_that_are_crossed_are_a_reference():
    found = check_reference(
        two_wells, wells(3.0, "left"), wells(3.0, "right"), kt=3.0, degrees_of_freedom=1,
        observables={"side": side},
    )  # fmt: skip
    for estimate in (found.quantities["side"].first, found.quantities["side"].second):
        assert abs(estimate.value - 0.5) < 4 * estimate.error


def test_walkers_trapped_on_the_side_of_their_start_are_refused():
    settings = {"kt": 0.3, "degrees_of_freedom": 1}
    left, right = wells(0.3, "left"), wells(0.3, "right")
    with pytest.raises(NotMixed, match=r"side is 0 ± 0 and 1 ± 0, inf standard errors apart, above 4.0"):
        check_reference(two_wells, left, right, **settings, observables={"side": side})
    # neither virial nor energy tells one side from the other
    check_reference(two_wells, left, right, **settings)


def test_trapped_walkers_are_refused_even_if_their_starts_agree():
    half = wells(0.3, "both")
    with pytest.raises(NotMixed, match=r"not mixed at kT = 0.3: R̂ of side is .*, above 1.1"):
        check_reference(two_wells, half, half, kt=0.3, degrees_of_freedom=1, observables={"side": side})


def test_a_wrong_temperature_is_seen_by_the_virial():
    with pytest.raises(NotMixed, match=r"the virial of the second run is 7\.\d+ ± 0\.\d+, not 6") as error:
        check_reference(oscillators, exact(0.5, 1), exact(0.6, 2), kt=0.5, degrees_of_freedom=6)
    assert "energy is 1." in str(error.value) and "first run" not in str(error.value)


def test_a_run_on_its_way_is_seen_by_its_drift():
    positions = exact(0.5, 1)
    cooling = positions * np.linspace(1.3, 0.7, 16)[:, None, None, None]
    with pytest.raises(NotMixed, match=r"energy drifts by \d+\.\d standard errors in the second run"):
        check_reference(oscillators, positions, cooling, kt=0.5, degrees_of_freedom=6)


def test_a_constant_observable_is_no_obstacle():
    found = check_reference(
        oscillators, exact(0.5, 1), exact(0.5, 2, draws=8, walkers=30), kt=0.5, degrees_of_freedom=6,
        observables={"nothing": lambda positions: 0.0 * positions[0, 0]},
    )  # fmt: skip
    nothing = found.quantities["nothing"]
    assert nothing.first == (0.0, 0.0) and nothing.apart == 0 and nothing.rhat == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kt": -1.0}, "kt must be positive and finite, got -1.0"),
        (
            {"second": np.zeros((3, 2, 2, 3))},
            r"second must have shape .* at least 4 draws .* got \(3, 2, 2, 3\)",
        ),
        ({"first": np.zeros((4, 1, 2, 3))}, r"first must have shape .* of two walkers, got \(4, 1, 2, 3\)"),
        ({"first": np.full((4, 2, 2, 3), np.nan)}, "first holds positions that are not finite"),
        ({"first": np.full((4, 2, 2, 3), 1e200)}, "energies of 8 of 8 samples are not finite"),
        ({"observables": {"bad": lambda x: x}}, r"bad must be one finite number .* got shape \(2, 3\)"),
    ],
)
def test_what_cannot_be_checked(change, message):
    start = exact(0.5, draws=4, walkers=2)
    arguments = {"first": start, "second": start, "kt": 0.5, "degrees_of_freedom": 6} | change
    first, second = arguments.pop("first"), arguments.pop("second")
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(check_reference)(oscillators, first, second, **arguments)
