"""Dihedral angles against RDKit and closed forms; divergences of angles by hand."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem, rdMolTransforms

from jaxphys.metrics import angle_divergence, dihedral, noise_floor, ramachandran_divergence

CHAIN = np.array([[1.0, 0, 0], [0.0, 0, 0], [0.0, 0, 1], [1.0, 0, 1]])


def turned(angle):
    """The last atom turned by the angle, clockwise as seen along the bond from the first to the second."""
    r = CHAIN.copy()
    r[3, :2] = np.cos(angle), np.sin(angle)
    return r


def test_the_sign_is_that_of_iupac():
    """Seen along z, from the near atom to the far one, x to y is clockwise: positive."""
    for angle in (0.0, 0.3, -0.3, np.pi / 2, -3.0, np.pi):
        assert dihedral(turned(angle), np.array([0, 1, 2, 3])) == pytest.approx(angle)
    assert dihedral(turned(-np.pi), np.array([0, 1, 2, 3])) == pytest.approx(np.pi)
    flat = CHAIN.copy()
    flat[3] = -1.0, -0.0, 1.0
    assert dihedral(flat, np.array([0, 1, 2, 3])) == np.pi == dihedral(flat, np.array([3, 2, 1, 0]))


def test_as_rdkit_in_batches():
    mol = Chem.AddHs(Chem.MolFromSmiles("CC(=O)N[C@@H](C)C(=O)NC"))
    AllChem.EmbedMultipleConfs(mol, 5, randomSeed=1)
    positions = np.stack([conformer.GetPositions() for conformer in mol.GetConformers()])
    quadruples = np.array([[1, 3, 4, 6], [3, 4, 6, 8], [0, 1, 3, 4]])
    expected = [
        [rdMolTransforms.GetDihedralRad(conformer, *quadruple.tolist()) for quadruple in quadruples]
        for conformer in mol.GetConformers()
    ]
    np.testing.assert_allclose(dihedral(positions, quadruples), expected, atol=1e-9)
    np.testing.assert_allclose(dihedral(positions, quadruples[0]), np.array(expected)[:, 0], atol=1e-9)
    moved = positions.reshape(5, 1, -1, 3) + 1.0
    assert dihedral(moved, quadruples).shape == (5, 1, 3)
    np.testing.assert_allclose(dihedral(-positions, quadruples), -np.array(expected), atol=1e-9)


def test_where_there_is_no_angle():
    line = CHAIN.copy()
    line[3] = 0, 0, 2
    with pytest.raises(ValueError, match="on a line or coincide in 1 cases"):
        dihedral(np.stack([CHAIN, line]), np.array([0, 1, 2, 3]))
    with pytest.raises(ValueError, match="atoms must be from 0 to 3, got"):
        dihedral(CHAIN, np.array([0, 1, 2, 4]))
    with pytest.raises(ValueError, match="positions must be finite, 12 numbers are not"):
        dihedral(CHAIN * np.nan, np.array([0, 1, 2, 3]))


def test_divergence_by_hand():
    reference, samples = np.array([-1.0, 1.0]), np.array([-1.0, 1.0, 1.0, 1.0])
    by_hand = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    assert angle_divergence(samples, reference, bins=2, smoothing=0.0) == pytest.approx(by_hand)
    other_way = 0.25 * np.log(0.5) + 0.75 * np.log(1.5)
    assert angle_divergence(reference, samples, bins=2, smoothing=0.0) == pytest.approx(other_way)
    weighted = angle_divergence(samples, reference, bins=2, weights=[3.0, 1, 1, 1])
    assert weighted == pytest.approx(0, abs=1e-12)
    assert angle_divergence(reference, samples, bins=2, reference_weights=[3.0, 1, 1, 1]) < 1e-12


def test_smoothing_is_added_to_the_density():
    reference, samples = np.array([-1.0, 1.0]), np.array([1.0])
    p, q = 0.5 / np.pi + 1e-5, np.array([0.0, 1.0]) / np.pi + 1e-5
    expected = np.sum(np.pi * p * np.log(p / q)) / (1 + 2 * np.pi * 1e-5)
    assert angle_divergence(samples, reference, bins=2) == pytest.approx(expected, rel=1e-9)
    assert angle_divergence(samples, reference, bins=2, smoothing=0.0) == np.inf


def test_turns_are_one_circle():
    angles = np.random.default_rng(0).uniform(-np.pi, np.pi, 1000)
    assert angle_divergence(np.remainder(angles, 2 * np.pi), angles) == pytest.approx(0, abs=1e-6)
    assert angle_divergence(np.array([np.pi]), np.array([-np.pi])) == pytest.approx(0, abs=1e-12)


def test_two_angles_tell_what_one_does_not():
    rng = np.random.default_rng(1)
    phi = rng.uniform(-np.pi, np.pi, 4000)
    together, apart = np.stack([phi, phi], axis=1), np.stack([phi, rng.permutation(phi)], axis=1)
    assert angle_divergence(apart[:, 1], together[:, 1]) == pytest.approx(0, abs=1e-12)
    # all of ψ is in one of 10 bins for given φ: ln 10
    assert ramachandran_divergence(apart, together, bins=10) == pytest.approx(np.log(10), rel=0.05)
    weights = rng.uniform(size=4000)
    same = ramachandran_divergence(apart, apart, weights=weights, reference_weights=weights)
    assert same == pytest.approx(0, abs=1e-12)


def test_floors_fall_with_the_size():
    angles = np.random.default_rng(2).normal(-1.2, 0.4, 20_000)
    floors = [noise_floor(angle_divergence, angles, size, repeats=3)[0] for size in (300, 3000, 10_000)]
    assert floors[0] > 3 * floors[1] > 4 * floors[2] > 0


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        ([170.0], {}, "must be in radians, within ±2π, got 170; degrees?"),
        ([np.nan], {}, "samples must be finite"),
        ([], {}, "without an empty axis"),
        ([1.0], {"bins": 0}, "bins must be at least 1"),
        ([1.0], {"smoothing": -1.0}, "smoothing at least 0"),
        ([1.0], {"weights": [-1.0]}, "weights must be at least 0"),
        ([1.0], {"reference_weights": [0.0, 0.0]}, "reference_weights must be at least 0 and not all 0"),
    ],
)
def test_what_cannot_be_is_refused(samples, options, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        angle_divergence(np.array(samples), np.zeros(2), **options)
