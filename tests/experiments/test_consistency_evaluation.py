"""Judging samples: against xTB's own numbers, closed forms and SciPy; what fails is counted."""

import dataclasses

import numpy as np
import pytest
from rdkit import Chem
from scipy.spatial.transform import Rotation

from experiments import consistency_evaluation
from experiments.consistency_evaluation import (
    Judged,
    baseline,
    compare,
    conformer_scores,
    distinct,
    judge,
    reference_minima,
    summarise,
)
from jaxphys.data import embed_conformers, parse_smiles, positions_of, xtb_energies, xtb_minima
from jaxphys.molecule import Molecule
from jaxphys.units import KCAL_PER_MOL_IN_EV

RNG = np.random.default_rng(0)
WATER = parse_smiles("O")
ALANINE = parse_smiles("C[C@H](N)C(=O)O")
BUTANE = parse_smiles("CCCC")


def embedded(mol, count=1, seed=0):
    return positions_of(embed_conformers(mol, count, seed=seed))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("xtb")


@pytest.fixture(scope="module")
def water():
    """A minimum of water, (3, 3)."""
    data, _ = xtb_minima([Molecule(np.array([8, 1, 1]), embedded(WATER)[0])], fmax=0.002)
    return data[0].positions


def stretched(water, by):
    """Both bonds longer by so much."""
    arms = water - water[0]
    lengths = np.linalg.norm(arms, axis=1, keepdims=True)
    return water[0] + arms * (1 + by / np.where(lengths > 0, lengths, 1))


def test_stretched_water_is_as_far_from_its_minimum_as_it_was_stretched(cache, water):
    turned = stretched(water, 0.05) @ Rotation.random(rng=RNG).as_matrix().T + 1.0
    found = judge([WATER], [np.stack([turned, water])], cache=cache, processes=1)
    energies = xtb_energies([Molecule(np.array([8, 1, 1]), x) for x in (turned, water)]).energy
    above = (energies[0] - energies[1]) / KCAL_PER_MOL_IN_EV
    np.testing.assert_allclose(found.energy, [above, 0], atol=0.02)
    assert found.energy[0] > 1
    np.testing.assert_allclose(found.bond, [0.05, 0], atol=0.003)
    np.testing.assert_allclose(found.angle, 0, atol=0.5)
    aligned, _ = Rotation.align_vectors(*(x - x.mean(axis=0) for x in (water, turned)))
    apart = aligned.apply(turned - turned.mean(axis=0)) - (water - water.mean(axis=0))
    np.testing.assert_allclose(found.rmsd[0], np.sqrt(np.sum(apart**2) / 3), atol=0.003)
    assert found.sound.all() and found.stereo_right.all()


def test_what_fails_or_breaks_costs_itself_alone_and_stands_at_infinity(cache, water):
    torn, coincident, lost = water.copy(), water.copy(), water.copy()
    torn[2] += 6.0 * (water[2] - water[0])
    coincident[2] = coincident[1]
    lost[0] = np.nan
    found = judge([WATER], [np.stack([torn, water, coincident, lost])], cache=cache, processes=1)
    np.testing.assert_array_equal(found.sound, [False, True, False, False])
    np.testing.assert_array_equal(found.failed[2:], True)
    for name in consistency_evaluation.DISTANCES:
        np.testing.assert_array_equal(np.isinf(getattr(found, name)), ~found.sound)
    summary = summarise(found)
    assert summary["energy_median"] == np.inf and summary["energy_p90"] == np.inf
    assert abs(summary["energy_mean"]) < 0.01
    assert (summary["samples"], summary["unsound"], summary["stereo_right"]) == (4, 75.0, 75.0)


def test_a_mirror_image_is_of_the_same_energy_and_of_wrong_stereo(cache):
    own = embedded(ALANINE)
    samples = np.concatenate([own, own * [1, 1, -1]])
    # two molecules, so that each sample's own is seen
    found = judge([WATER, ALANINE], [np.zeros((0, 3, 3)), samples], cache=cache, processes=1)
    np.testing.assert_array_equal(found.molecule, [1, 1])
    np.testing.assert_array_equal(found.stereo_right, [True, False])
    np.testing.assert_allclose(found.energy[0], found.energy[1], atol=1e-2)
    assert 1 < found.energy[0] < 15 and 0.005 < found.bond[0] < 0.05


def test_a_set_without_a_usable_sample(cache):
    nothing = np.full((2, 3, 3), np.nan)
    summary = summarise(judge([WATER], [nothing], cache=cache, processes=1))
    assert summary["failed"] == summary["broken"] == summary["unsound"] == 100
    assert np.isnan(summary["energy_mean"]) and summary["rmsd_median"] == np.inf
    with pytest.raises(ValueError, match="no samples of 1 molecules"):
        judge([WATER], [nothing[:0]], cache=cache)


