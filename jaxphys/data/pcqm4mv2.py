"""PCQM4Mv2: 3.4 million molecules at their DFT minima, the training set of OGB's challenge, one SDF."""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from rdkit import Chem
from rdkit.rdBase import BlockLogs

from jaxphys.data.files import existing_file, one_line
from jaxphys.data.structures import RecordError, Structure, make_structure, sift

LEVEL = "B3LYP/6-31G*"


def read_pcqm4mv2(
    path: str | os.PathLike,
    *,
    limit: int | None = None,
    heavy_atoms_only: bool = False,
    drop_invalid: bool = False,
) -> Iterator[Structure]:
    """Structures one by one, in the order of the file; they have no energies.

    path: pcqm4m-v2-train.sdf, or that in the .tar.gz as it is distributed, or in .gz; it is never held as a
    whole. limit: at most so many. heavy_atoms_only: accept molecules whose hydrogens are not in the file, and
    give their heavy atoms; those that it has are kept either way. drop_invalid: leave out what RDKit cannot
    read, or cannot be true, and log how many; a truncated file is an error all the same.
    Positions in Å. name: the record's title, or its number from 0, which is the row in OGB's table.
    Raises FileNotFoundError at once; ValueError, with file and record, for records that RDKit refuses,
    without hydrogens or without depth, and as `make_structure`; for a truncated or empty file.
    Source: Hu et al. 2021, arXiv 2103.09430; Nakata and Shimazaki 2017, J. Chem. Inf. Model. 57, 1300.
    """
    existing_file(path)
    return sift(_structures(path, heavy_atoms_only), path, limit=limit, drop_invalid=drop_invalid)


def _structures(path: str | os.PathLike, heavy_atoms_only: bool) -> Iterator[Structure | RecordError]:
    for record, block in enumerate(_blocks(path)):
        where = f"{path}, record {record}"
        try:
            mol = _molecule(where, block, heavy_atoms_only)
            title = mol.GetProp("_Name").strip() or str(record)
            yield make_structure(where, mol, None, structure_level=LEVEL, energy_level=None, name=title)
        except RecordError as error:
            yield error


def _molecule(where: str, block: str, heavy_atoms_only: bool) -> Chem.Mol:
    with BlockLogs():  # RDKit writes its own account of a failure to stderr
        mol = Chem.MolFromMolBlock(block, removeHs=False)
    if mol is None or not mol.GetNumAtoms():
        raise RecordError(f"{where}: RDKit cannot read this molecule")
    missing = sum(atom.GetTotalNumHs() for atom in mol.GetAtoms())
    if missing and not heavy_atoms_only:
        raise RecordError(
            f"{where}: {missing} hydrogens have no positions; heavy_atoms_only=True gives the others alone"
        )
    if not mol.GetConformer().Is3D():
        raise RecordError(f"{where}: a drawing, not a structure: no atom has a depth")
    return mol


def _blocks(path: str | os.PathLike) -> Iterator[str]:
    """The text of each record. Raises ValueError if the last one does not end."""
    lines: list[str] = []
    try:
        for line in _lines(Path(path)):
            if line.startswith("$$$$"):
                yield "".join(lines)
                lines = []
            else:
                lines.append(line)
    except (EOFError, OSError, tarfile.TarError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not an SDF, truncated or damaged ({one_line(error)})") from None
    if "".join(lines).strip():
        raise ValueError(f"{path}: truncated; the last record does not end with $$$$")


def _lines(path: Path) -> Iterator[str]:
    if path.name.endswith((".tar.gz", ".tar")):
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                if member.isfile() and member.name.endswith(".sdf"):
                    content = archive.extractfile(member)
                    assert content is not None  # a regular file
                    yield from (line.decode() for line in content)
    elif path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8") as text:
            yield from text
    else:
        with open(path, encoding="utf-8") as text:
            yield from text
