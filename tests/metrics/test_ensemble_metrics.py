"""Distances between ensembles against closed forms, their floors, and what is refused."""

import sys

import numpy as np
import pytest

from jaxphys.metrics import (
    distance_variation,
    distance_wasserstein,
    energy_wasserstein,
    measured,
    noise_floor,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("p", [1, 2])
def test_a_shift_is_the_distance(rng, p):
    energies = rng.normal(size=1000)
    assert energy_wasserstein(energies + 0.7, energies, p=p) == pytest.approx(0.7)
    assert energy_wasserstein(energies, energies[::-1].copy(), p=p) == pytest.approx(0, abs=1e-12)


def test_of_two_normal_distributions(rng):
    """W2² = (μ₁ − μ₂)² + (σ₁ − σ₂)²; quantiles in place of samples leave no noise."""
    from scipy.stats import norm

    quantiles = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    found = energy_wasserstein(3 + 2 * quantiles, 1 + 0.5 * quantiles)
    assert found == pytest.approx(np.hypot(2, 1.5), rel=1e-3)


def test_by_hand_with_unlike_sizes_and_weights():
    one, other = np.array([0.0, 1.0]), np.array([0.0])
    assert energy_wasserstein(one, other, p=1) == pytest.approx(0.5)
    assert energy_wasserstein(one, other, p=2) == pytest.approx(0.5**0.5)
    assert energy_wasserstein(one, other, p=1, weights=np.array([3.0, 1.0])) == pytest.approx(0.25)
    assert energy_wasserstein(other, one, p=1, reference_weights=np.array([1.0, 3.0])) == pytest.approx(0.75)


def test_limits_take_out_clashes():
    one, other = np.array([0.0, 1e9, np.inf]), np.array([0.0, 0.0, 0.0])
    assert energy_wasserstein(one, other, p=1, limits=(-1.0, 3.0)) == pytest.approx(2.0)
    with pytest.raises(ValueError, match=r"limits must be \(low, high\) with low < high"):
        energy_wasserstein(one, other, limits=(1.0, 1.0))


def test_distances_of_a_swollen_cluster(rng):
    positions = rng.normal(size=(50, 4, 3))
    assert distance_wasserstein(positions, positions) == pytest.approx(0, abs=1e-12)
    pair = np.array([[[0.0, 0, 0], [1.0, 0, 0]]])
    assert distance_wasserstein(3 * pair, pair) == pytest.approx(2.0)
    both = np.concatenate([3 * pair, pair])
    assert distance_wasserstein(both, pair, weights=np.array([1.0, 3.0])) == pytest.approx(1.0)


def test_variation_by_hand(rng):
    def pairs(*distances):
        return np.array([[[0.0, 0, 0], [distance, 0, 0]] for distance in distances])

    reference = pairs(1.0, 2.0)
    assert distance_variation(reference, reference, bins=4) == 0
    assert distance_variation(pairs(1.01), reference, bins=4) == pytest.approx(0.5)
    assert distance_variation(pairs(1.6), reference, bins=4) == pytest.approx(1.0)
    # outside of the reference's range, not dropped
    assert distance_variation(pairs(1.0, 2.0, 50.0, 1e-3), reference) == pytest.approx(0.5)
    weights = np.array([1.0, 1.0, 0.0, 0.0])
    assert distance_variation(pairs(1.0, 2.0, 50.0, 1e-3), reference, weights=weights) == 0


def test_floors_fall_with_the_size_and_repeat(rng):
    energies = rng.normal(size=20_000)
    floors = [noise_floor(energy_wasserstein, energies, size, repeats=20)[0] for size in (50, 500, 5000)]
    assert floors[0] > 2 * floors[1] > 4 * floors[2] > 0
    # E W2² of two sets is about that of Brownian bridges: of order 1/√size
    assert 0.02 < floors[1] < 0.3
    assert noise_floor(energy_wasserstein, energies, 50) == noise_floor(energy_wasserstein, energies, 50)
    assert noise_floor(energy_wasserstein, energies, 50, seed=1) != noise_floor(
        energy_wasserstein, energies, 50
    )


def test_measured_values_stand_beside_their_floor(rng):
    energies = rng.normal(size=4000)
    perfect = measured(energy_wasserstein, rng.normal(size=4000), energies, size=500)
    shifted = measured(energy_wasserstein, energies + 1, energies, size=500)
    assert perfect.value < 2 * perfect.floor and (perfect.size, perfect.repeats) == (500, 5)
    assert shifted.value == pytest.approx(1, abs=0.2) and shifted.floor == perfect.floor < 0.2
    assert perfect.floor_deviation > 0 and perfect.value_deviation > 0


@pytest.mark.parametrize(
    ("samples", "reference", "message", "options"),
    [
        ([], [1.0], r"samples must have the shape \(any\) without an empty axis, got \(0,\)", {}),
        ([1.0], [[1.0]], r"reference must have the shape \(any\)", {}),
        ([1.0, np.nan], [1.0], r"samples must be finite, got nan at \(1,\)", {}),
        ([np.nan], [1.0], r"samples must be finite, got nan", {"limits": (0.0, 1.0)}),
        ([1.0], [np.inf], r"reference must be finite, got inf", {}),
        (
            [1.0, 2.0],
            [1.0],
            "weights must be at least 0 and not all 0, got -1 at 1",
            {"weights": [1.0, -1.0]},
        ),
        ([1.0, 2.0], [1.0], "weights must be at least 0 and not all 0, got 0", {"weights": [0.0, 0.0]}),
        ([1.0, 2.0], [1.0], r"weights must have the shape \(2\)", {"weights": [1.0]}),
    ],
)
def test_what_cannot_be_is_refused(samples, reference, message, options):
    with pytest.raises(ValueError, match=message):
        energy_wasserstein(samples, reference, **options)


def test_wrong_shapes_and_sizes_are_refused():
    pairs = np.zeros((2, 2, 3))
    with pytest.raises(ValueError, match="at least two particles, got 1"):
        distance_wasserstein(pairs[:, :1], pairs[:, :1])
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        distance_variation(pairs, pairs, bins=0)
    with pytest.raises(ValueError, match="p must be 1 or 2, got 3"):
        energy_wasserstein(np.zeros(1), np.zeros(1), p=3)
    with pytest.raises(
        ValueError, match="two disjoint sets of 3 from a reference of 5: size must be from 1 to 2"
    ):
        noise_floor(energy_wasserstein, np.zeros(5), 3)
    with pytest.raises(ValueError, match="repeats must be at least 1"):
        noise_floor(energy_wasserstein, np.zeros(5), 2, repeats=0)
    with pytest.raises(ValueError, match="at most the number of samples, 1, got 2"):
        measured(energy_wasserstein, np.zeros(1), np.zeros(5), size=2)


def test_without_pot_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'jaxphys\[ensembles\]'"):
        energy_wasserstein(np.zeros(2), np.zeros(2))
