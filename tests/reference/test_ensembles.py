"""Metrics of ensembles on published equilibrium samples, where JAXPHYS_DATA names the folder with lj13/.

lj13_val.npy: 10,000 samples of 13 Lennard-Jones particles at kT = 1, of Akhound-Sadegh et al., ICML 2024.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from jaxphys.metrics import (
    distance_variation,
    distance_wasserstein,
    energy_wasserstein,
    geometric_wasserstein,
    noise_floor,
)


@pytest.fixture(scope="module")
def positions():
    if "JAXPHYS_DATA" not in os.environ:
        pytest.skip("published data: JAXPHYS_DATA does not name the folder that holds lj13/")
    return (
        np.load(Path(os.environ["JAXPHYS_DATA"]) / "lj13" / "lj13_val.npy").reshape(-1, 13, 3).astype(float)
    )


@pytest.fixture(scope="module")
def energies(positions):
    """2 Σ_{i<j} (r⁻¹² − 2 r⁻⁶) + ½ Σ|x − x̄|²: their energy counts each pair twice."""
    distances = np.stack([pdist(r) for r in positions])
    centred = positions - positions.mean(axis=1, keepdims=True)
    return 2 * np.sum(distances**-12 - 2 * distances**-6, axis=1) + 0.5 * np.sum(centred**2, axis=(1, 2))


def test_floors_of_energies(energies):
    """Between test and validation sets 0.24 at 10,000 each and 0.59 at 1,000."""
    assert energies.mean() == pytest.approx(-43.0, abs=0.05)
    large, deviation = noise_floor(energy_wasserstein, energies, 5000, repeats=10)
    assert 0.2 < large < 0.4 and deviation < 0.15
    assert 0.4 < noise_floor(energy_wasserstein, energies, 1000, repeats=10)[0] < 0.85
    assert noise_floor(lambda a, b: energy_wasserstein(a, b, p=1), energies, 5000)[0] < large


def test_floors_of_distances(positions):
    """Between test and validation sets 0.003 and 0.0055 at 10,000 each."""
    assert 0.001 < noise_floor(distance_wasserstein, positions, 5000, repeats=2)[0] < 0.008
    assert 0.004 < noise_floor(distance_variation, positions, 5000, repeats=2)[0] < 0.012


def test_geometric_distances_are_mostly_floor(positions):
    """Samplers report 1.6 for identical particles, 2,000 samples; of 200 the reference itself has more."""
    identical = noise_floor(
        lambda a, b: geometric_wasserstein(a, b, alignment="identical"), positions, 200, repeats=1
    )[0]
    plain = noise_floor(geometric_wasserstein, positions, 200, repeats=1)[0]
    assert 1.0 < identical < 2.5 < plain < 4.5
