"""Labels by OpenMM: units, platforms, agreement with their energy, input that is refused."""

import numpy as np
import openmm
import pytest

from jaxphys.energies import alanine_dipeptide, check_forces, openmm_energy, openmm_labels


@pytest.fixture(scope="module")
def peptide():
    return alanine_dipeptide()


@pytest.fixture(scope="module")
def positions(peptide):
    return peptide.positions + 0.05 * np.random.default_rng(0).normal(size=(3, 22, 3))


def test_labels_are_those_of_the_energy(peptide, positions):
    energies, forces = openmm_labels(peptide.system, positions, platform="Reference")
    energy = openmm_energy(peptide.system)
    np.testing.assert_allclose(energies, [energy(frame) for frame in positions], rtol=1e-10)
    check_forces(energy, positions, forces, frames=1, rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="look like eV/nm"):
        check_forces(energy, positions, 10 * forces, frames=1)


def test_quantities_and_platforms(peptide, positions):
    energies, forces = openmm_labels(peptide.system, positions, platform="Reference")
    quantity = openmm.unit.Quantity(positions / 10, openmm.unit.nanometer)
    again, _ = openmm_labels(peptide.system, quantity, platform="Reference")
    np.testing.assert_allclose(again, energies, rtol=1e-10)
    rough, rough_forces = openmm_labels(peptide.system, positions)
    np.testing.assert_allclose(rough, energies, atol=1e-4)
    np.testing.assert_allclose(rough_forces, forces, atol=1e-3)


def test_what_is_refused(peptide, positions):
    with pytest.raises(ValueError, match=r"these look like nm: multiply by 10"):
        openmm_labels(peptide.system, positions / 10)
    with pytest.raises(ValueError, match=r"must be \(frames, 22, 3\), as the system is, got \(22, 3\)"):
        openmm_labels(peptide.system, positions[0])
    with pytest.raises(ValueError, match="must be lengths, got a quantity in kelvin"):
        openmm_labels(peptide.system, openmm.unit.Quantity(positions, openmm.unit.kelvin))
    with pytest.raises(ValueError, match=r"platform must be one of Reference, .*got 'GPU'"):
        openmm_labels(peptide.system, positions, platform="GPU")
    holes = positions.copy()
    holes[1, 4] = np.nan
    with pytest.raises(ValueError, match=r"frame 1, atom 4: positions must be finite, got \[nan"):
        openmm_labels(peptide.system, holes)
