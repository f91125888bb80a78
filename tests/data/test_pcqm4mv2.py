"""PCQM4Mv2's SDF, written here as Open Babel writes it."""

import gzip
import tarfile

import numpy as np
import pytest
from rdkit import Chem

from jaxphys.data import read_pcqm4mv2

WATER = [("O", 0.0021, -0.0041, 0.1172), ("H", 0.0, 0.7572, -0.4692), ("H", 0.0, -0.7572, -0.4692)]
METHANOL = [
    ("C", -0.0475, 0.6650, 0.0), ("O", -0.0475, -0.7581, 0.0), ("H", -1.0925, 0.9692, 0.0),
    ("H", 0.8767, -1.0455, 0.0), ("H", 0.4378, 1.0717, 0.8892), ("H", 0.4378, 1.0717, -0.8892),
]  # fmt: skip
WATER_BONDS, METHANOL_BONDS = [(1, 2), (1, 3)], [(1, 2), (1, 3), (2, 4), (1, 5), (1, 6)]


def block(atoms, bonds, title=""):
    lines = [
        title,
        " OpenBabel10062109183D",
        "",
        f"{len(atoms):3d}{len(bonds):3d}  0  0  0  0  0  0  0  0999 V2000",
    ]
    lines += [f"{x:10.4f}{y:10.4f}{z:10.4f} {symbol:<3} 0" + 11 * "  0" for symbol, x, y, z in atoms]
    lines += [f"{i:3d}{j:3d}  1" + 4 * "  0" for i, j in bonds]
    return "\n".join([*lines, "M  END", "$$$$", ""])


WHOLE = block(WATER, WATER_BONDS) + block(METHANOL, METHANOL_BONDS, "named")


def write(folder, text, name="pcqm4m-v2-train.sdf"):
    path = folder / name
    path.write_text(text)
    return path


def archived(folder, text):
    path = folder / "pcqm4m-v2-train.sdf.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(write(folder, text), arcname="pcqm4m-v2-train.sdf")
    return path


def zipped(folder, text):
    path = folder / "pcqm4m-v2-train.sdf.gz"
    path.write_bytes(gzip.compress(text.encode()))
    return path


@pytest.mark.parametrize("form", [write, archived, zipped])
def test_structures(tmp_path, form):
    water, methanol = read_pcqm4mv2(form(tmp_path, WHOLE))
    np.testing.assert_array_equal(water.positions, [row[1:] for row in WATER])
    np.testing.assert_array_equal(methanol.positions, [row[1:] for row in METHANOL])
    assert [atom.GetSymbol() for atom in methanol.mol.GetAtoms()] == [row[0] for row in METHANOL]
    assert [Chem.MolToSmiles(Chem.RemoveHs(s.mol)) for s in (water, methanol)] == ["O", "CO"]
    assert (water.name, methanol.name) == ("0", "named")
    assert (water.energy, water.structure_level, water.energy_level) == (None, "B3LYP/6-31G*", None)
    assert water.mol.GetNumConformers() == 0


def test_limit_reads_no_further(tmp_path):
    path = write(tmp_path, WHOLE + "rubbish that is no record")
    assert len(list(read_pcqm4mv2(path, limit=2))) == 2
    assert list(read_pcqm4mv2(path, limit=0)) == []


def test_stereochemistry_of_the_geometry(tmp_path):
    centre = [
        ("C", 0, 0, 0),
        ("F", 0.8, 0.8, 0.8),
        ("Cl", 1, -1, -1),
        ("Br", -1.1, 1.1, -1.1),
        ("H", -0.6, -0.6, 0.6),
    ]
    bonds = [(1, 2), (1, 3), (1, 4), (1, 5)]
    mirrored = [(symbol, -x, y, z) for symbol, x, y, z in centre]
    found = read_pcqm4mv2(write(tmp_path, block(centre, bonds) + block(mirrored, bonds)))
    assert {Chem.FindMolChiralCenters(s.mol)[0][1] for s in found} == {"R", "S"}


CROWDED = block([("H", 0, 0, 0), ("H", 0, 0, 0.05)], [(1, 2)])
NOT_FINITE = block(WATER, WATER_BONDS).replace("    0.7572", "       nan", 1)
FIVE_BONDS = block([("C", 0, 0, 0)] + [("F", i, 1, 0.1) for i in range(5)], [(1, i) for i in range(2, 7)])
HEAVY = block(METHANOL[:2], [(1, 2)])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (CROWDED, "record 1: atoms 0 and 1 are 0.05 Å apart"),
        (NOT_FINITE, "record 1: (RDKit cannot read|positions must be finite)"),
        (FIVE_BONDS, "record 1: RDKit cannot read this molecule"),
        (
            block([(*row[:3], 0.0) for row in METHANOL], METHANOL_BONDS).replace("3D\n", "2D\n"),
            "record 1: a drawing",
        ),
        (HEAVY, "record 1: 4 hydrogens have no positions; heavy_atoms_only=True"),
    ],
)
def test_invalid_records(tmp_path, text, reason, capfd, caplog):
    path = write(tmp_path, block(WATER, WATER_BONDS) + text + block(METHANOL, METHANOL_BONDS))
    with pytest.raises(ValueError, match=reason) as error:
        list(read_pcqm4mv2(path))
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert [s.name for s in read_pcqm4mv2(path, drop_invalid=True)] == ["0", "2"]
    assert "1 records left out" in caplog.text
    assert capfd.readouterr().err == ""


def test_heavy_atoms_only(tmp_path):
    (found,) = read_pcqm4mv2(write(tmp_path, HEAVY.replace("0.0000 C", "0.1000 C")), heavy_atoms_only=True)
    assert found.positions.shape == (2, 3)


@pytest.mark.parametrize("drop_invalid", [False, True])
@pytest.mark.parametrize(
    ("form", "damage", "reason"),
    [
        (write, lambda content: content[:-200], "truncated; the last record does not end"),
        (write, lambda content: content[:-7], "truncated; the last record does not end"),
        (write, lambda content: b"", "no structure in it"),
        (write, lambda content: b"\xff\xfe" + content, "not an SDF"),
        (zipped, lambda content: content[:-30], "truncated or damaged"),
        (archived, lambda content: content[:120], "truncated or damaged"),
    ],
)
def test_damaged_files(tmp_path, form, damage, reason, drop_invalid):
    path = form(tmp_path, WHOLE)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=reason) as error:
        list(read_pcqm4mv2(path, drop_invalid=drop_invalid))
    assert str(path) in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_pcqm4mv2(tmp_path / "none.sdf")
