"""XYZ files: what is read, what is written, and what is said about a file that is broken."""

import ase.io
import numpy as np
import pytest

from jaxphys.data import read_xyz, write_xyz
from jaxphys.molecule import Molecule

PLAIN = "2\nhydroxide\nO 0.0 0.0 0.0\nh 0.0 0.0 0.97\n"


@pytest.fixture
def read(tmp_path):
    """Read a text as an XYZ file."""

    def read_text(text: str):
        path = tmp_path / "some.xyz"
        path.write_text(text, encoding="utf-8")
        return read_xyz(path)

    return read_text


class TestReading:
    def test_plain(self, read):
        (molecule,) = read(PLAIN)
        np.testing.assert_array_equal(molecule.numbers, [8, 1])
        np.testing.assert_array_equal(molecule.positions, [[0, 0, 0], [0, 0, 0.97]])
        assert molecule.charge == 0
        assert molecule.name == "hydroxide"

    @pytest.mark.parametrize("comment", ["", "stress test", "pbc", '[broken "quote', "step 3: -76.3 Ha"])
    def test_any_sentence_is_a_comment(self, read, comment):
        (molecule,) = read(f"1\n{comment}\nHe 0 0 0\n")
        assert molecule.name == comment

    @pytest.mark.parametrize(
        ("label", "charge"), [("charge=-1", -1), ("charge=+2", 2), ("charge=1.0", 1), ("energy=-3.0", 0)]
    )
    def test_charge(self, read, label, charge):
        assert read(f"1\n{label}\nO 0 0 0\n")[0].charge == charge

    def test_columns_in_any_order(self, read):
        text = '1\nProperties=pos:R:3:Z:I:1:forces:R:3 pbc="F F F" name=argon\n1 2 3 18 0 0 0\n'
        (molecule,) = read(text)
        np.testing.assert_array_equal(molecule.numbers, [18])
        np.testing.assert_array_equal(molecule.positions, [[1, 2, 3]])
        assert molecule.name == "argon"

    def test_frames_of_different_size(self, read):
        molecules = read(PLAIN + "1\n\nNe 0 0 0\n" + PLAIN)
        assert [len(molecule.numbers) for molecule in molecules] == [2, 1, 2]

    def test_blank_lines_between_frames_lose_nothing(self, read):
        assert len(read("\n" + PLAIN + "\n \n" + PLAIN + "\n\n")) == 2

    def test_windows_text(self, tmp_path):
        path = tmp_path / "windows.xyz"
        path.write_bytes(b"\xef\xbb\xbf" + PLAIN.replace("\n", "\r\n").encode())
        assert read_xyz(path)[0].name == "hydroxide"


class TestWriting:
    # The last three are read by ASE as False, as a number, and without the backslash.
    names = ("", "two words", 'a "quoted" name', "[H]C#N", "C[N+](=O)[O-]", "name=x", "F", "12", "F/C=C\\F")

    def test_round_trip(self, tmp_path):
        rng = np.random.default_rng(0)
        written = [
            Molecule(np.array([6, 8, 1]), 3 * rng.standard_normal((3, 3)), charge=i - 3, name=name)
            for i, name in enumerate(self.names)
        ]
        write_xyz(tmp_path / "all.xyz", written)
        for before, after in zip(written, read_xyz(tmp_path / "all.xyz"), strict=True):
            np.testing.assert_array_equal(after.numbers, before.numbers)
            np.testing.assert_allclose(after.positions, before.positions, rtol=0, atol=1e-15)
            assert (after.charge, after.name) == (before.charge, before.name)

    def test_ase_reads_it(self, tmp_path):
        write_xyz(tmp_path / "ion.xyz", [Molecule(np.array([11]), np.zeros((1, 3)), charge=1, name="[Na+]")])
        atoms = ase.io.read(tmp_path / "ion.xyz")
        assert atoms.get_chemical_formula() == "Na"
        assert atoms.info == {"charge": 1, "name": "[Na+]"}
        assert not atoms.pbc.any()

    def test_refuses_nothing(self, tmp_path):
        with pytest.raises(ValueError, match=r"none\.xyz: no molecules to write$"):
            write_xyz(tmp_path / "none.xyz", [])

    @pytest.mark.parametrize("name", ["two\nlines", "one\n"])
    def test_refuses_a_line_break(self, tmp_path, name):
        with pytest.raises(ValueError, match="a name must stand on one line"):
            write_xyz(tmp_path / "some.xyz", [Molecule(np.array([2]), np.zeros((1, 3)), name=name)])
        assert not (tmp_path / "some.xyz").exists()


