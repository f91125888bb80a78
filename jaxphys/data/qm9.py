"""QM9: 133,885 molecules of C, H, N, O and F at their minima, in each of the forms that it goes around in."""

from __future__ import annotations

import csv
import logging
import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import ase.data
import ase.db
import numpy as np
from rdkit import Chem

from jaxphys.data.energy_checks import check_energies
from jaxphys.data.energy_data import EnergyData, EnergyFrame, from_frames
from jaxphys.data.extxyz import iterate_extxyz
from jaxphys.data.files import check_keys, existing_file, one_line
from jaxphys.units import ENERGY_IN_EV, HARTREE_IN_EV

LEVEL = "B3LYP/6-31G(2df,p)"

QM9Energy = Literal["electronic", "U0", "U", "H", "G"]

_WHAT = {
    "electronic": "",
    "U0": ", with zero-point energy",
    "U": ", inner energy at 298.15 K",
    "H": ", enthalpy at 298.15 K",
    "G": ", free energy at 298.15 K",
}

_ATOMS_HARTREE = {
    "U0": {1: -0.500273, 6: -37.846772, 7: -54.583861, 8: -75.064579, 9: -99.718730},
    "U": {1: -0.498857, 6: -37.845355, 7: -54.582445, 8: -75.063163, 9: -99.717314},
    "H": {1: -0.497912, 6: -37.844411, 7: -54.581501, 8: -75.062219, 9: -99.716370},
    "G": {1: -0.510927, 6: -37.861317, 7: -54.598897, 8: -75.079532, 9: -99.733544},
}
"""The set's own atomref.txt."""

# Places in the second line of an original file: gdb, number, A, B, C, mu, alpha, homo, lumo, gap, r2, zpve, …
_PLACES = {"zpve": 11, "U0": 12, "U": 13, "H": 14, "G": 15}
_CSV_KEYS = {"zpve": "zpve", "U0": "u0", "U": "u298", "H": "h298", "G": "g298"}
_DB_KEYS = {"zpve": "zpve", "U0": "energy_U0", "U": "energy_U", "H": "enthalpy_H", "G": "free_energy"}

_Entry = tuple[EnergyFrame, Mapping[str, float]]  # without its energy; energies in Ha

# Not `warnings`: see labels.py.
_log = logging.getLogger(__name__)


def read_qm9(
    path: str | os.PathLike,
    *,
    energy: QM9Energy = "electronic",
    uncharacterized: str | os.PathLike | None = None,
    drop_invalid: bool = False,
) -> EnergyData:
    """QM9's molecules with total energies in eV; there are no forces, all are minima.

    path: the folder of the original files dsgdb9nsd_000001.xyz and so on, the tar.bz2 of them, or one of
    them; gdb9.sdf with gdb9.sdf.csv beside it; an ASE database as SchNetPack makes it; or extended XYZ with
    U0 and the others as keys, in Hartree. energy: "electronic", the potential energy at the minimum, is
    U0 − zpve: what a model of energies and forces learns. U0 and the thermal ones are the set's own.
    uncharacterized: the set's list of the 3,054 molecules that did not stay themselves, to be left out; how
    many were is logged.
    group: gdb_<number>, where the form has it. name: the SMILES, where it has one, of the relaxed geometry.
    The SDF has 4 decimals of the positions only.
    Raises FileNotFoundError, or ValueError with the file or frame: another form, a damaged file, a missing
    property, and as `check_energies`.
    Source: Ramakrishnan et al. 2014, Sci. Data 1, 140022.
    """
    path = Path(path)
    frames = [_label(entry, energy) for entry in _entries(path)]
    if uncharacterized is not None:
        if not all(frame.group for frame in frames):
            raise ValueError(f"{path}: this form has no numbers of molecules, none can be left out by them")
        left_out = _read_list(uncharacterized)
        kept = [frame for frame in frames if frame.group not in left_out]
        _log.warning("%s: %d uncharacterized molecules left out", path, len(frames) - len(kept))
        frames = kept
    if not frames:
        raise ValueError(f"{path}: empty; it should hold at least one molecule")
    atoms = _ATOMS_HARTREE["U0" if energy == "electronic" else energy]
    data = from_frames(
        frames,
        level=LEVEL + _WHAT[energy],
        reference="total",
        atomic_energies={z: HARTREE_IN_EV * value for z, value in atoms.items()},
    )
    return check_energies(data, path, drop_invalid=drop_invalid)


def _entries(path: Path) -> Iterator[_Entry]:
    """The molecules of any form, by the look of the file."""
    if path.is_dir():
        for file in sorted(path.glob("*.xyz")):
            yield _original(str(file), file.read_text(encoding="utf-8"))
        return
    existing_file(path)
    if tarfile.is_tarfile(path) or path.name.endswith((".tar.bz2", ".tar")):
        yield from _tar(path)
    elif path.suffix == ".sdf":
        yield from _sdf(path)
    elif path.suffix == ".db":
        yield from _database(path)
    elif path.suffix in (".xyz", ".extxyz"):
        text = path.read_text(encoding="utf-8")
        if text.split("\n", 2)[1:2] and text.split("\n", 2)[1].startswith("gdb"):
            yield _original(str(path), text)
        else:
            yield from _extended(path)
    else:
        raise ValueError(f"{path}: expected a folder, .tar.bz2, .xyz, .sdf or .db of QM9")


def _label(entry: _Entry, energy: str) -> EnergyFrame:
    frame, energies = entry
    hartree = energies["U0"] - energies["zpve"] if energy == "electronic" else energies[energy]
    return EnergyFrame(
        frame.numbers, frame.positions, HARTREE_IN_EV * hartree, name=frame.name, group=frame.group
    )