def test_medians_count_unsound_samples_and_means_do_not():
    values = np.array([3.0, 1.0, 2.0, np.inf, 4.0])
    unsound = np.isinf(values)
    row = np.zeros(5, int)
    judged = Judged(row, values, values, values, values, unsound, ~unsound & unsound, ~unsound)
    found = summarise(judged)
    assert (found["energy_median"], found["energy_mean"], found["energy_p90"]) == (3.0, 2.5, np.inf)
    assert (found["failed"], found["broken"], found["stereo_right"]) == (20.0, 0.0, 80.0)
    sound = dataclasses.replace(judged, energy=np.arange(5.0), failed=~unsound & unsound)
    assert summarise(sound)["energy_p90"] == 4.0


def test_coverage_by_hand():
    """Butane: a reference anti and one gauche, samples anti alone; one sample is no structure."""
    many = embedded(BUTANE, 20)
    (anti, *_), (gauche, *_) = distinct(BUTANE, many, dihedral_size(many))[::-1][:2]
    references = many[[anti, gauche]]
    found = conformer_scores([BUTANE], [many[[anti]]], [references])
    assert (found["coverage_recall"], found["coverage_precision"]) == (50.0, 100.0)
    assert found["min_rmsd"] < 1e-4 < 0.25 < found["mean_rmsd"]
    np.testing.assert_allclose(found["amr_recall"], found["mean_rmsd"], atol=1e-4)
    half = np.concatenate([many[[anti]], np.full((1, 14, 3), np.nan)])
    assert conformer_scores([BUTANE], [half], [references])["coverage_precision"] == 50.0
    two = conformer_scores([BUTANE] * 2, [many[[anti]], half[1:]], [references] * 2)
    assert (two["coverage_recall"], two["amr_precision"]) == (25.0, found["amr_precision"])


def dihedral_size(positions):
    """|C-C-C-C| in degrees, as an energy: gauche comes first."""
    b = np.diff(positions[:, :4], axis=1)
    one, other = np.cross(b[:, 0], b[:, 1]), np.cross(b[:, 1], b[:, 2])
    cosine = np.sum(one * other, axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def test_references_are_the_distinct_minima_lowest_first(cache):
    mols = [WATER, BUTANE]
    water, found = reference_minima(mols, 12, seed=0, cache=cache, processes=1)
    assert water.shape == (1, 3, 3)
    angles = dihedral_size(found)
    # anti, and gauche in both hands
    assert len(found) == 3 and abs(angles[0] - 180) < 3
    np.testing.assert_allclose(angles[1:], 64, atol=6)
    np.testing.assert_allclose(judge([BUTANE], [found], cache=cache, processes=1).energy, 0, atol=0.02)


def test_the_baseline_is_a_minimum_of_mmff_and_drawn_by_the_seed():
    (first,), (again,), (other,) = (baseline([BUTANE], 3, seed) for seed in (0, 0, 1))
    assert first.shape == (3, 14, 3)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_near_duplicates_are_one_led_by_the_lowest():
    base = embedded(BUTANE)[0]
    shifted = base + 1.0
    # C1 and C4 exchanged, and hydrogens with them
    swapped = base[list(BUTANE.GetSubstructMatches(BUTANE, uniquify=False)[-1])]
    far = base.copy()
    far[0] += 1.0
    groups = distinct(BUTANE, np.stack([base, far, shifted, swapped]), np.array([2.0, 3.0, 1.0, 2.5]))
    assert groups == [[2, 0, 3], [1]]
    assert distinct(parse_smiles("[H][H]"), np.zeros((2, 2, 3)), np.zeros(2)) == [[0, 1]]
    assert distinct(BUTANE, np.zeros((0, 14, 3)), np.zeros(0)) == []


def test_two_arms_over_seeds_by_a_paired_test():
    first = [{"x": value} for value in (4.0, 5.0, 6.0, 9.0)]
    second = [{"x": value} for value in (3.0, 4.5, 5.5, 7.0)]
    found = compare(first, second, "x")
    differences = np.array([-1.0, -0.5, -0.5, -2.0])
    assert (found.difference, found.seeds) == (-1.0, 4)
    np.testing.assert_allclose(found.spread, np.std(differences, ddof=1))
    # t = −1/(0.7071/2) = −2.828 with three degrees of freedom
    np.testing.assert_allclose(found.p, 0.0663, atol=2e-4)
    alone = compare(first[:1], second[:1], "x")
    assert alone.difference == -1.0 and np.isnan([alone.spread, alone.p]).all()
    assert np.isnan(compare(first, first, "x").p)
    with pytest.raises(ValueError, match="got 4 and 3"):
        compare(first, second[:3], "x")


def test_charge_is_seen(cache):
    mol = parse_smiles("[NH4+]")
    found = judge([mol], [embedded(mol)], cache=cache, processes=1)
    assert Chem.GetFormalCharge(mol) == 1 and found.sound.all() and found.energy[0] < 10
