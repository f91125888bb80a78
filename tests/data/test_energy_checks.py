"""What no set may hold, and what its numbers look like when they are of another unit."""

import dataclasses
import logging

import numpy as np
import pytest
from ase.build import molecule as g2
from scipy.spatial import KDTree

from jaxphys.data import EnergyFrame, check_energies, from_arrays, from_frames
from jaxphys.data.energy_checks import close_pairs
from jaxphys.units import ENERGY_IN_EV, HARTREE_IN_EV

# Total energies in Ha (B3LYP/6-31G(2df,p), QM9) and energies of atomisation in eV.
TOTAL = {"CH4": -40.4789, "NH3": -56.5259, "H2O": -76.4048, "CO": -113.3, "H2": -1.17, "C2H6": -79.8}
ATOMISATION = {"CH4": -18.1, "NH3": -12.9, "H2O": -10.1, "CO": -11.2, "H2": -4.7, "C2H6": -30.9}


def make(energies, reference="total", scale=1.0, forces=None, **fields):
    frames = []
    for formula, energy in energies.items():
        atoms = g2(formula)
        rows = None if forces is None else np.full((len(atoms), 3), forces)
        frames.append(EnergyFrame(atoms.numbers, atoms.positions, scale * energy, forces=rows))
    return dataclasses.replace(from_frames(frames, level="some", reference=reference), **fields)


@pytest.fixture
def good():
    return make(TOTAL, scale=HARTREE_IN_EV, forces=0.5)


def with_atom(data, field, atom, row):
    array = getattr(data, field).copy()
    array[atom] = row
    return dataclasses.replace(data, **{field: array})


def test_good_sets_pass(good):
    assert check_energies(good, "file") is good
    atomisation = make(ATOMISATION, "atomisation")
    assert check_energies(atomisation, "file") is atomisation


@pytest.mark.parametrize("energy", [-2.0, -60.0, 20.0])
def test_adsorption(energy):
    check_energies(make({"CO": energy}, "adsorption"), "file")
    with pytest.raises(ValueError, match=r"file: 1 of 1 energies are out of range; frame 0: .* for CO"):
        check_energies(make({"CO": 100 * energy}, "adsorption"), "file")


@pytest.mark.parametrize("unit", ["Ha", "kcal/mol", "kJ/mol", "meV"])
def test_total_energies_of_another_unit(unit):
    wrong = make(TOTAL, scale=HARTREE_IN_EV / ENERGY_IN_EV[unit])
    with pytest.raises(
        ValueError, match=rf"energies are out of range.*they look like total energies in {unit}$"
    ):
        check_energies(wrong, "file")
    with pytest.raises(ValueError, match="energies are out of range"):
        check_energies(wrong, "file", drop_invalid=True)


@pytest.mark.parametrize("unit", ["Ha", "kcal/mol", "kJ/mol", "meV"])
def test_energies_of_atomisation_of_another_unit(unit):
    wrong = make(ATOMISATION, "atomisation", scale=1 / ENERGY_IN_EV[unit])
    with pytest.raises(ValueError, match=rf"they look like energies of atomisation in {unit}$"):
        check_energies(wrong, "file")


@pytest.mark.parametrize(
    ("energies", "reference", "scale", "looks"),
    [
        (TOTAL, "atomisation", HARTREE_IN_EV, "total energies in eV"),
        (TOTAL, "atomisation", 1.0, "total energies in Ha"),
        (ATOMISATION, "total", 1.0, "energies of atomisation, or of pseudo-atoms"),
        (ATOMISATION, "atomisation", -1.0, "energies of another sign"),
    ],
)
def test_energies_of_another_reference(energies, reference, scale, looks):
    with pytest.raises(ValueError, match=f"they look like {looks}"):
        check_energies(make(energies, reference, scale), "file")


def test_weakly_bound_atoms_are_not_mistaken():
    """Argon, single atoms, and a bond that is pulled apart."""
    argon = from_arrays([18, 18], [[[0, 0, 0], [0, 0, 3.8]]], [-0.012], level="x", reference="atomisation")
    single = from_arrays([1], np.zeros((1, 1, 3)), [0.0], level="x", reference="atomisation")
    lengths = np.linspace(0.5, 5.0, 40)
    morse = 4.75 * ((1 - np.exp(-1.94 * (lengths - 0.741))) ** 2 - 1)
    positions = np.zeros((40, 2, 3))
    positions[:, 1, 2] = lengths
    hydrogen = from_arrays([1, 1], positions, morse, level="x", reference="atomisation")
    for data in (argon, single, hydrogen):
        check_energies(data, "file")


def test_pseudopotentials_pass_beyond_krypton():
    """SPICE's iodine has 25 electrons: I2 in Ha."""
    positions = [[[0, 0, 0], [0, 0, 2.67]]]
    energy = [2 * -297.78 * HARTREE_IN_EV]
    check_energies(from_arrays([53, 53], positions, energy, level="x", reference="total"), "file")
    bromine = from_arrays([35, 35], positions, energy, level="x", reference="total")
    with pytest.raises(ValueError, match="out of range"):
        check_energies(bromine, "file")


