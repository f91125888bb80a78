"""Symmetric RMSD and the coverage of conformers."""

import math

import numpy as np
import pytest
from ase.build import minimize_rotation_and_translation
from ase.build import molecule as g2
from rdkit.Chem import rdMolAlign
from scipy.spatial.transform import Rotation

from jaxphys.data import embed_conformers, parse_smiles, positions_of, with_positions
from jaxphys.metrics import ConformerMetrics, conformer_metrics, conformers, rmsd_matrix, symmetric_rmsd

MIRROR = np.array([1.0, 1.0, -1.0])


def geometries(smiles, count=1, seed=0):
    mol = parse_smiles(smiles)
    return mol, positions_of(embed_conformers(mol, count, seed=seed, method=None))


def turned(positions, seed=0):
    return Rotation.random(rng=seed).apply(positions) + np.array([1.0, -2.0, 3.0])


class TestSymmetricRmsd:
    @pytest.mark.parametrize("smiles", ["CCO", "CC(C)(C)C", "CC(C)(C)CC(C)(C)C", "[O-][N+](=O)c1ccccc1"])
    def test_copies_with_other_labels_are_the_same(self, smiles):
        """All equal hydrogens of one atom exchanged cyclically, and the whole turned."""
        mol, (positions,) = geometries(smiles)
        order = np.arange(len(positions))
        for atom in mol.GetAtoms():
            hydrogens = [other.GetIdx() for other in atom.GetNeighbors() if other.GetAtomicNum() == 1]
            order[hydrogens] = np.roll(hydrogens, 1)
        copy = turned(positions[order])
        assert symmetric_rmsd(mol, copy, positions) < 1e-6
        assert symmetric_rmsd(mol, copy, positions, heavy=True) < 1e-6

    def test_exchanged_branches(self):
        """Isobutane with its first two methyls exchanged."""
        mol, (positions,) = geometries("CC(C)C")
        swapped = positions[[2, 1, 0, 3, 8, 9, 10, 7, 4, 5, 6, 11, 12, 13]]
        assert symmetric_rmsd(mol, swapped, positions) < 1e-6
        plain = with_positions(mol, np.stack([swapped, positions]))
        assert rdMolAlign.AlignMol(plain, plain, 0, 1) > 0.5

    def test_resonance_forms_are_equal(self):
        mol, (positions,) = geometries("CC(=O)[O-]")
        assert symmetric_rmsd(mol, positions[[0, 1, 3, 2, 4, 5, 6]], positions) < 1e-6

    def test_mirror_image_of_a_chiral_molecule_is_another(self):
        mol, (positions,) = geometries("[C@](F)(Cl)(Br)I")
        assert symmetric_rmsd(mol, MIRROR * positions, positions) > 0.5
        achiral, (positions,) = geometries("C(F)(Cl)Br")
        assert symmetric_rmsd(achiral, MIRROR * positions, positions) > 0.3
        planar, (positions,) = geometries("F/C=C/Cl")
        assert symmetric_rmsd(planar, MIRROR * positions, positions) < 0.05

    def test_stretched_bond_in_closed_form(self):
        """A diatomic stretched by d: each atom moves by d/2."""
        mol = parse_smiles("[C-]#[O+]")
        positions = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.128]])
        stretched = turned(positions + np.array([[0, 0, 0], [0, 0, 0.2]]))
        np.testing.assert_allclose(symmetric_rmsd(mol, stretched, positions), 0.1, atol=1e-6)

    def test_without_symmetry_as_ase(self):
        mol = parse_smiles("O=C=S")
        atoms, other = g2("OCS"), g2("OCS")
        atoms = atoms[[atoms.symbols.search(symbol)[0] for symbol in "OCS"]]
        other = atoms.copy()
        other.rattle(0.2, seed=3)
        minimize_rotation_and_translation(atoms, other)
        expected = np.sqrt(np.mean(np.sum((atoms.positions - other.positions) ** 2, axis=1)))
        np.testing.assert_allclose(symmetric_rmsd(mol, other.positions, atoms.positions), expected, atol=1e-6)

    @pytest.mark.parametrize("smiles", ["CC(C)C", "OCC(C)CO", "CCOC(C)C", "FC(F)(F)CC", "CC(C)=C(C)C"])
    def test_both_ways_agree(self, smiles, monkeypatch):
        """All automorphisms by RDKit, and ends assigned by turns."""
        mol, positions = geometries(smiles, 4)
        near = positions + np.random.default_rng(0).normal(scale=0.1, size=positions.shape)
        exact = rmsd_matrix(mol, near, positions)
        monkeypatch.setattr(conformers, "_EXACT", 1000 if smiles == "FC(F)(F)CC" else 20)
        by_turns = rmsd_matrix(mol, near, positions)
        assert (by_turns > exact - 1e-6).all()
        np.testing.assert_allclose(np.diag(by_turns), np.diag(exact), atol=1e-6)
        np.testing.assert_allclose(by_turns, exact, atol=0.1)

    def test_what_is_refused(self):
        mol, (positions,) = geometries("[H][H]")
        with pytest.raises(ValueError, match="no heavy atoms"):
            symmetric_rmsd(mol, positions, positions, heavy=True)
        with pytest.raises(ValueError, match=r"shape \(k, 2, 3\)"):
            symmetric_rmsd(mol, np.zeros((3, 3)), np.zeros((3, 3)))

    @pytest.mark.parametrize(
        ("smiles", "number"),
        [
            ("C", 24),
            ("CC", 72),
            ("c1ccccc1", 12),
            ("CC(C)(C)C", 31104),
            ("C12C3C4C1C5C2C3C45", 48),
            ("[H][H]", 2),
        ],
    )
    def test_number_of_automorphisms(self, smiles, number):
        """By hand: those of the carbon skeleton times the permutations of hydrogens."""
        inner, ends = conformers._symmetry(parse_smiles(smiles))
        assert len(inner) * math.prod(math.factorial(len(group)) for group in ends.values()) == number


