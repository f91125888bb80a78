"""PubChemQC's JSON in its two layouts, with the keys of the published records."""

import gzip
import json
import lzma

import numpy as np
import pytest
from rdkit import Chem

from jaxphys.data import embed_conformers, parse_smiles, positions_of, read_pubchemqc

SMILES = ["O", "C[N+](=O)[O-]", "C[NH3+]"]


def molecule(smiles):
    mol = parse_smiles(smiles)
    positions = positions_of(embed_conformers(mol, 1, seed=0))[0].round(6)
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx(), int(b.GetBondTypeAsDouble())) for b in mol.GetBonds()]
    return mol, positions, bonds


def flat(cid, smiles, calculation="B3LYP@PM6", first=1, **changes):
    """A record of the MolSSI release; PM6's have no bonds."""
    mol, positions, bonds = molecule(smiles)
    record = {
        "cid": cid,
        "state": "S0",
        "pubchem-charge": 0,
        "name": f"{cid:09d}.{calculation}.S0",
        "coordinates": positions.ravel().tolist(),
        "atomic-numbers": [atom.GetAtomicNum() for atom in mol.GetAtoms()],
        "atom-count": mol.GetNumAtoms(),
        "charge": Chem.GetFormalCharge(mol),
        "total-energy": -1000.25 - cid,
        "orbital-energies": [[-500.1, 0.2]],
    }
    if calculation != "PM6":
        record["bond-order"] = [order for *_, order in bonds]
        record["connection-indices"] = [index + first for i, j, _ in bonds for index in (i, j)]
    record.update(changes)
    return {key: value for key, value in record.items() if value is not None}


def nested(cid, smiles, calculation="B3LYP@PM6"):
    """A record of the RIKEN release."""
    record = flat(cid, smiles, first=0)
    entry = {
        "atoms": {"elements": {"number": record["atomic-numbers"]}, "coords": {"3d": record["coordinates"]}},
        "bonds": {"connections": {"index": record["connection-indices"]}, "order": record["bond-order"]},
        "properties": {"charge": record["charge"], "energy": {"total": record["total-energy"]}},
    }
    return {"cid": cid, "data": {"pubchem": {calculation: entry}}}


def array(folder, records, name="1-298189.json"):
    path = folder / name
    path.write_text(json.dumps(records, indent=4))
    return path


def lines(folder, records):
    path = folder / "lines.json"
    path.write_text(",\n".join(map(json.dumps, records)))
    return path


def zipped(folder, records):
    path = array(folder, records, "1.json.gz")
    path.write_bytes(gzip.compress(path.read_bytes()))
    return path


def xz(folder, records):
    path = array(folder, records, "1.json.xz")
    path.write_bytes(lzma.compress(path.read_bytes()))
    return path


@pytest.mark.parametrize(
    ("write", "make"),
    [(array, flat), (array, nested), (lines, nested), (lines, flat), (zipped, flat), (xz, flat)],
)
def test_structures(tmp_path, write, make):
    path = write(tmp_path, [make(cid, smiles) for cid, smiles in enumerate(SMILES)])
    for cid, (smiles, found) in enumerate(zip(SMILES, read_pubchemqc(path), strict=True)):
        mol, positions, _ = molecule(smiles)
        np.testing.assert_array_equal(found.positions, positions)
        assert Chem.MolToSmiles(Chem.RemoveHs(found.mol)) == Chem.CanonSmiles(smiles)
        assert [a.GetAtomicNum() for a in found.mol.GetAtoms()] == [a.GetAtomicNum() for a in mol.GetAtoms()]
        assert found.energy == -1000.25 - cid  # the files' own unit is eV
        assert (found.structure_level, found.energy_level) == ("PM6", "B3LYP/6-31G*")
        assert found.name == (f"{cid:09d}.B3LYP@PM6.S0" if make is flat else f"CID {cid}")


@pytest.mark.parametrize("make", [flat, nested])
def test_pm6(tmp_path, make):
    (found,) = read_pubchemqc(array(tmp_path, [make(1, "CC#N", "PM6")]))
    assert (found.structure_level, found.energy_level) == ("PM6", "PM6")
    assert Chem.MolToSmiles(Chem.RemoveHs(found.mol)) == "CC#N"


@pytest.mark.parametrize("first", [0, 1])
def test_numbering_of_connections(tmp_path, first):
    record = flat(1, "CO", first=first)
    (found,) = read_pubchemqc(array(tmp_path, [record]))
    assert Chem.MolToSmiles(Chem.RemoveHs(found.mol)) == "CO"


