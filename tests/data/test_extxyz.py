"""Extended XYZ files with labels, against ASE's own reading of the same file."""

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.build import molecule as g2
from ase.calculators.singlepoint import SinglePointCalculator

from jaxphys.data import read_extxyz, read_isolated_atoms
from jaxphys.units import BOHR_IN_ANGSTROM, HARTREE_IN_EV

WATER = """3
Properties=species:S:1:pos:R:3:forces:R:3 energy=-2079.5 charge=0 name=O config_type=cluster pbc="F F F"
O 0.0 0.0 0.12 0.1 0.2 0.3
H 0.0 0.76 -0.48 0.0 -0.1 -0.3
H 0.0 -0.76 -0.48 -0.1 -0.1 0.0
"""
HYDROGEN = '1\nProperties=species:S:1:pos:R:3 energy=-13.5 pbc="F F F"\nH 0 0 0\n'
OXYGEN = '1\nProperties=species:S:1:pos:R:3 energy=-2042.0 pbc="F F F"\nO 0 0 0\n'


@pytest.fixture
def write(tmp_path):
    def write_text(*frames):
        path = tmp_path / "some.xyz"
        path.write_text("".join(frames))
        return path

    return write_text


def test_water(write):
    (water,) = read_extxyz(write(WATER), level="PBE")
    assert (water.energy, water.name, water.group, water.charge, water.spin) == (
        -2079.5,
        "O",
        "cluster",
        0,
        0,
    )
    np.testing.assert_array_equal(water.numbers, [8, 1, 1])
    np.testing.assert_array_equal(water.forces, [[0.1, 0.2, 0.3], [0, -0.1, -0.3], [-0.1, -0.1, 0]])
    assert water.cell is None


def test_what_ase_wrote(tmp_path):
    rng = np.random.default_rng(0)
    structures = [g2("CH4"), bulk("Cu", cubic=True), g2("C2H6")]
    for atoms in structures:
        results = {"energy": -3.5 * len(atoms), "forces": rng.standard_normal((len(atoms), 3))}
        atoms.rattle(0.05, rng=rng)
        atoms.calc = SinglePointCalculator(atoms, **results)
    structures[2].info = {"charge": 1, "spin": 1}
    ase.io.write(tmp_path / "some.xyz", structures)
    data = read_extxyz(tmp_path / "some.xyz", level="PBE", reference="valence")
    for frame, atoms in zip(data, ase.io.iread(tmp_path / "some.xyz"), strict=True):
        np.testing.assert_array_equal(frame.numbers, atoms.numbers)
        np.testing.assert_array_equal(frame.positions, atoms.positions)
        np.testing.assert_array_equal(frame.forces, atoms.get_forces())
        np.testing.assert_array_equal(frame.cell, atoms.cell)
        np.testing.assert_array_equal(frame.pbc, atoms.pbc)
        assert frame.energy == atoms.get_potential_energy()
    assert (data[2].charge, data[2].spin, data[0].charge) == (1, 1, 0)


def test_other_keys_and_units(write):
    hartree = -76.4
    text = WATER.replace("energy=-2079.5", f"U={hartree}").replace("forces:R:3", "gradient:R:3")
    text = text.replace('pbc="F F F"', 'Lattice="9 0 0 0 9 0 0 0 9" pbc="F F F"')
    path = write(text)
    options = {"energy": "U", "forces": "gradient", "energy_unit": "Ha", "level": "PBE"}
    data = read_extxyz(path, **options, force_unit="Ha/Bohr")
    assert data.energy[0] == pytest.approx(-2078.949892)  # -76.4 of 27.21138602 eV
    assert data.forces[0, 2] == pytest.approx(0.3 * 51.42206707)  # eV/Å in a Ha/Bohr
    assert data.cell[0].trace() == 27 and not data.pbc.any()
    assert read_extxyz(path, **options).forces[0, 2] == pytest.approx(0.3 * HARTREE_IN_EV)
    assert pytest.approx(27.21138602 / 51.42206707) == BOHR_IN_ANGSTROM


