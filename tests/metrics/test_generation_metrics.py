"""Metrics of generated molecules, on sets of known worth."""

import numpy as np
import pytest
from rdkit import Chem

from jaxphys.data import embed_conformers, parse_smiles, positions_of
from jaxphys.metrics import chiral_centres, connectivity, generation_metrics, perceive, pose_checks

MIRROR = np.array([1.0, 1.0, -1.0])


def geometry(smiles):
    mol = parse_smiles(smiles)
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    return numbers, positions_of(embed_conformers(mol, 1, seed=0, method="MMFF"))[0]


@pytest.mark.parametrize(
    "smiles", ["O", "C#N", "CC(=O)NC", "c1ccoc1", "C[N+](=O)[O-]", "N[C@@H](C)C(=O)O", "C1CC1C#N"]
)
def test_a_geometry_gives_its_molecule_back(smiles):
    mol = perceive(*geometry(smiles))
    assert Chem.CanonSmiles(Chem.MolToSmiles(Chem.RemoveHs(mol))) == Chem.CanonSmiles(smiles)
    assert connectivity(mol) == connectivity(parse_smiles(smiles))


def test_what_is_no_molecule():
    numbers, positions = geometry("CC")
    assert perceive(numbers[:-1], positions[:-1]) is None  # a radical
    assert perceive(np.r_[numbers, numbers], np.r_[positions, positions + 20]) is None  # two of them
    assert perceive(np.r_[numbers, 1], np.r_[positions, positions[:1] + 0.01]) is None  # one atom in another
    with pytest.raises(ValueError, match="2 atoms and positions of shape"):
        perceive(np.array([1, 1]), np.array([[0, 0, 0], [0, 0, np.nan]]))


def test_shares_by_hand():
    ethane, ethanol, acid = geometry("CC"), geometry("CCO"), geometry("OC=O")
    broken = ethanol[0][:-1], ethanol[1][:-1]  # oxygen without its hydrogen
    lost = ethane[0], np.full_like(ethane[1], np.nan)
    moved = ethane[0], ethane[1] * MIRROR + 3.0
    found = generation_metrics([ethane, moved, ethanol, acid, broken, lost], known={"CCO"})
    assert found.molecules == 6
    np.testing.assert_allclose(found.finite, 100 * 5 / 6)
    np.testing.assert_allclose(found.molecule_stability, 100 * 4 / 6)
    np.testing.assert_allclose(found.atom_stability, 100 * (8 + 8 + 9 + 5 + 7) / (8 + 8 + 9 + 5 + 8 + 8))
    np.testing.assert_allclose(found.valid, 100 * 4 / 6)
    np.testing.assert_allclose(found.unique, 100 * 3 / 4)
    np.testing.assert_allclose(found.novel, 100 * 3 / 4)


def test_nothing_valid_and_nothing():
    found = generation_metrics([(np.array([8]), np.zeros((1, 3)))])
    assert found.valid == 0 and np.isnan(found.unique) and np.isnan(found.novel)
    with pytest.raises(ValueError, match="no molecules"):
        generation_metrics([])
    with pytest.raises(ValueError, match=r"molecule 1: .* at least one atom"):
        generation_metrics([geometry("O"), (np.zeros(0, int), np.zeros((0, 3)))])


def test_hands_of_a_molecule_and_its_mirror_image():
    numbers, positions = geometry("N[C@@H](C)C(=O)O")
    assert chiral_centres(perceive(numbers, positions)) == (0, 1)
    assert chiral_centres(perceive(numbers, positions * MIRROR)) == (1, 0)
    assert chiral_centres(perceive(*geometry("CC"))) == (0, 0)


def test_poses_of_a_good_and_a_stretched_molecule():
    pytest.importorskip("posebusters")
    numbers, positions = geometry("CCOC=O")
    good, bad = perceive(numbers, positions), perceive(numbers, positions)
    stretched = positions.copy()
    stretched[0] += 1.5 * (positions[0] - positions[1])
    bad.GetConformer().SetPositions(stretched)
    checks = pose_checks([good, bad])
    passed = np.stack(list(checks.values()))
    np.testing.assert_array_equal(passed.all(axis=0), [True, False])
    with pytest.raises(ValueError, match="no molecules"):
        pose_checks([])