def test_ions_pass():
    """Total energies in Ha: a proton, hydride, Li+."""
    for number, charge, energy in ((1, 1, 0.0), (1, -1, -0.5275), (3, 1, -7.2852)):
        ion = [[number], np.zeros((1, 1, 3)), [energy * HARTREE_IN_EV]]
        check_energies(from_arrays(*ion, charge=charge, level="x", reference="total"), "file")


def test_subtracted_energies_are_put_back_before_the_check(good):
    shifted = dataclasses.replace(good, energy=good.energy + 3e3, subtracted={1: 0.0, 6: 0.0, 7: 0.0, 8: 0.0})
    with pytest.raises(ValueError, match="out of range"):
        check_energies(shifted, "file")
    atoms = {z: -1000.0 for z in good.elements}
    less = dataclasses.replace(good, energy=good.energy + 1000.0 * good.n_atoms, subtracted=atoms)
    check_energies(less, "file")


@pytest.mark.parametrize("unit", ["kcal/mol", "kJ/mol"])
def test_forces_of_another_unit(unit):
    wrong = make(TOTAL, scale=HARTREE_IN_EV, forces=1.0 / ENERGY_IN_EV[unit])
    with pytest.raises(ValueError, match=rf"they look like {unit}/Å$"):
        check_energies(wrong, "file")


# Methane has the atoms 0 to 4, ammonia 5 to 8, water 9 to 11.
FAULTS = [
    ("numbers", 9, 0, "frame 2: atom 0 has atomic number 0; elements have 1 to 118"),
    ("positions", 6, np.nan, r"frame 1: positions must be finite, got \[nan, nan, nan\] for atom 1"),
    ("forces", 11, np.inf, r"frame 2: forces must be finite, got \[inf, inf, inf\] for atom 2"),
    ("energy", 2, np.nan, "frame 2: the energy is nan"),
    ("energy", 3, 0.0, "frame 3: an energy of 0 eV for CO; total energies .* lie between"),
    ("forces", 7, 400.0, "frame 1: a force of 692.8 eV/Å on atom 2; 300 is the limit"),
]


@pytest.mark.parametrize(("field", "place", "value", "message"), FAULTS)
def test_one_bad_frame(good, caplog, field, place, value, message):
    bad = with_atom(good, field, place, value)
    with pytest.raises(ValueError, match=f"^file, {message}.*; 1 of 6 frames are of this kind; drop_invalid"):
        check_energies(bad, "file")
    with caplog.at_level(logging.WARNING):
        kept = check_energies(bad, "file", drop_invalid=True)
    assert len(kept) == 5
    assert "file: 1 of 6 frames left out" in caplog.text


def test_places_are_those_in_the_file(good, caplog):
    """After frame 2 is left out for one reason, frame 3 keeps its number for another."""
    bad = with_atom(with_atom(good, "energy", 2, np.nan), "energy", 3, 0.0)
    with caplog.at_level(logging.WARNING):
        kept = check_energies(bad, "file", drop_invalid=True)
    np.testing.assert_array_equal(kept.energy, good.energy[[0, 1, 4, 5]])
    assert "the first is frame 2: the energy is nan" in caplog.text
    assert "the first is frame 3: an energy of 0 eV" in caplog.text


def test_atoms_on_top_of_each_other(good):
    bad = with_atom(good, "positions", 10, good.positions[9] + 0.03)
    with pytest.raises(ValueError, match=r"frame 2: atoms 0 and 1 are 0\.052 Å apart; no two stand closer"):
        check_energies(bad, "file")


def test_cells_must_be_finite(good):
    cell = np.tile(np.eye(3), (6, 1, 1))
    cell[4, 0, 0] = np.nan
    bad = dataclasses.replace(good, cell=cell, pbc=np.ones((6, 3), dtype=bool))
    with pytest.raises(ValueError, match="frame 4: the cell must be finite"):
        check_energies(bad, "file")


@pytest.mark.parametrize("shape", ["cloud", "plane", "line"])
def test_close_pairs_are_those_of_a_tree(shape):
    rng = np.random.default_rng(0)
    positions = 2 * rng.random((30, 20, 3))
    positions[..., {"cloud": 3, "plane": 2, "line": 1}[shape] :] = 0.0
    data = from_arrays(np.full(20, 6), positions, np.zeros(30), level="x", reference="valence")
    first, second = close_pairs(data, 0.3)
    found = {tuple(sorted(pair)) for pair in zip(first.tolist(), second.tolist(), strict=True)}
    expected = {
        (20 * i + a, 20 * i + b)
        for i, frame in enumerate(positions)
        for a, b in KDTree(frame).query_pairs(0.3)
    }
    assert found == expected and len(found) == len(first) > 10


def test_nothing_is_left(good):
    with pytest.raises(ValueError, match="file: empty; a set holds at least one structure"):
        check_energies(good[:0], "file")
    nothing = dataclasses.replace(good, energy=np.full(6, np.nan))
    with pytest.raises(
        ValueError, match="file: no frame is left, the last were as frame 0: the energy is nan"
    ):
        check_energies(nothing, "file", drop_invalid=True)


def test_units_need_not_be_looked_at(good):
    odd = make(TOTAL, forces=50.0)
    assert check_energies(odd, "file", units=False) is odd
    with pytest.raises(ValueError, match="the energy is nan"):
        check_energies(with_atom(odd, "energy", 2, np.nan), "file", units=False)
