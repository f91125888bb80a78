"""Exact probabilities of cells and the divergence of samples from them, against closed forms."""

import numpy as np
import pytest
from scipy.stats import norm

from jaxphys.metrics import cell_probabilities, density_divergence_2d, density_floor

EDGES = (np.linspace(-4, 4, 9), np.linspace(-6, 6, 7))


def harmonic(points):
    return 0.5 * points[:, 0] ** 2 + 0.125 * points[:, 1] ** 2 + 1000.0


@pytest.fixture(scope="module")
def exact():
    return cell_probabilities(harmonic, EDGES, kt=1.0, order=8)


def test_cells_of_a_normal_distribution(exact):
    one, other = (np.diff(norm.cdf(edge / width)) for edge, width in zip(EDGES, (1, 2), strict=True))
    np.testing.assert_allclose(exact, np.outer(one / one.sum(), other / other.sum()), atol=1e-9)
    cold = cell_probabilities(harmonic, EDGES, kt=0.25, order=8)
    assert cold[3:5, 2:4].sum() > exact[3:5, 2:4].sum() + 0.1


def test_divergence_by_hand():
    edges = (np.array([0.0, 1, 2]), np.array([0.0, 1]))
    points = np.array([[0.5, 0.5]] * 3 + [[1.5, 0.5]])
    found = density_divergence_2d(points, np.array([[0.5], [0.5]]), edges, smoothing=0.0)
    assert found.kl == pytest.approx(0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25))
    assert found.total_variation == pytest.approx(0.25) and found.outside == 0
    weights = [1.0, 1, 1, 3]
    even = density_divergence_2d(points, np.array([[0.5], [0.5]]), edges, weights=weights, smoothing=0.0)
    assert even.kl == pytest.approx(0, abs=1e-12) and even.total_variation == pytest.approx(0, abs=1e-12)


def test_empty_cells_and_lost_samples_count():
    edges = (np.array([0.0, 1, 2]), np.array([0.0, 1]))
    half = np.array([[0.5], [0.5]])
    lost = np.array([[0.5, 0.5], [1.5, 0.5], [9.0, 0.5], [0.5, -9.0]])
    found = density_divergence_2d(lost, half, edges, smoothing=0.0)
    assert found.outside == pytest.approx(0.5) and found.total_variation == pytest.approx(0.5)
    assert found.kl == pytest.approx(np.log(2))
    one_sided = np.full((5, 2), 0.5)
    assert density_divergence_2d(one_sided, half, edges, smoothing=0.0).kl == np.inf
    smoothed = density_divergence_2d(one_sided, half, edges, smoothing=1e-4).kl
    assert smoothed == pytest.approx(0.5 * np.log(0.5) + 0.5 * np.log(0.5 / 0.5e-4), rel=1e-3)


def test_floors_are_those_of_multinomial_counts(exact):
    """2 N KL is about χ² with a degree of freedom fewer than cells, where all are well filled."""
    even = np.full((3, 3), 1 / 9)
    assert density_floor(even, 2000, repeats=200).kl == pytest.approx(8 / 4000, rel=0.15)
    floors = [density_floor(exact, size) for size in (100, 1000, 10_000)]
    assert floors[0].kl > 3 * floors[1].kl > 9 * floors[2].kl > 0
    assert floors[0].total_variation > 2 * floors[1].total_variation > 4 * floors[2].total_variation
    points = np.random.default_rng(0).normal(size=(1000, 2)) * [1, 2]
    found = density_divergence_2d(points, exact, EDGES)
    assert found.total_variation < 2 * floors[1].total_variation and found.outside < 0.01


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probability": np.full((2, 1), 0.4)}, "sum to 1, got 0.4 and 0.8"),
        ({"probability": np.array([[1.5], [-0.5]])}, "at least 0 and sum to 1, got -0.5"),
        ({"probability": np.full((1, 2), 0.5)}, r"probability must have the shape \(2, 1\)"),
        ({"samples": np.array([[0.5, np.nan]])}, r"samples must be finite, got nan at \(0, 1\)"),
        ({"samples": np.zeros((0, 2))}, "without an empty axis"),
        ({"weights": [-1.0]}, "weights must be at least 0"),
        ({"smoothing": 1.0}, "smoothing must be from 0 to below 1, got 1"),
        ({"edges": (np.array([0.0, 2, 1]), np.array([0.0, 1]))}, "edges must be at least two rising numbers"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    right = {
        "samples": np.array([[0.5, 0.5]]),
        "probability": np.full((2, 1), 0.5),
        "edges": (np.array([0.0, 1, 2]), np.array([0.0, 1])),
    }
    with pytest.raises(ValueError, match=message):
        density_divergence_2d(**{**right, **change})


def test_energies_and_sizes_are_checked(exact):
    with pytest.raises(ValueError, match="energies must be finite"):
        cell_probabilities(lambda points: np.full(len(points), np.nan), EDGES, kt=1.0)
    with pytest.raises(ValueError, match="kt must be above 0"):
        cell_probabilities(harmonic, EDGES, kt=0.0)
    with pytest.raises(ValueError, match="size and repeats must be at least 1"):
        density_floor(exact, 0)