def on_a_line(*places):
    """Carbon monoxide with bonds of 1 + 2x Å for each place x: the RMSD of two of them is |x − x'|."""
    return np.array([[[0.0, 0.0, 0.0], [0.0, 0.0, 1.0 + 2 * place]] for place in places])


class TestConformerMetrics:
    def test_by_hand(self):
        mol = parse_smiles("[C-]#[O+]")
        samples, references = on_a_line(0.0, 0.3, 2.0), on_a_line(0.1, 1.0)
        matrix = rmsd_matrix(mol, samples, references)
        np.testing.assert_allclose(matrix, [[0.1, 1.0], [0.2, 0.7], [1.9, 1.0]], atol=1e-6)
        found = conformer_metrics(mol, samples, references, threshold=0.5)
        expected = ConformerMetrics(
            coverage_recall=1 / 2,
            amr_recall=(0.1 + 0.7) / 2,
            coverage_precision=2 / 3,
            amr_precision=(0.1 + 0.2 + 1.0) / 3,
            mean_rmsd=(0.1 + 1.0 + 0.2 + 0.7 + 1.9 + 1.0) / 6,
            min_rmsd=0.1,
        )
        np.testing.assert_allclose(list(vars(found).values()), list(vars(expected).values()), atol=1e-6)

    def test_heavy_atoms_by_default(self):
        mol, (positions,) = geometries("CO")
        moved = positions.copy()
        moved[2:] += np.random.default_rng(0).normal(scale=0.5, size=moved[2:].shape)
        assert conformer_metrics(mol, moved[None], positions[None], threshold=0.5).min_rmsd < 1e-6
        assert conformer_metrics(mol, moved[None], positions[None], threshold=0.5, heavy=False).min_rmsd > 0.1

    @pytest.mark.parametrize("threshold", [0.0, -1.0, np.nan, np.inf])
    def test_thresholds_refused(self, threshold):
        with pytest.raises(ValueError, match="threshold must be positive and finite"):
            conformer_metrics(
                parse_smiles("[C-]#[O+]"), on_a_line(0.0), on_a_line(0.0), threshold=float(threshold)
            )

    def test_empty_sets_are_refused(self):
        with pytest.raises(ValueError, match="got 0 and 1"):
            conformer_metrics(parse_smiles("[C-]#[O+]"), on_a_line(0.0)[:0], on_a_line(0.0), threshold=0.5)
