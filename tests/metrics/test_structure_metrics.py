"""Bonds, angles, stereochemistry and contacts of a geometry."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdMolTransforms

from jaxphys.data import embed_conformers, parse_smiles, positions_of
from jaxphys.metrics import angle_error, bond_length_error, broken_bonds, stereo_errors

MIRROR = np.array([1.0, 1.0, -1.0])


def water(length, angle):
    half = np.radians(angle) / 2
    return length * np.array([[0, 0, 0], [np.sin(half), np.cos(half), 0], [-np.sin(half), np.cos(half), 0]])


def geometry(smiles, seed=0):
    mol = parse_smiles(smiles)
    return mol, positions_of(embed_conformers(mol, 1, seed=seed))[0]


class TestBondsAndAngles:
    def test_water_in_closed_form(self):
        mol, reference = parse_smiles("O"), water(0.96, 104.5)
        samples = np.stack([water(1.00, 104.5), water(0.94, 114.5), water(0.96, 99.5)])
        np.testing.assert_allclose(bond_length_error(mol, samples, reference), (0.04 + 0.02) / 3)
        np.testing.assert_allclose(angle_error(mol, samples, reference), (10 + 5) / 3)

    def test_straight_angle_and_coincident_atoms(self):
        mol = parse_smiles("O")
        np.testing.assert_allclose(angle_error(mol, water(1.0, 180.0)[None], water(1.0, 90.0)), 90.0)
        assert np.isfinite(angle_error(mol, np.zeros((1, 3, 3)), water(1.0, 90.0)))

    def test_as_rdkit_measures(self):
        mol, reference = geometry("OCC=O")
        sample = reference + np.random.default_rng(0).normal(scale=0.1, size=reference.shape)
        conformers = [Chem.Conformer(mol.GetNumAtoms()) for _ in range(2)]
        for conformer, positions in zip(conformers, (reference, sample), strict=True):
            conformer.SetPositions(positions)
        angles = mol.GetSubstructMatches(Chem.MolFromSmarts("*~*~*"))
        expected = [
            abs(np.subtract(*(rdMolTransforms.GetAngleDeg(c, *angle) for c in conformers)))
            for angle in angles
        ]
        np.testing.assert_allclose(angle_error(mol, sample[None], reference), np.mean(expected))

    def test_what_is_refused(self):
        with pytest.raises(ValueError, match="0 bonds in the graph"):
            bond_length_error(parse_smiles("[He]"), np.zeros((1, 1, 3)), np.zeros((1, 3)))
        with pytest.raises(ValueError, match="no angles to compare"):
            angle_error(parse_smiles("[H][H]"), np.zeros((1, 2, 3)), np.zeros((2, 3)))
        with pytest.raises(ValueError, match="0 samples"):
            bond_length_error(parse_smiles("O"), np.zeros((0, 3, 3)), water(1.0, 90.0))


class TestStereo:
    @pytest.mark.parametrize(
        ("smiles", "errors"),
        [
            ("N[C@@H](C)C(=O)O", ["atom 1 (C) is R, asked for S"]),
            ("C[S@](=O)CC", ["atom 1 (S) is S, asked for R"]),
            (
                "O[C@H](C(=O)O)[C@H](O)C(=O)O",
                ["atom 1 (C) is R, asked for S", "atom 5 (C) is R, asked for S"],
            ),
            ("C/C=C/[C@H](O)/C=C\\C", ["atom 3 (C) is R, asked for S"]),
            # their own mirror images
            ("O[C@H](C(=O)O)[C@@H](O)C(=O)O", []),
            ("C[C@H]1CC[C@@H](C)CC1", []),
            ("F/C=C\\F", []),
            # nothing specified
            ("NC(C)C(=O)O", []),
            ("CC=CC", []),
        ],
    )
    def test_mirror_images(self, smiles, errors):
        mol, positions = geometry(smiles)
        assert stereo_errors(mol, positions) == []
        assert stereo_errors(mol, MIRROR * positions) == errors

    @pytest.mark.parametrize(
        ("asked", "given", "errors"),
        [
            ("F/C=C/F", "F/C=C\\F", ["bond 1=2 (C=C) is Z, asked for E"]),
            ("C/C=N\\O", "C/C=N/O", ["bond 1=2 (C=N) is E, asked for Z"]),
            ("FC=CF", "F/C=C\\F", []),
            ("C[C@H]1CC[C@@H](C)CC1", "C[C@H]1CC[C@H](C)CC1", 1),
            ("O[C@H](C(=O)O)[C@@H](O)C(=O)O", "O[C@H](C(=O)O)[C@H](O)C(=O)O", 1),
            ("C[C@H](F)C(O)C", "C[C@@H](F)C(O)C", ["atom 1 (C) is R, asked for S"]),
        ],
    )
    def test_other_isomers(self, asked, given, errors):
        """The same atoms in the same order with other labels."""
        mol, (_, positions) = parse_smiles(asked), geometry(given)
        found = stereo_errors(mol, positions)
        assert len(found) == errors if isinstance(errors, int) else found == errors

    @pytest.mark.parametrize("scale", [0.05, 0.1])
    def test_distorted_geometries_keep_their_labels(self, scale):
        mol, positions = geometry("C/C=C/[C@H](O)[C@@H](F)C")
        noise = np.random.default_rng(1).normal(scale=scale, size=(20, *positions.shape))
        assert [stereo_errors(mol, positions + step) for step in noise] == [[]] * 20
        assert all(stereo_errors(mol, MIRROR * (positions + step)) for step in noise)

    def test_flat_and_twisted(self):
        mol, positions = geometry("[C@](F)(Cl)(Br)I")
        flat = positions.copy()
        flat[:, 2] = 0
        assert stereo_errors(mol, flat)[0].startswith("atom 0 (C) is flat, asked for ")
        mol = parse_smiles("F/C=C/F")
        positions = np.array(
            [[-1, 1, 0], [-0.6, 0, 0], [0.6, 0, 0], [1, 0, 1], [-1, -1, 0], [1, 0, -1]], float
        )
        assert stereo_errors(mol, positions) == ["bond 1=2 (C=C) is twisted to 90°, asked for E"]

    @pytest.mark.parametrize("smiles", ["N[C@@H](C)C(=O)O", "C[C@@H]1C[C@H](O)C=C1", "C/C=C/[C@H](F)Cl"])
    def test_as_rdkit_perceives(self, smiles):
        mol, positions = geometry(smiles, seed=2)
        held = Chem.Mol(mol)
        conformer = Chem.Conformer(mol.GetNumAtoms())
        conformer.SetPositions(MIRROR * positions)
        held.AddConformer(conformer)
        Chem.AssignStereochemistryFrom3D(held)
        labels = [
            {atom.GetIdx(): atom.GetProp("_CIPCode") for atom in m.GetAtoms() if atom.HasProp("_CIPCode")}
            for m in (mol, held)
        ]
        differing = [i for i in labels[0] if labels[0][i] != labels[1][i]]
        assert [int(error.split()[1]) for error in stereo_errors(mol, MIRROR * positions)] == differing


class TestBrokenBonds:
    @pytest.mark.parametrize(
        "smiles",
        [
            "OO",
            "FF",
            "C12C3C4C1C5C2C3C45",
            "C1C2CC1C2",
            "NC(=O)c1ccccc1O",
            "CC(C)(C)c1ccccc1C(C)(C)C",
            "ClS(Cl)=O",
        ],
    )
    @pytest.mark.parametrize("method", ["UFF", "MMFF"])
    def test_minima_are_whole(self, smiles, method):
        mol = parse_smiles(smiles)
        minima = positions_of(embed_conformers(mol, 3, seed=0, method=method))
        assert [broken_bonds(mol, positions) for positions in minima] == [[]] * len(minima)

    def test_broken_bond(self):
        mol, positions = parse_smiles("[H][H]"), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.85]])
        assert broken_bonds(mol, positions) == ["bond 0-1 (H-H) is 0.85 Å long, at most 0.81"]
        assert broken_bonds(mol, 0.94 * positions) == []

    def test_contact(self):
        """The two hydrogens of acetylene 0.5 Å from each other."""
        mol = parse_smiles("C#C")
        positions = np.array([[0, 0, 0], [1.2, 0, 0], [0.35, 0.95, 0], [0.85, 0.95, 0]], dtype=float)
        assert broken_bonds(mol, positions) == [
            "atoms 2 and 3 (H, H) are 0.50 Å apart without a bond, at least 0.78"
        ]