def _tar(path: Path) -> Iterator[_Entry]:
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                if member.isfile() and member.name.endswith(".xyz"):
                    content = archive.extractfile(member)
                    assert content is not None  # a regular file
                    yield _original(f"{path}, {member.name}", content.read().decode())
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{path}: no tar archive, truncated or damaged ({one_line(error)})") from None


def _original(where: str, text: str) -> _Entry:
    """One file: the number of atoms, properties, atoms with charges, frequencies, two SMILES, two InChI."""
    lines = text.splitlines()
    try:
        n_atoms = int(lines[0])
        properties, atoms = lines[1].split(), [line.split() for line in lines[2 : 2 + n_atoms]]
        if properties[0] != "gdb" or len(properties) != 17 or len(lines) < n_atoms + 5:
            raise ValueError("expected 17 properties that begin with gdb, the atoms, and three lines after")
        numbers = np.array([ase.data.atomic_numbers[atom[0]] for atom in atoms])
        positions = np.array([[_number(word) for word in atom[1:4]] for atom in atoms])
        energies = {key: _number(properties[place]) for key, place in _PLACES.items()}
        smiles = lines[n_atoms + 3].split()
        return EnergyFrame(
            numbers, positions, np.nan, name=smiles[-1], group=f"gdb_{properties[1]}"
        ), energies
    except (ValueError, IndexError, KeyError) as error:
        raise ValueError(f"{where}: not an original QM9 file, or truncated ({one_line(error)})") from None


def _number(word: str) -> float:
    """Some small numbers were written by another program: 6.1e-6 as 6.1*^-6."""
    return float(word.replace("*^", "e"))


def _sdf(path: Path) -> Iterator[_Entry]:
    table = existing_file(Path(f"{path}.csv"))
    with open(table, newline="", encoding="utf-8") as text:
        rows = list(csv.DictReader(text))
    if rows:
        check_keys(table, list(rows[0]), ("mol_id", *_CSV_KEYS.values()))
    if not path.read_bytes().rstrip().endswith(b"$$$$"):
        raise ValueError(f"{path}: truncated; the last molecule does not end with $$$$")
    molecules = Chem.SDMolSupplier(str(path), sanitize=False, removeHs=False)
    if len(molecules) != len(rows):
        raise ValueError(f"{path}: {len(molecules)} molecules, but {len(rows)} rows in {table.name}")
    for index, (mol, row) in enumerate(zip(molecules, rows, strict=True)):
        if mol is None:
            raise ValueError(f"{path}, frame {index}: RDKit cannot read this molecule")
        name = mol.GetProp("_Name")
        if name != row["mol_id"]:
            raise ValueError(f"{path}, frame {index}: {name}, but {row['mol_id']} in {table.name}")
        numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
        positions = np.array(mol.GetConformer().GetPositions())
        try:
            energies = {key: float(row[column]) for key, column in _CSV_KEYS.items()}
        except ValueError as error:
            raise ValueError(f"{table}, {name}: {error}") from None
        yield EnergyFrame(numbers, positions, np.nan, name=row.get("smiles") or "", group=name), energies


def _database(path: Path) -> Iterator[_Entry]:
    try:
        with ase.db.connect(path) as database:
            metadata = database.metadata
            units = metadata.get("_property_unit_dict", {})
            if metadata.get("_distance_unit") not in ("Ang", "Angstrom"):
                raise ValueError(f"its distance unit is {metadata.get('_distance_unit')!r}, expected 'Ang'")
            scales = {key: _database_scale(units.get(name), name) for key, name in _DB_KEYS.items()}
            for row in database.select():
                properties = row.data if "energy_U0" in row.data else row.key_value_pairs
                check_keys(f"{path}, row {row.id}", list(properties), tuple(_DB_KEYS.values()))
                energies = {key: scales[key] * np.asarray(properties[name], dtype=float).item()
                            for key, name in _DB_KEYS.items()}  # fmt: skip
                yield EnergyFrame(row.numbers, row.positions, np.nan), energies
    except Exception as error:  # of SQLite, JSON and ASE, of many kinds
        raise ValueError(f"{path}: cannot read this as QM9's database ({one_line(error)})") from None


def _database_scale(unit: str | None, name: str) -> float:
    names = {"Hartree": "Ha", "Ha": "Ha", "eV": "eV", "kcal/mol": "kcal/mol"}
    if unit not in names:
        raise ValueError(f"the unit of {name} is {unit!r}, expected one of {', '.join(names)}")
    return ENERGY_IN_EV[names[unit]] / HARTREE_IN_EV


def _extended(path: Path) -> Iterator[_Entry]:
    for where, atoms in iterate_extxyz(path):
        check_keys(where, sorted(atoms.info), tuple(_PLACES))
        energies = {key: float(atoms.info[key]) for key in _PLACES}
        yield EnergyFrame(atoms.numbers, atoms.positions, np.nan, name=atoms.info["name"]), energies


def _read_list(path: str | os.PathLike) -> set[str]:
    """Groups of the molecules in uncharacterized.txt: the lines that begin with a number."""
    lines = existing_file(path).read_text(encoding="utf-8").splitlines()
    numbers = [line.split()[0] for line in lines if line.split()]
    found = {f"gdb_{number}" for number in numbers if number.isdecimal()}
    if not found:
        raise ValueError(f"{path}: no line begins with the number of a molecule")
    return found