class TestErrors:
    def test_no_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"missing\.xyz: no such file$"):
            read_xyz(tmp_path / "missing.xyz")
        with pytest.raises(FileNotFoundError, match=r"no such file$"):
            read_xyz(tmp_path)

    def test_no_text(self, tmp_path):
        (tmp_path / "some.xyz").write_bytes(b"2\n\xff\xfe")
        with pytest.raises(ValueError, match=r"some\.xyz: not a text file \(byte 2 is not UTF-8\)$"):
            read_xyz(tmp_path / "some.xyz")

    @pytest.mark.parametrize("text", ["", "\n\n"])
    def test_empty(self, read, text):
        with pytest.raises(ValueError, match=r"some\.xyz: empty; an XYZ file holds at least one molecule$"):
            read(text)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("2\n\nO 0 0 0\n", "line 1: truncated; 2 atoms announced, the file ends after 1"),
            ("2\n", "line 1: truncated; 2 atoms announced, the file ends after 0"),
            (PLAIN + "3\n\nO 0 0 0\n", "line 5: truncated; 3 atoms announced, the file ends after 1"),
            ("water\n\nO 0 0 0\n", "line 1: expected a number of atoms, got 'water'"),
            ("1\n\nO 0 0 0\nH 0 0 1\n", "line 4: expected a number of atoms, got 'H 0 0 1'"),
            ("-1\n\n", "line 1: expected a number of atoms, got '-1'"),
            ("0\n\n", "line 1: a molecule needs at least one atom, got none"),
            (PLAIN + "2\n\nO 0 0 0\nXx 0 0 1\n", "line 8: unknown element 'Xx'"),
            ("1\n\nX 0 0 0\n", "line 1: atom 0 has atomic number 0; elements have 1 to 118"),
            ("2\n\nO 0 0 0\nH 0 0\n", "line 4: cannot read the atom 'H 0 0' .*"),
            ("1\n\nO 0 0 1.0*^-6\n", "line 3: cannot read the atom .*could not convert .*"),
            ("1\n\nO 0 0 nan\n", r"line 1: positions must be finite, got \[0.0, 0.0, nan\] for atom 0"),
            ("2\n\nO 0 0 0\nH 0 0 0\n", "line 1: atoms 0 and 1 are 0 Å apart; no two stand.*"),
            ("1\nstress=3\nO 0 0 0\n", "line 2: cannot read the comment 'stress=3' .*"),
            ("1\nProperties=species:S:1:pos:R:x\nO 0 0 0\n", "line 2: cannot read the comment .*"),
            ("1\nProperties=pos:R:3\n0 0 0\n", "line 2: Properties must name pos and .*, got 'pos'"),
            ("1\nProperties=species:S:1\nO\n", "line 2: Properties must name pos and .*, got 'species'"),
            ("1\ncharge=0.5\nO 0 0 0\n", "line 2: charge must be a whole number of e, got 0.5"),
            ("1\ncharge=high\nO 0 0 0\n", "line 2: charge must be a whole number of e, got high"),
            ("1\ncharge a=1\nO 0 0 0\n", "line 2: charge must be a whole number of e, got True"),
            ("1\ncharge=nan\nO 0 0 0\n", "line 2: charge must be a whole number of e, got nan"),
            ("1\ncharge=9\nO 0 0 0\n", "line 1: charge must not exceed that of the nuclei, 8, got 9"),
            (
                '1\nLattice="5 0 0 0 5 0 0 0 5"\nO 0 0 0\n',
                "line 2: a periodic frame; molecules stand alone.*",
            ),
        ],
    )
    def test_one_line_with_the_place(self, read, text, message):
        with pytest.raises(ValueError, match=rf"^\S*some\.xyz, {message}$") as failure:
            read(text)
        assert len(str(failure.value).splitlines()) == 1
