"""PubChemQC: PM6 minima of the molecules of PubChem, with energies of PM6, or of B3LYP/6-31G* at them."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDetermineBonds
from rdkit.rdBase import BlockLogs

from jaxphys.conformer_positions import with_positions
from jaxphys.data.files import check_keys, existing_file, one_line
from jaxphys.data.structures import RecordError, Structure, make_structure, sift

STRUCTURE_LEVEL = "PM6"
ENERGY_LEVELS = {"B3LYP@PM6": "B3LYP/6-31G*", "PM6": "PM6"}

_CHUNK = 1 << 20
_LONGEST_WORD = 1 << 16  # characters: an error this far before the end of what was read is no missing rest
_OPEN: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


class _Record(NamedTuple):
    """What is read of a record; bonds: pairs of atoms, counted from 0, or None."""

    name: str
    energy_level: str
    numbers: list[int]
    coordinates: list[float]
    energy: float
    charge: int
    bonds: list[tuple[int, int]] | None


def read_pubchemqc(
    path: str | os.PathLike, *, limit: int | None = None, drop_invalid: bool = False
) -> Iterator[Structure]:
    """Structures with total energies in eV, one by one, in the order of the file.

    path: a JSON file of either release, also in .gz, .bz2 or .xz, which is never held as a whole. Flat: an
    array of objects with name, coordinates, atomic-numbers, total-energy, charge and, for B3LYP,
    connection-indices (MolSSI, Hugging Face). Nested: objects, one or many, each with
    pubchem/B3LYP@PM6 or pubchem/PM6, in which atoms, bonds and properties are Chemical JSON (RIKEN).
    Å and eV are the files' own units. The level of the energy is read from the record; PM6's energy is that
    of Gaussian, a heat of formation.
    Bonds are those of the file, or else perceived from the distances; their orders and formal charges are
    perceived for the total charge, since the files keep no formal charges; a sulfoxide comes out as S⁺–O⁻.
    limit: at most so many structures. drop_invalid: leave out records that are incomplete or cannot be true,
    and log how many. name: as in the file, "000000001.B3LYP@PM6.S0", or "CID 1".
    Raises FileNotFoundError at once; ValueError, with file and record: missing keys, lengths that do not
    match, no chemical graph for the charge, and as `make_structure`; for a truncated or empty file.
    Source: Nakata and Maeda 2023, J. Chem. Inf. Model. 63, 5734; Nakata et al. 2020, ibid. 60, 5891.
    """
    existing_file(path)
    return sift(_structures(path), path, limit=limit, drop_invalid=drop_invalid)


def _structures(path: str | os.PathLike) -> Iterator[Structure | RecordError]:
    for place, record in enumerate(_objects(Path(path))):
        where = f"{path}, record {place}"
        try:
            entry = _entry(where, record)
            yield make_structure(
                where,
                _graph(where, entry),
                entry.energy,
                structure_level=STRUCTURE_LEVEL,
                energy_level=entry.energy_level,
                name=entry.name,
            )
        except RecordError as error:
            yield error


def _objects(path: Path) -> Iterator[Mapping[str, Any]]:
    """The objects of an array, of lines, or of a whole file. Raises ValueError if the last does not end."""
    decoder, text, closed, ended = json.JSONDecoder(), "", True, False
    try:
        with _OPEN.get(path.suffix, open)(path, "rt", encoding="utf-8") as file:
            while not ended:
                chunk = file.read(_CHUNK)
                ended, text = not chunk, text + chunk
                while text := text.lstrip(" \t\r\n,"):
                    if text[0] in "[]":
                        closed, text = text[0] == "]", text[1:]
                        continue
                    try:
                        record, end = decoder.raw_decode(text)
                    except json.JSONDecodeError as error:
                        if ended or error.pos < len(text) - _LONGEST_WORD:
                            raise
                        break
                    yield record
                    text = text[end:]
    except (EOFError, OSError, zlib.error, lzma.LZMAError, ValueError) as error:
        raise ValueError(f"{path}: not JSON, truncated or damaged ({one_line(error)})") from None
    if not closed:
        raise ValueError(f"{path}: truncated; the array does not end with ]")


def _entry(where: str, record: Any) -> _Record:
    """Either layout. Raises RecordError."""
    try:
        if not isinstance(record, dict):
            raise ValueError(f"expected an object, got {type(record).__name__}")
        nested = record.get("data", record)
        return _nested(record, nested["pubchem"]) if "pubchem" in nested else _flat(record)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else one_line(error)
        raise RecordError(f"{where}: not a record of PubChemQC, or incomplete ({reason})") from None


def _flat(record: Mapping[str, Any]) -> _Record:
    check_keys("record", list(record), ("name", "coordinates", "atomic-numbers", "total-energy", "charge"))
    calculation = record["name"].split(".")[1] if record["name"].count(".") else record["name"]
    return _record(
        record["name"],
        calculation,
        record["atomic-numbers"],
        record["coordinates"],
        record["total-energy"],
        record["charge"],
        record.get("connection-indices"),
    )


def _nested(record: Mapping[str, Any], calculations: Mapping[str, Any]) -> _Record:
    found = [name for name in ENERGY_LEVELS if name in calculations]
    if not found:
        raise ValueError(
            f"pubchem holds {', '.join(calculations) or 'nothing'}, not {' or '.join(ENERGY_LEVELS)}"
        )
    entry = calculations[found[0]]
    return _record(
        f"CID {record['cid']}" if "cid" in record else "",
        found[0],
        entry["atoms"]["elements"]["number"],
        entry["atoms"]["coords"]["3d"],
        entry["properties"]["energy"]["total"],
        entry["properties"]["charge"],
        entry.get("bonds", {}).get("connections", {}).get("index"),
    )


def _record(
    name: str, calculation: str, numbers: Any, coordinates: Any, energy: Any, charge: Any, connections: Any
) -> _Record:
    if calculation not in ENERGY_LEVELS:
        raise ValueError(f"the calculation is {calculation!r}, expected {' or '.join(ENERGY_LEVELS)}")
    if not float(charge).is_integer():
        raise ValueError(f"charge must be a whole number of e, got {charge}")
    if len(coordinates) != 3 * len(numbers):
        raise ValueError(f"{len(coordinates)} coordinates of {len(numbers)} atoms")
    numbers, coordinates = [int(z) for z in numbers], [float(x) for x in coordinates]
    bonds = None if connections is None else _bonds([int(i) for i in connections], len(numbers))
    return _Record(name, ENERGY_LEVELS[calculation], numbers, coordinates, float(energy), int(charge), bonds)


def _bonds(connections: list[int], n_atoms: int) -> list[tuple[int, int]] | None:
    """Pairs of atoms from 0; the files count from 0 or 1. None if no end is bonded, which would show it."""
    if not connections:
        return []
    least, most = min(connections), max(connections)
    if len(connections) % 2 or least < 0 or most > n_atoms or most - least >= n_atoms:
        raise ValueError(f"{len(connections)} connections between atoms {least} and {most} of {n_atoms}")
    if least > 0 and most < n_atoms:
        return None
    first = 0 if least == 0 else 1
    return [(i - first, j - first) for i, j in zip(connections[::2], connections[1::2], strict=True)]


def _graph(where: str, entry: _Record) -> Chem.Mol:
    """The molecule with its one conformer. Raises RecordError if no graph has the charge."""
    try:
        mol = with_positions(_bare(entry), np.array(entry.coordinates).reshape(1, -1, 3))
        with BlockLogs():  # RDKit writes its own account of a failure to stderr
            if entry.bonds is None:
                rdDetermineBonds.DetermineConnectivity(mol)
            if len(entry.numbers) > 1:
                rdDetermineBonds.DetermineBondOrders(mol, charge=entry.charge)
            else:
                mol.GetAtomWithIdx(0).SetFormalCharge(entry.charge)
            Chem.SanitizeMol(mol)
    except (ValueError, RuntimeError, OverflowError) as error:
        raise RecordError(
            f"{where}: no chemical graph of charge {entry.charge} ({one_line(error)})"
        ) from None
    return mol


def _bare(entry: _Record) -> Chem.Mol:
    """The atoms, with no others implied, and the bonds of the file, all single."""
    mol = Chem.RWMol()
    for number in entry.numbers:
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        mol.AddAtom(atom)
    for i, j in entry.bonds or []:
        mol.AddBond(i, j, Chem.BondType.SINGLE)
    return mol.GetMol()
