"""Distances between whole ensembles: wrap-around, alignment, floors."""

import sys

import numpy as np
import pytest

from jaxphys.metrics import energy_wasserstein, geometric_wasserstein, noise_floor, torus_wasserstein


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def rotation(rng, dimension=3):
    matrix = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]
    matrix[:, 0] *= np.linalg.det(matrix)
    return matrix


def test_the_shortest_way_round():
    one, other = np.array([[3.1, 0.0]]), np.array([[-3.1, 0.0]])
    assert torus_wasserstein(one, other) == pytest.approx(2 * np.pi - 6.2)
    assert torus_wasserstein(one + np.pi, one - np.pi) == pytest.approx(0, abs=1e-6)
    three = np.array([[0.1, -0.2, 3.0], [0.0, 0.0, 0.0]])
    shifted = three + np.array([0.3, 0.4, 1.2])  # past π: wraps
    assert torus_wasserstein(shifted, three) == pytest.approx(1.3)


def test_as_the_line_away_from_the_ends(rng):
    one, other = rng.normal(0, 0.3, (2, 200))
    expected = energy_wasserstein(one, other)
    assert torus_wasserstein(one[:, None], other[:, None]) == pytest.approx(expected, rel=1e-9)


def test_subsets_are_drawn_by_the_seed(rng):
    angles = rng.uniform(-np.pi, np.pi, (300, 2))
    found = torus_wasserstein(angles, angles, count=100)
    assert found == torus_wasserstein(angles, angles, count=100) > 0
    assert found != torus_wasserstein(angles, angles, count=100, seed=1)
    assert torus_wasserstein(angles, angles) == pytest.approx(0, abs=1e-9)


def test_floors_fall_with_the_size(rng):
    angles = rng.normal(0, 0.5, (1000, 2))
    floors = [noise_floor(torus_wasserstein, angles, size, repeats=3)[0] for size in (20, 100, 500)]
    assert floors[0] > 1.5 * floors[1] > 2 * floors[2] > 0


def test_unaligned_geometries_feel_every_motion(rng):
    reference = rng.normal(size=(30, 4, 3))
    moved = reference + np.array([0.0, 3.0, 4.0])
    assert geometric_wasserstein(moved, reference) == pytest.approx(10.0)  # √4 · 5
    assert geometric_wasserstein(moved, reference, alignment="rigid") == pytest.approx(0, abs=1e-6)


def test_rigid_motions_are_taken_out_and_mirrors_are_not(rng):
    reference = rng.normal(size=(10, 5, 3))
    turned = np.stack([r @ rotation(rng) + rng.normal(size=3) for r in reference])
    assert geometric_wasserstein(turned, reference, alignment="rigid") == pytest.approx(0, abs=1e-6)
    assert geometric_wasserstein(-turned, reference, alignment="rigid") > 0.5
    assert geometric_wasserstein(-turned, reference, alignment="identical") > 0  # only an upper bound
    swollen = 1.5 * (reference - reference.mean(axis=1, keepdims=True))
    assert geometric_wasserstein(swollen, reference, alignment="rigid") > 0.5


def test_exchanged_particles_are_the_same(rng):
    reference = rng.normal(size=(10, 5, 3))
    exchanged = np.stack([-r[rng.permutation(5)] for r in -reference])
    assert geometric_wasserstein(exchanged, reference, alignment="identical") == pytest.approx(0, abs=1e-6)
    assert geometric_wasserstein(exchanged, reference, alignment="rigid") > 0.5
    plane = rng.normal(size=(6, 4, 2))
    assert geometric_wasserstein(plane, plane, alignment="identical") == pytest.approx(0, abs=1e-6)


def test_what_cannot_be_is_refused(monkeypatch):
    angles, positions = np.zeros((2, 2)), np.zeros((2, 3, 3))
    with pytest.raises(ValueError, match="without an empty axis"):
        torus_wasserstein(angles[:0], angles)
    with pytest.raises(ValueError, match="must be in radians"):
        torus_wasserstein(angles + 90, angles)
    with pytest.raises(ValueError, match="reference must be finite"):
        torus_wasserstein(angles, angles * np.nan)
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        torus_wasserstein(angles, angles, count=0)
    with pytest.raises(ValueError, match="samples must be finite"):
        geometric_wasserstein(positions * np.nan, positions)
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'jaxphys\[ensembles\]'"):
        torus_wasserstein(angles, angles)
