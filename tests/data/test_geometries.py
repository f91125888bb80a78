"""Geometries from a SMILES: minima of the force field, and the statistics of thermal samples."""

import numpy as np
import pytest
from rdkit import Chem
from scipy.spatial.transform import Rotation

from jaxphys.data import embed, geometries, thermal
from jaxphys.molecule import Molecule
from jaxphys.units import BOLTZMANN_IN_EV_PER_KELVIN, KCAL_PER_MOL_IN_EV

ROOM = 300 * BOLTZMANN_IN_EV_PER_KELVIN
# Molecules without a mode below the floor, and their numbers of rigid motions; hydrogen and HF are UFF's.
STIFF = {"O": 6, "C": 6, "CO": 6, "[H][H]": 5, "F": 5, "O=C=O": 5, "C#N": 5, "C#C": 5}


def force_field_energy(smiles: str, molecule: Molecule) -> float:
    """MMFF94 or UFF energy in eV, by a force field built afresh."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    mol.AddConformer(Chem.Conformer(mol.GetNumAtoms()))
    mol.GetConformer().SetPositions(molecule.positions.copy())
    return KCAL_PER_MOL_IN_EV * geometries._force_field(mol, smiles).CalcEnergy()


def rotation_between(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return Rotation.align_vectors(after, before)[0].as_matrix()


class TestEmbed:
    def test_water(self):
        water = embed("O", seed=0)
        np.testing.assert_array_equal(water.numbers, [8, 1, 1])
        bonds = water.positions[1:] - water.positions[0]
        lengths = np.linalg.norm(bonds, axis=1)
        np.testing.assert_allclose(lengths, 0.969, atol=1e-3)  # MMFF94
        angle = np.degrees(np.arccos(bonds[0] @ bonds[1] / lengths.prod()))
        np.testing.assert_allclose(angle, 104.0, atol=0.1)
        np.testing.assert_allclose(water.positions.mean(0), 0.0, atol=1e-12)

    @pytest.mark.parametrize(
        ("smiles", "name", "charge", "n_atoms"),
        [
            ("OC", "CO", 0, 6),
            ("[NH4+]", "[NH4+]", 1, 5),
            ("[O-]C(C)=O", "CC(=O)[O-]", -1, 7),
            ("[H][H]", "[H][H]", 0, 2),
            ("[He]", "[He]", 0, 1),
            ("[Na+]", "[Na+]", 1, 1),
            ("O.O", "O.O", 0, 6),
        ],
    )
    def test_name_charge_and_hydrogens(self, smiles, name, charge, n_atoms):
        molecule = embed(smiles, seed=1)
        assert (molecule.name, molecule.charge, len(molecule.numbers)) == (name, charge, n_atoms)

    def test_spelling_does_not_matter(self):
        one, other = embed("CCO", seed=0), embed("C(O)C", seed=0)
        np.testing.assert_array_equal(one.numbers, [6, 6, 8, 1, 1, 1, 1, 1, 1])
        np.testing.assert_array_equal(one.positions, other.positions)

    @pytest.mark.parametrize("smiles", ["O", "CN", "CCO", "c1ccccc1", "O=C=O", "F", "B"])
    def test_is_a_minimum(self, smiles):
        minimum, gradient = geometries._minimum(smiles, 3)
        assert np.abs(gradient(minimum.positions)).max() < 1e-3 * KCAL_PER_MOL_IN_EV
        assert np.linalg.eigvalsh(geometries.hessian(gradient, minimum.positions)).min() > -1e-5

    def test_is_deterministic_in_the_seed(self):
        first, again, other = (embed("CCO", seed=seed).positions for seed in (5, 5, 6))
        np.testing.assert_array_equal(first, again)
        assert np.abs(first - other).max() > 1e-3

    @pytest.mark.parametrize(
        ("smiles", "message"),
        [
            ("C1CC", "invalid SMILES 'C1CC'"),
            ("", "invalid SMILES ''"),
            ("C(C)(C)(C)(C)C", r"invalid SMILES 'C\(C\)\(C\)\(C\)\(C\)C'"),
            ("Cl[Pt]Cl", r"neither MMFF94 nor UFF has parameters for every atom of '\S*Pt\S*'"),
            ("*", "atom 0 has atomic number 0; elements have 1 to 118"),
        ],
    )
    def test_errors_are_one_line_and_the_only_one(self, smiles, message, capfd):
        with pytest.raises(ValueError, match=f"^{message}$"):
            embed(smiles, seed=0)
        assert capfd.readouterr() == ("", "")

    def test_refuses_a_negative_seed(self):
        with pytest.raises(ValueError, match=r"^seed must not be negative, got -1$"):
            embed("O", seed=-1)


def test_gradient_is_that_of_the_energy():
    """RDKit's own gradient is wrong by half if the energy is not evaluated first: see `_minimise`."""
    minimum, gradient = geometries._minimum("CO", 0)
    rng = np.random.default_rng(0)
    step = 1e-5 * rng.standard_normal(minimum.positions.shape)
    for _ in range(3):
        place = minimum.positions + 0.05 * rng.standard_normal(minimum.positions.shape)
        up, down = (
            force_field_energy("CO", Molecule(minimum.numbers, x)) for x in (place + step, place - step)
        )
        np.testing.assert_allclose(2 * np.sum(gradient(place) * step), up - down, rtol=1e-6)


def test_hessian_of_a_quadratic():
    root = np.random.default_rng(0).standard_normal((6, 6))
    springs = root @ root.T
    found = geometries.hessian(lambda x: (springs @ x.ravel()).reshape(-1, 3), np.ones((2, 3)))
    np.testing.assert_allclose(found, springs, atol=1e-9)