def test_isolated_atoms_stand_apart(write):
    data = read_extxyz(write(HYDROGEN, WATER, OXYGEN), level="PBE")
    assert len(data) == 1 and data.atomic_energies == {1: -13.5, 8: -2042.0}
    assert read_isolated_atoms(write(HYDROGEN, WATER, OXYGEN)) == data.atomic_energies
    given = read_extxyz(write(WATER), level="PBE", atomic_energies={1: -13.0})
    assert given.atomic_energies == {1: -13.0}


def test_ions_and_crystals_of_one_atom_are_structures(write):
    ion = HYDROGEN.replace("pbc", "charge=-1 pbc")
    crystal = HYDROGEN.replace('pbc="F F F"', 'Lattice="3 0 0 0 3 0 0 0 3" pbc="T T T"')
    data = read_extxyz(write(ion, crystal), level="PBE", forces=None)
    assert len(data) == 2 and data.atomic_energies is None and data.forces is None
    in_a_box = crystal.replace("energy", "config_type=IsolatedAtom energy")
    assert read_isolated_atoms(write(in_a_box)) == {1: -13.5}


BARE = WATER.replace(":forces:R:3", "").replace(" 0.1 0.2 0.3", "")


@pytest.mark.parametrize(
    ("frames", "options", "message"),
    [
        ([""], {}, "some.xyz: empty; an XYZ file holds at least one frame"),
        ([WATER, WATER[:-37]], {}, "line 6: truncated; 3 atoms announced, the file ends after 2"),
        (
            [WATER, WATER.replace("H 0.0 0.76", "Qq 0.0 0.76")],
            {},
            r"frame 1 \(line 9\): unknown element 'Qq'",
        ),
        ([WATER, WATER.replace("H 0.0 0.76", "X 0.0 0.76")], {}, "frame 1: atom 1 has atomic number 0"),
        ([WATER], {"energy": "E"}, r"frame 0 \(line 1\): no E; there are .*energy"),
        ([WATER], {"forces": "F"}, r"frame 0 \(line 1\): no F; there are .*forces"),
        ([WATER.replace("-2079.5", "low")], {}, "energy must be a number, got 'low'"),
        ([WATER], {"energy": "config_type"}, "config_type must be a number, got 'cluster'"),
        ([WATER, WATER.replace("-2079.5", "nan")], {}, "frame 1: the energy is nan"),
        ([WATER.replace("charge=0", "charge=0.5")], {}, "charge must be a whole number, got 0.5"),
        ([WATER.replace("-2079.5", "-76.4")], {}, "they look like total energies in Ha"),
        ([WATER.replace("0.76 -0.48", "0.0 0.13", 1)], {}, "atoms 0 and 1 are 0.01 Å apart"),
        ([HYDROGEN, OXYGEN], {}, "no structures, only isolated atoms; read_isolated_atoms reads those"),
        ([HYDROGEN, HYDROGEN.replace("-13.5", "-13.6"), WATER], {}, "with -13.6 eV, before with -13.5"),
        ([WATER], {"energy_unit": "hartree"}, "energy_unit must be one of eV, .*, got 'hartree'"),
        ([WATER], {"force_unit": "eV"}, "force_unit must be an energy .* over a length .*, got 'eV'"),
        ([WATER], {"reference": "raw"}, "reference must be one of total"),
    ],
)
def test_errors(write, frames, options, message):
    with pytest.raises(ValueError, match=message):
        read_extxyz(write(*frames), **{"level": "PBE", **options})


def test_no_isolated_atoms(write):
    with pytest.raises(ValueError, match="no isolated atoms: frames of one neutral atom"):
        read_isolated_atoms(write(WATER))


def test_bad_frames_are_left_out_on_request(write):
    data = read_extxyz(write(WATER, WATER.replace("-2079.5", "nan")), level="PBE", drop_invalid=True)
    assert len(data) == 1


def test_odd_units_are_taken_on_request(write):
    path = write(WATER.replace("-2079.5", "-76.4"))
    assert read_extxyz(path, level="PBE", check_units=False).energy[0] == -76.4
