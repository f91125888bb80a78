"""MBAR by pymbar: oscillators, whose free energies are known; JAX's settings are left alone."""

import functools
import inspect
import subprocess
import sys

import jax
import numpy as np
import pytest

from jaxphys.sampling import effective_sample_size, free_energies, importance_weights, mbar
from jaxphys.sampling import mbar_average as average
from jaxphys.sampling import mbar_weights as log_weights

KTS = np.array([0.5, 0.8, 1.3])
SIZES = (400, 300, 500)


@functools.cache
def samples():
    """Of x²/2 in two dimensions, ln Z = ln 2π kT, for each temperature."""
    random = np.random.default_rng(0)
    return [np.sqrt(kt) * random.normal(size=(size, 2)) for kt, size in zip(KTS, SIZES, strict=True)]


def energies(offset=0.0):
    return [0.5 * np.sum(part**2, axis=-1) + offset for part in samples()]


@functools.cache
def pooled():
    return mbar(energies(), KTS)


def test_free_energies_of_oscillators():
    found = free_energies(energies(), KTS)
    assert found[0] == (0.0, 0.0)
    for estimate, kt in zip(found[1:], KTS[1:], strict=True):
        assert abs(estimate.value + np.log(kt / KTS[0])) < 4 * estimate.error < 0.4


def test_an_energy_far_from_zero_changes_nothing_else():
    found = mbar(energies(offset=1e5), KTS)
    np.testing.assert_allclose(
        found.free_energies - 1e5 * (1 / KTS - 1 / KTS[0]), pooled().free_energies, atol=1e-6
    )
    np.testing.assert_allclose(
        importance_weights(log_weights(found, kt=1.0)), importance_weights(log_weights(pooled(), kt=1.0)),
        rtol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize("kt", [0.5, 1.0])
def test_averages_at_another_temperature(kt):
    squares = np.sum(np.concatenate(samples()) ** 2, axis=-1)
    estimate = average(pooled(), squares, kt=kt)
    assert abs(estimate.value - 2 * kt) < 4 * estimate.error < 0.5
    weights = importance_weights(log_weights(pooled(), kt=kt))
    np.testing.assert_allclose(np.sum(weights * squares), estimate.value, rtol=1e-6)


def test_averages_under_another_energy():
    # a mutant: twice as stiff along x
    x, y = np.concatenate(samples()).T
    mutant = x**2 + 0.5 * y**2
    for values, exact in ((x**2, 0.4), (y**2, 0.8)):
        estimate = average(pooled(), values, kt=0.8, energies=mutant)
        assert abs(estimate.value - exact) < 4 * estimate.error < 0.2
    left = effective_sample_size(log_weights(pooled(), kt=0.8, energies=mutant))
    assert 0.3 < left.fraction < 0.9


def test_its_error_is_that_of_repetition():
    random = np.random.default_rng(1)
    found = []
    for _ in range(40):
        parts = [np.sqrt(kt) * random.normal(size=(100, 2)) for kt in KTS]
        own = mbar([0.5 * np.sum(part**2, axis=-1) for part in parts], KTS)
        found.append((own.free_energies[-1], own.errors[-1]))
    values, errors = np.array(found).T
    assert 0.7 < np.std(values) / np.mean(errors) < 1.4


def test_jax_settings_and_the_screen_are_left_alone():
    program = """
import jax, numpy as np
from jaxphys.sampling import mbar, mbar_average
random = np.random.default_rng(0)
energies = [kt * random.gamma(1.5, size=50) for kt in (1.0, 1.5)]
pooled = mbar(energies, np.array([1.0, 1.5]))
mbar_average(pooled, pooled.energies, kt=1.2)
assert not jax.config.jax_enable_x64 and jax.numpy.zeros(3, float).dtype == np.float32
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert jax.config.jax_enable_x64


@pytest.mark.parametrize(
    ("parts", "kts", "message"),
    [
        ([np.zeros(3)], np.array([1.0]), "at least two kts, got 1"),
        ([np.zeros(3), np.zeros(3)], np.array([1.0, 2.0, 3.0]), r"got 2 and shape \(3,\)"),
        ([np.zeros(3), np.zeros(0)], np.array([1.0, 2.0]), "at kT = 2.0 must be finite, at least one, got 0"),
        ([np.zeros(3), np.array([1, np.inf])], np.array([1.0, 2.0]), "of which 1 are not finite"),
        ([np.zeros(3), np.zeros(3)], np.array([1.0, -2.0]), "kts must be positive"),
    ],
)
def test_what_cannot_be_pooled(parts, kts, message):
    with pytest.raises(ValueError, match=message):
        inspect.unwrap(mbar)(parts, kts)


def test_what_cannot_be_a_target():
    unchecked = inspect.unwrap(log_weights)
    for arguments, message in (
        ({"kt": 0.0}, "kt must be positive"),
        ({"kt": 1.0, "energies": np.zeros(3)}, r"energies must have shape \(1200,\), got \(3,\)"),
        ({"kt": 1.0, "energies": np.full(1200, np.nan)}, "1200 of 1200 energies are not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            unchecked(pooled(), **arguments)
    with pytest.raises(ValueError, match="values must be finite and have shape"):
        average(pooled(), np.full(1200, np.inf), kt=1.0)