@pytest.mark.parametrize(("smiles", "count"), [*STIFF.items(), ("[He]", 3)])
def test_rigid_motions(smiles, count):
    positions = embed(smiles, seed=0).positions
    basis = geometries.rigid_motions(positions)
    assert basis.shape == (positions.size, count)
    shift = np.tile([1.0, 2.0, 3.0], len(positions))
    turn = np.cross([0.3, -1.0, 0.2], positions).ravel()
    for motion in (shift, turn):
        np.testing.assert_allclose(basis @ (basis.T @ motion), motion, atol=1e-4)


class TestThermalModes:
    @pytest.mark.parametrize("smiles", STIFF)
    def test_covariance_and_equipartition(self, smiles):
        minimum, gradient = geometries._minimum(smiles, 0)
        force_constants = geometries.hessian(gradient, minimum.positions)
        modes = geometries.thermal_modes(force_constants, minimum.positions, ROOM)
        n_modes = minimum.positions.size - STIFF[smiles]
        assert modes.shape == (minimum.positions.size, n_modes)
        covariance = modes @ modes.T
        expected = ROOM * np.linalg.pinv(force_constants, rtol=1e-3, hermitian=True)
        np.testing.assert_allclose(covariance, expected, atol=1e-6 * expected.max())
        np.testing.assert_allclose(np.trace(force_constants @ covariance) / 2, n_modes * ROOM / 2, rtol=1e-6)

    @pytest.mark.parametrize("smiles", ["CCCC", "CC(=O)[O-]", "O.O"])
    def test_floor_and_rigid_motions(self, smiles):
        minimum, gradient = geometries._minimum(smiles, 0)
        force_constants = geometries.hessian(gradient, minimum.positions)
        modes = geometries.thermal_modes(force_constants, minimum.positions, ROOM)
        largest = np.linalg.norm(modes, axis=0).max()
        np.testing.assert_allclose(largest, np.sqrt(ROOM / geometries.SOFTEST_MODE))
        np.testing.assert_allclose(geometries.rigid_motions(minimum.positions).T @ modes, 0.0, atol=1e-12)


class TestThermal:
    @pytest.mark.parametrize(("smiles", "rigid"), [("O", 6), ("C", 6), ("F", 5)])
    def test_mean_energy_is_equipartition(self, smiles, rigid):
        """At 1 K the force field itself is harmonic, whatever the orientation."""
        count, kt = 500, BOLTZMANN_IN_EV_PER_KELVIN
        lowest = force_field_energy(smiles, embed(smiles, seed=2))
        samples = thermal(smiles, count, temperature=1.0, seed=2)
        energies = [force_field_energy(smiles, sample) - lowest for sample in samples]
        n_modes = samples[0].positions.size - rigid
        four_sigma = 4 * np.sqrt(2 / (n_modes * count))
        np.testing.assert_allclose(np.mean(energies), n_modes * kt / 2, rtol=four_sigma + 0.01)

    def test_orientations_are_uniform(self):
        """Over SO(3) the mean of R vanishes, and the trace has mean 0 and variance 1."""
        minimum = embed("O", seed=0)
        samples = thermal("O", 1000, temperature=0.0, seed=0)
        rotations = np.array([rotation_between(minimum.positions, s.positions) for s in samples])
        np.testing.assert_allclose(rotations.mean(0), 0.0, atol=4 / np.sqrt(3 * 1000))
        np.testing.assert_allclose(np.mean(np.trace(rotations, axis1=1, axis2=2) ** 2), 1.0, atol=0.2)

    def test_at_zero_temperature_is_the_minimum_turned(self):
        minimum = embed("CO", seed=0)
        for sample in thermal("CO", 3, temperature=0.0, seed=0):
            turned = minimum.positions @ rotation_between(minimum.positions, sample.positions).T
            np.testing.assert_allclose(sample.positions, turned, atol=1e-6)
            np.testing.assert_allclose(
                np.linalg.det(sample.positions[:3]), np.linalg.det(turned[:3]), atol=1e-6
            )

    def test_is_deterministic_and_grows_by_appending(self):
        few, many, other = (
            thermal("CO", 2, seed=4),
            thermal("OC", 5, seed=4),
            thermal("CO", 2, seed=5),
        )
        for one, same, different in zip(few, many[:2], other, strict=True):
            np.testing.assert_array_equal(one.positions, same.positions)
            assert np.abs(one.positions - different.positions).max() > 1e-3

    def test_molecules_of_one_seed_differ_in_orientation(self):
        """Else every molecule of a data set would be turned in the same sequence."""
        first = thermal("O", 1, temperature=0.0, seed=0)[0].positions
        other = thermal("S", 1, temperature=0.0, seed=0)[0].positions
        turns = (rotation_between(embed(s, seed=0).positions, x) for s, x in (("O", first), ("S", other)))
        assert np.abs(next(turns) - next(turns)).max() > 0.1

    def test_keeps_name_charge_and_centroid(self):
        for sample in thermal("[NH4+]", 3, seed=0):
            assert (sample.name, sample.charge) == ("[NH4+]", 1)
            np.testing.assert_allclose(sample.positions.mean(0), 0.0, atol=1e-12)

    def test_an_atom_stays(self):
        np.testing.assert_array_equal(thermal("[He]", 1, seed=0)[0].positions, np.zeros((1, 3)))

    @pytest.mark.parametrize(
        ("count", "temperature", "message"),
        [
            (0, 300.0, "count must be at least 1, got 0"),
            (1, -1.0, "temperature must be finite and not negative, in K, got -1.0"),
            (1, float("nan"), "temperature must be finite and not negative, in K, got nan"),
        ],
    )
    def test_errors(self, count, temperature, message):
        with pytest.raises(ValueError, match=f"^{message}$"):
            thermal("O", count, temperature=temperature, seed=0)
