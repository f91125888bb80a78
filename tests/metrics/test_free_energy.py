"""Free energies of basins: known counts, coverage of the intervals, basins without samples."""

import numpy as np
import pytest

from jaxphys.metrics import basin_free_energy


def basin(inside, count):
    return np.arange(count) < inside


def test_known_counts():
    found = basin_free_energy(basin(25, 100), kt=2.0)
    assert found.value == pytest.approx(2 * np.log(3))
    assert found.low < found.value < found.high
    # Wilson by hand: centre and half-width of p
    z, n, p = 1.959963985, 100, 0.25
    centre, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    high = (centre + half) / (1 + z**2 / n)
    assert found.low == pytest.approx(-2 * np.log(high / (1 - high)), rel=1e-6)
    assert basin_free_energy(basin(75, 100), kt=2.0).value == pytest.approx(-found.value)


def test_an_empty_basin_is_a_bound():
    empty, full = (basin_free_energy(basin(count, 50), kt=1.0) for count in (0, 50))
    assert (empty.value, empty.high) == (np.inf, np.inf) and 1 < empty.low < 4
    assert (full.value, full.low) == (-np.inf, -np.inf) and full.high == pytest.approx(-empty.low)
    # 50 samples of 5 walkers are 5 draws, and bound less
    grouped = basin_free_energy(basin(0, 50), kt=1.0, groups=np.arange(50) % 5)
    assert (grouped.value, grouped.high) == (np.inf, np.inf) and grouped.low < empty.low
    grouped = basin_free_energy(basin(50, 50), kt=1.0, groups=np.arange(50) % 5, weights=np.full(50, 0.1))
    assert (grouped.value, grouped.low) == (-np.inf, -np.inf) and np.isfinite(grouped.high)


def test_weights_move_the_estimate():
    inside = np.array([True, False])
    found = basin_free_energy(inside, kt=1.0, weights=[3.0, 1.0])
    assert found.value == pytest.approx(-np.log(3))
    # a resample may be without either: nothing is known
    assert (found.low, found.high) == (-np.inf, np.inf)
    many = np.tile(inside, 500)
    weighted = basin_free_energy(many, kt=1.0, weights=np.tile([3.0, 1.0], 500))
    assert weighted.value == pytest.approx(-np.log(3)) and weighted.high - weighted.low < 0.5


def test_groups_widen_the_interval_of_correlated_samples():
    walkers = np.random.default_rng(0).random(40) < 0.5
    inside = np.repeat(walkers, 100)
    naive = basin_free_energy(inside, kt=1.0)
    found = basin_free_energy(inside, kt=1.0, groups=np.repeat(np.arange(40), 100))
    assert found.low < 0 < found.high and found.value == pytest.approx(naive.value)
    assert found.high - found.low > 5 * (naive.high - naive.low)
    assert basin_free_energy(inside, kt=1.0, groups=np.repeat(np.arange(40), 100)) == found


def test_intervals_cover_as_often_as_they_say():
    rng = np.random.default_rng(1)
    exact = -np.log(0.1 / 0.9)
    covered = [
        found.low <= exact <= found.high
        for found in (basin_free_energy(rng.random(200) < 0.1, kt=1.0, confidence=0.9) for _ in range(300))
    ]
    assert 0.85 < np.mean(covered) < 0.95


@pytest.mark.parametrize(
    ("inside", "options", "message"),
    [
        (np.zeros(0, bool), {}, r"booleans \(k,\), k > 0, got bool of \(0,\)"),
        (np.ones(2, bool), {"kt": 0.0}, "kt must be above 0"),
        (np.ones(2, bool), {"confidence": 1.0}, "confidence within"),
        (np.ones(2, bool), {"weights": [1.0, -1.0]}, "weights must be at least 0 and not all 0, got -1 at 1"),
        (np.ones(2, bool), {"weights": [1.0, np.nan]}, "weights must be finite"),
        (np.ones(2, bool), {"groups": [0, 0]}, "at least two groups of weight, got 1"),
        (np.ones(2, bool), {"groups": [0]}, "groups must be 2 labels"),
    ],
)
def test_what_cannot_be_is_refused(inside, options, message):
    with pytest.raises(ValueError, match=message):
        basin_free_energy(inside, **{"kt": 1.0, **options})
