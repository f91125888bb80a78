"""QM9 in each of its forms, all of the same two molecules."""

import io
import tarfile

import ase.db
import numpy as np
import pytest
from ase import Atoms

from jaxphys.data import read_qm9, subtract_atomic_energies
from jaxphys.units import HARTREE_IN_EV, KCAL_PER_MOL_IN_EV

# The first and the third of the set's own files; the second line and the charges are separated by tabs.
METHANE = """5
gdb 1	157.7118	157.70997	157.70699	0.	13.21	-0.3877	0.1171	0.5048	\
35.3641	0.044749	-40.47893	-40.476062	-40.475117	-40.498597	6.469
C	-0.0126981359	 1.0858041578	 0.0080009958	-0.535689
H	 0.002150416	-0.0060313176	 0.0019761204	 0.133921
H	 1.0117308433	 1.4637511618	 0.0002765748	 0.133922
H	-0.540815069	 1.4475266138	-0.8766437152	 0.133923
H	-0.5238136345	 1.4379326443	 0.9063972942	 0.133923
1341.307	1341.3284	1341.365	1562.6731	1562.7453	3038.3205	3151.6034	3151.6788	3151.7078
C	C
InChI=1S/CH4/h1H4	InChI=1S/CH4/h1H4
"""
WATER = """3
gdb 3	799.58812	437.90386	282.94545	1.8511	6.31	-0.2928	0.0687	0.3615	\
19.0002	0.021375	-76.404702	-76.401867	-76.400922	-76.422349	6.002
O	-0.0343604951	 0.9775395708	 0.0076015923	-0.589706
H	 0.0647664923	 0.0205721989	 1.5346341*^-3	 0.294853
H	 0.8717903737	 1.3007924048	 0.0006931336	 0.294853
1671.4222	3803.6305	3907.698
O	O
InChI=1S/H2O/h1H2	InChI=1S/H2O/h1H2
"""
TEXTS = {"dsgdb9nsd_000001.xyz": METHANE, "dsgdb9nsd_000003.xyz": WATER}
NUMBERS = [[6, 1, 1, 1, 1], [8, 1, 1]]
ENERGIES = {
    "zpve": (0.044749, 0.021375),
    "U0": (-40.47893, -76.404702),
    "U": (-40.476062, -76.401867),
    "H": (-40.475117, -76.400922),
    "G": (-40.498597, -76.422349),
}


def positions(text):
    lines = text.replace("*^", "e").splitlines()
    return np.array([line.split()[1:4] for line in lines[2 : 2 + int(lines[0])]], dtype=float)


POSITIONS = [positions(METHANE), positions(WATER)]


def write_folder(folder):
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    return folder


def write_tar(folder):
    path = folder / "dsgdb9nsd.xyz.tar.bz2"
    with tarfile.open(path, "w:bz2") as archive:
        for name, text in TEXTS.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def write_sdf(folder):
    """As MoleculeNet distributes it: V2000 with 4 decimals, and a table beside."""
    path, blocks = folder / "gdb9.sdf", []
    table = ["mol_id,A,B,C,mu,alpha,homo,lumo,gap,r2,zpve,u0,u298,h298,g298,cv"]
    for place, (name, symbols) in enumerate({"gdb_1": "CHHHH", "gdb_3": "OHH"}.items()):
        n = len(symbols)
        blocks.append(f"{name}\n -OEChem-03231823253D\n\n{n:3d}{n - 1:3d}  0     0  0  0  0  0  0999 V2000\n")
        for symbol, row in zip(symbols, POSITIONS[place], strict=True):
            blocks.append("".join(f"{x:10.4f}" for x in row) + f" {symbol}   0" + 11 * "  0" + "\n")
        blocks += [f"  1{i:3d}  1  0  0  0  0\n" for i in range(2, n + 1)]
        blocks.append("M  END\n$$$$\n")
        values = [ENERGIES[key][place] for key in ("zpve", "U0", "U", "H", "G")]
        table.append(f"{name},1,1,1,0,1,0,0,0,1,{','.join(map(str, values))},6.0")
    path.write_text("".join(blocks))
    (folder / "gdb9.sdf.csv").write_text("\n".join(table) + "\n")
    return path


