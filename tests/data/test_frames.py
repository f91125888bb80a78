"""Frames of files as ASE reads them, good and bad ones."""

import ase
import ase.io
import numpy as np
import pytest

from jaxphys.data.frames import Failure, Frame, read_frames

HYDROGEN = "H 0 0 0\nH 0 0 0.74\n"


def read(tmp_path, text, name="molecules.xyz", **options):
    path = tmp_path / name
    path.write_text(text)
    return read_frames(path, **options)


def test_charge_spin_and_name_come_from_the_frame_or_the_default(tmp_path):
    text = f"2\ncharge=1 spin=1 name=F\n{HYDROGEN}2\na word or two\n{HYDROGEN}"
    first, second = read(tmp_path, text, charge=-2, spin=2)
    assert (first.molecule.charge, first.spin, first.molecule.name) == (1, 1, "F")
    assert (second.molecule.charge, second.spin, second.molecule.name) == (-2, 2, "a word or two")
    assert (first.index, second.index, first.formula) == (0, 1, "H2")


def test_no_frame_is_lost_behind_a_blank_line(tmp_path):
    assert len(read(tmp_path, f"2\n\n{HYDROGEN}\n\n2\n\n{HYDROGEN}")) == 2


@pytest.mark.parametrize(
    ("comment", "atoms", "reason"),
    [
        ("", "H 0 0 0\nQq 0 0 1\n", "line 8: unknown element 'Qq'"),
        ("", "H 0 0 0\nX 0 0 1\n", "atom 1 has atomic number 0; elements have 1 to 118"),
        ("", "H 0 0 0\nH 0 0 0.05\n", "atoms 0 and 1 are 0.05 Å apart; no two stand closer than 0.1 Å"),
        ("", "H 0 0 0\nH 0 0 nan\n", "positions must be finite, got [0.0, 0.0, nan] for atom 1"),
        ("charge=0.5", HYDROGEN, "charge must be a whole number, got 0.5"),
        ("charge=high", HYDROGEN, "charge must be a whole number, got high"),
        ("spin=-1", HYDROGEN, "spin is the number of unpaired electrons, 0 or more, got -1"),
        ('Lattice="9 0 0 0 9 0 0 0 9"', HYDROGEN, "a periodic frame; molecules stand alone"),
    ],
)
def test_a_bad_frame_fails_alone(tmp_path, comment, atoms, reason):
    first, failure, good = read(tmp_path, f"2\n\n{HYDROGEN}2\n{comment}\n{atoms}2\n\n{HYDROGEN}")
    assert isinstance(first, Frame) and isinstance(good, Frame) and good.index == 2
    assert isinstance(failure, Failure) and failure.index == 1
    assert failure.reason.startswith(reason)


@pytest.mark.parametrize("suffix", [".traj", ".db"])
def test_other_formats_are_read(tmp_path, suffix):
    atoms = ase.Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], info={"charge": -1})
    path = tmp_path / f"molecules{suffix}"
    ase.io.write(path, [atoms, atoms])
    frames = read_frames(path, charge=1)
    kept = 1 if suffix == ".db" else -1
    assert [frame.molecule.charge for frame in frames] == [kept, kept]
    np.testing.assert_array_equal(frames[1].molecule.positions, atoms.positions)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.xyz", "", "empty"),
        ("a.xyz", "3\n\nH 0 0 0\n", "line 1: truncated; 3 atoms announced"),
        ("a.xyz", "hello\n", "line 1: expected a number of atoms"),
        ("a.foo", "hello\n", "cannot read frame 0 of this file .*UnknownFileType"),
        ("a.sdf", "", "cannot read frame 0"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, name, text, reason):
    with pytest.raises(ValueError, match=reason) as error:
        read(tmp_path, text, name)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_frames(tmp_path / "a.xyz")
    (tmp_path / "a.xyz").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not a text file"):
        read_frames(tmp_path / "a.xyz")