def test_connections_that_show_no_numbering_are_perceived(tmp_path):
    """Water between two chloride ions."""
    record = flat(1, "O")
    record["atomic-numbers"], record["charge"] = [17, *record["atomic-numbers"], 17], -2
    record["coordinates"] = [9.0, 9.0, 9.0, *record["coordinates"], -9.0, 9.0, 9.0]
    for first in (0, 1):
        record["connection-indices"] = [1 + first, 2 + first, 1 + first, 3 + first]
        path = array(tmp_path, [record])
        (found,) = read_pubchemqc(path)
        bonds = {frozenset((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in found.mol.GetBonds()}
        assert bonds == {frozenset((1, 2)), frozenset((1, 3))}


def test_single_object_and_single_atom(tmp_path):
    (found,) = read_pubchemqc(array(tmp_path, flat(1, "[Na+]")))
    assert Chem.MolToSmiles(found.mol) == "[Na+]"


def test_streams(tmp_path, monkeypatch):
    """Any cut between chunks gives the same records; a limit reads no further."""
    path = array(tmp_path, [flat(cid, smiles) for cid, smiles in enumerate(SMILES)])
    monkeypatch.setattr("jaxphys.data.pubchemqc._CHUNK", 37)
    assert [found.energy for found in read_pubchemqc(path)] == [-1000.25, -1001.25, -1002.25]
    path.write_text(path.read_text()[:-100])
    assert len(list(read_pubchemqc(path, limit=2))) == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"coordinates": None}, "no coordinates; there are cid"),
        ({"total-energy": None}, "no total-energy"),
        ({"total-energy": float("nan")}, "the energy must be finite, got nan"),
        ({"coordinates": [0.0] * 8 + [float("nan")]}, "positions must be finite"),
        ({"coordinates": [0.0] * 9}, "atoms .* are 0 Å apart"),
        ({"coordinates": [0.0] * 8}, "8 coordinates of 3 atoms"),
        ({"coordinates": ["a"] * 9}, "could not convert"),
        ({"charge": 0.5}, "charge must be a whole number of e, got 0.5"),
        ({"charge": 5}, "no chemical graph of charge 5"),
        ({"name": "000000001.HF.S0"}, "the calculation is 'HF', expected B3LYP@PM6 or PM6"),
        ({"connection-indices": [1, 2, 1, 7]}, "4 connections between atoms 1 and 7 of 3"),
        ({"connection-indices": [0, 2, 1, 3]}, "4 connections between atoms 0 and 3 of 3"),
        ({"connection-indices": [1, 2, 3]}, "3 connections between"),
        ({"atomic-numbers": [0, 1, 1]}, "record 1: "),
    ],
)
def test_invalid_records(tmp_path, changes, reason, capfd, caplog):
    path = array(tmp_path, [flat(0, "C"), flat(1, "O", **changes), flat(2, "N")])
    with pytest.raises(ValueError, match=reason) as error:
        list(read_pubchemqc(path))
    assert f"{path}, record 1: " in str(error.value) and "\n" not in str(error.value)
    assert len(list(read_pubchemqc(path, drop_invalid=True))) == 2
    assert "1 records left out" in caplog.text
    assert capfd.readouterr().err == ""


def test_other_objects(tmp_path):
    with pytest.raises(ValueError, match="pubchem holds HF, not B3LYP@PM6 or PM6"):
        list(read_pubchemqc(array(tmp_path, [nested(1, "O", "HF")])))
    with pytest.raises(ValueError, match="expected an object, got int"):
        list(read_pubchemqc(array(tmp_path, [1, 2])))


@pytest.mark.parametrize("drop_invalid", [False, True])
@pytest.mark.parametrize("write", [array, lines, zipped])
@pytest.mark.parametrize("kept", [0.5, -3])
def test_truncated_files(tmp_path, write, kept, drop_invalid):
    path = write(tmp_path, [flat(cid, smiles) for cid, smiles in enumerate(SMILES)])
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept > 0 else kept])
    with pytest.raises(ValueError, match=r"truncated") as error:
        list(read_pubchemqc(path, drop_invalid=drop_invalid))
    assert str(path) in str(error.value)


def test_missing_and_empty_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_pubchemqc(tmp_path / "none.json")
    with pytest.raises(ValueError, match="no structure in it"):
        list(read_pubchemqc(array(tmp_path, [])))