def write_database(folder, unit="Ha", distance="Ang"):
    """As SchNetPack makes it: properties as arrays of one number, units in the metadata."""
    path = folder / "qm9.db"
    names = {"zpve": "zpve", "U0": "energy_U0", "U": "energy_U", "H": "enthalpy_H", "G": "free_energy"}
    with ase.db.connect(path) as database:
        units = dict.fromkeys(names.values(), unit)
        database.metadata = {"_property_unit_dict": units, "_distance_unit": distance}
        for place, (numbers, rows) in enumerate(zip(NUMBERS, POSITIONS, strict=True)):
            data = {name: np.array([ENERGIES[key][place]]) for key, name in names.items()}
            database.write(Atoms(numbers, rows), data=data)
    return path


def write_extended(folder):
    path, frames = folder / "qm9.xyz", []
    for place, (symbols, rows) in enumerate(zip(("CHHHH", "OHH"), POSITIONS, strict=True)):
        labels = " ".join(f"{key}={value[place]}" for key, value in ENERGIES.items())
        frames.append(f'{len(symbols)}\nProperties=species:S:1:pos:R:3 <R2>=35.4 {labels} pbc="F F F"\n')
        frames += [f"{s} {x} {y} {z}\n" for s, (x, y, z) in zip(symbols, rows.tolist(), strict=True)]
    path.write_text("".join(frames))
    return path


@pytest.mark.parametrize("write", [write_folder, write_tar, write_sdf, write_database, write_extended])
def test_every_form_says_the_same(tmp_path, write):
    path = write(tmp_path)
    methane, water = data = read_qm9(path)
    for found, numbers, rows in zip(data, NUMBERS, POSITIONS, strict=True):
        np.testing.assert_array_equal(found.numbers, numbers)
        np.testing.assert_allclose(found.positions, rows, rtol=0, atol=5e-5 if write is write_sdf else 1e-12)
    assert methane.energy == pytest.approx(-40.523679 * HARTREE_IN_EV, rel=1e-12)
    assert water.energy == pytest.approx(-76.426077 * HARTREE_IN_EV, rel=1e-12)
    for energy in ("U0", "U", "H", "G"):
        other = read_qm9(path, energy=energy)
        np.testing.assert_allclose(other.energy, HARTREE_IN_EV * np.array(ENERGIES[energy]), rtol=1e-12)
        assert other.level != data.level and other.forces is None
    if write not in (write_database, write_extended):
        assert data.group.tolist() == ["gdb_1", "gdb_3"]
    if write in (write_folder, write_tar):
        assert data.name.tolist() == ["C", "O"]


@pytest.mark.parametrize(
    ("energy", "published"), [("U0", -395.999595), ("U", -398.643290), ("H", -401.014647), ("G", -372.471772)]
)
def test_energies_of_atomisation_are_the_published_ones(tmp_path, energy, published):
    """Methane's in kcal/mol, the columns u0_atom to g298_atom of gdb9.sdf.csv."""
    methane = subtract_atomic_energies(read_qm9(write_folder(tmp_path), energy=energy)[:1])
    assert methane.energy[0] / KCAL_PER_MOL_IN_EV == pytest.approx(published, abs=2e-3)


def test_one_original_file(tmp_path):
    data = read_qm9(write_folder(tmp_path) / "dsgdb9nsd_000003.xyz")
    assert data.group.tolist() == ["gdb_3"]
    assert data.positions[1, 2] == 1.5346341e-3


def test_uncharacterized_molecules_are_left_out(tmp_path, caplog):
    table = tmp_path / "uncharacterized.txt"
    table.write_text("Index  SMILES\n------------\n     3  O  O\n    21  CC  CC\n------------\n2 compounds\n")
    data = read_qm9(write_folder(tmp_path), uncharacterized=table)
    assert data.group.tolist() == ["gdb_1"]
    assert "1 uncharacterized molecules left out" in caplog.text
    with pytest.raises(ValueError, match="this form has no numbers of molecules"):
        read_qm9(write_extended(tmp_path), uncharacterized=table)
    table.write_text("nothing\n")
    with pytest.raises(ValueError, match="no line begins with the number of a molecule"):
        read_qm9(tmp_path / "dsgdb9nsd_000001.xyz", uncharacterized=table)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("gdb 1", "gdb", "expected 17 properties"),
        ("C	C\nInChI=1S/CH4/h1H4	InChI=1S/CH4/h1H4\n", "", "not an original QM9 file, or truncated"),
        ("H	 0.002150416", "Qq	 0.002150416", "'Qq'"),
        ("-40.47893", "nan", "frame 0: the energy is nan"),
        ("-40.47893", "-395.99", "energies are out of range|frame 0: an energy"),
    ],
)
def test_bad_originals(tmp_path, old, new, message):
    write_folder(tmp_path)
    (tmp_path / "dsgdb9nsd_000001.xyz").write_text(METHANE.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        read_qm9(tmp_path)


def test_bad_archives(tmp_path):
    path = write_tar(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"tar\.bz2: no tar archive, truncated or damaged"):
        read_qm9(path)


def test_bad_sdf(tmp_path):
    path = write_sdf(tmp_path)
    text, table = path.read_text(), tmp_path / "gdb9.sdf.csv"
    path.write_text(text[:-10])
    with pytest.raises(ValueError, match="truncated; the last molecule does not end"):
        read_qm9(path)
    path.write_text(text[: text.index("gdb_3")])
    with pytest.raises(ValueError, match=r"1 molecules, but 2 rows in gdb9\.sdf\.csv"):
        read_qm9(path)
    path.write_text(text.replace("gdb_3", "gdb_4"))
    with pytest.raises(ValueError, match=r"frame 1: gdb_4, but gdb_3 in gdb9\.sdf\.csv"):
        read_qm9(path)
    path.write_text(text)
    table.write_text(table.read_text().replace(",u0,", ",e0,"))
    with pytest.raises(ValueError, match="no u0; there are mol_id"):
        read_qm9(path)
    table.unlink()
    with pytest.raises(FileNotFoundError, match=r"gdb9\.sdf\.csv: no such file"):
        read_qm9(path)


def test_units_of_a_database(tmp_path):
    path = write_database(tmp_path, unit="eV")
    with pytest.raises(ValueError, match="they look like total energies in Ha"):
        read_qm9(path)  # Hartree, but said to be eV
    path.unlink()
    with pytest.raises(ValueError, match=r"the unit of zpve is 'cm-1', expected one of"):
        read_qm9(write_database(tmp_path, unit="cm-1"))
    path.unlink()
    with pytest.raises(ValueError, match="its distance unit is 'Bohr', expected 'Ang'"):
        read_qm9(write_database(tmp_path, distance="Bohr"))
    path.write_bytes(b"no database")
    with pytest.raises(ValueError, match="cannot read this as QM9's database"):
        read_qm9(path)


def test_other_files(tmp_path):
    with pytest.raises(ValueError, match="empty; it should hold at least one molecule"):
        read_qm9(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_qm9(tmp_path / "qm9.sdf")
    (tmp_path / "qm9.csv").write_text("1")
    with pytest.raises(ValueError, match=r"expected a folder, \.tar\.bz2"):
        read_qm9(tmp_path / "qm9.csv")
    (tmp_path / "qm9.xyz").write_text("1\nU0=-0.5\nH 0 0 0\n")
    with pytest.raises(ValueError, match="no zpve, U, H, G; there are U0, name"):
        read_qm9(tmp_path / "qm9.xyz")
