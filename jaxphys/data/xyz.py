"""XYZ files, plain and extended, of one molecule or many. Positions in Å."""

import io
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import ase
import ase.io
import numpy as np

from jaxphys.molecule import Molecule

_NAME = re.compile(r'(?:^|\s)name=(?:"((?:[^"\\]|\\.)*)"|(\S+))')
_PROPERTIES = re.compile(r'(?:^|\s)Properties="?([^\s"]+)')


def read_xyz(path: str | os.PathLike) -> list[Molecule]:
    """Every molecule of a plain or extended XYZ file, in order.

    The charge is the comment's `charge`, 0 without one; the name its `name`, or the whole comment of a plain
    frame (one without "="). Other labels are left. Blank lines between frames are skipped.
    Raises FileNotFoundError, or ValueError with the file, the line and the reason: an empty, truncated or
    binary file, an unknown symbol, a periodic frame, and whatever `check_molecule` refuses.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file (byte {error.start} is not UTF-8)") from None
    molecules = []
    for start, stop in _frames(path, lines):
        try:
            molecules.append(_parse_frame(lines[start:stop]))
        except _FrameError as error:
            raise ValueError(f"{path}, line {start + 1 + error.line}: {error}") from None
    if not molecules:
        raise ValueError(f"{path}: empty; an XYZ file holds at least one molecule")
    return molecules


def write_xyz(path: str | os.PathLike, molecules: Sequence[Molecule]) -> None:
    """Write molecules to an extended XYZ file that `read_xyz` and ASE read back, charges and names included.

    Positions keep 15 decimals. Raises ValueError if there are no molecules or a name has a line break.
    """
    if not molecules:
        raise ValueError(f"{path}: no molecules to write")
    text = io.StringIO()
    for molecule in molecules:
        atoms = ase.Atoms(numbers=molecule.numbers, positions=molecule.positions)
        # The extended writer of ASE keeps 8 decimals only; its plain one takes the comment as it is.
        ase.io.write(text, atoms, format="xyz", comment=_comment(molecule))
    Path(path).write_text(text.getvalue(), encoding="utf-8")


class _FrameError(Exception):
    """Why a frame cannot be read, and on which of its lines: 0 is that with the number of atoms."""

    def __init__(self, line: int, reason: str):
        super().__init__(reason)
        self.line = line


def _frames(path: Path, lines: list[str]) -> Iterator[tuple[int, int]]:
    """First line and end of each frame."""
    start = 0
    while start < len(lines):
        header = lines[start].strip()
        if not header:  # here ASE's own search ends, and silently loses the frames that follow
            start += 1
            continue
        if not header.isdecimal():
            raise ValueError(f"{path}, line {start + 1}: expected a number of atoms, got {header[:60]!r}")
        stop = start + 2 + int(header)
        if stop > len(lines):
            found = max(0, len(lines) - start - 2)
            raise ValueError(
                f"{path}, line {start + 1}: truncated; {header} atoms announced, the file ends after {found}"
            )
        yield start, stop
        start = stop


def _parse_frame(lines: list[str]) -> Molecule:
    """The molecule of one frame: its number of atoms, its comment and its atoms."""
    comment = lines[1].strip()
    labelled = "=" in comment
    _check_columns(comment)
    # A sentence is no set of labels: only a comment with "=" is left for ASE to parse.
    lines = [lines[0], comment if labelled else "", *lines[2:]]
    try:
        atoms = _parse_with_ase(lines)
    except Exception as error:  # a KeyError, IndexError, ValueError, OSError or other
        raise _explain(lines, error) from None
    if atoms.pbc.any():
        raise _FrameError(1, 'a periodic frame; molecules stand alone: remove Lattice or set pbc="F F F"')
    name = _name(comment) if labelled else comment
    try:
        return Molecule(atoms.numbers, atoms.positions, charge=_charge(atoms.info), name=name)
    except ValueError as error:
        raise _FrameError(0, str(error)) from None


def _parse_with_ase(lines: list[str]) -> ase.Atoms:
    return next(ase.io.iread(io.StringIO("\n".join(lines) + "\n"), index=0, format="extxyz"))


def _explain(lines: list[str], error: Exception) -> _FrameError:
    """Find what ASE stumbled over: the comment, or the first atom that fails as a molecule of its own."""
    comment, atoms = lines[1], lines[2:]
    try:
        _parse_with_ase(["0", comment])
    except Exception as reason:
        return _FrameError(1, f"cannot read the comment {comment[:60]!r} ({_one_line(reason)})")
    for line, atom in enumerate(atoms, start=2):
        try:
            _parse_with_ase(["1", comment, atom])
        except KeyError as symbol:
            return _FrameError(line, f"unknown element {symbol}")
        except Exception as reason:
            return _FrameError(line, f"cannot read the atom {atom.strip()[:60]!r} ({_one_line(reason)})")
    return _FrameError(0, f"cannot read the frame ({_one_line(error)})")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _check_columns(comment: str) -> None:
    """Refuse what ASE lets pass: atoms without positions, put at the origin, or without a species."""
    columns = _PROPERTIES.search(comment)
    names = columns.group(1).split(":")[::3] if columns else ["species", "pos"]
    if "pos" not in names or not {"species", "Z"} & set(names):
        raise _FrameError(1, f"Properties must name pos and either species or Z, got {':'.join(names)!r}")


def _charge(info: dict) -> int:
    charge = info.get("charge", 0)
    whole = isinstance(charge, int | float | np.number) and not isinstance(charge, bool)
    if not whole or not float(charge).is_integer():
        raise _FrameError(1, f"charge must be a whole number of e, got {charge}")
    return int(charge)


def _name(comment: str) -> str:
    """The comment's name, as text: ASE would read the SMILES of hydrogen fluoride, F, as False."""
    found = _NAME.search(comment)
    if found is None:
        return ""
    quoted, bare = found.groups()
    return bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)


def _comment(molecule: Molecule) -> str:
    name = molecule.name.replace("\\", "\\\\").replace('"', '\\"')
    if "".join(name.splitlines()) != name:
        raise ValueError(f"a name must stand on one line, got {molecule.name!r}")
    return f'Properties=species:S:1:pos:R:3 charge={molecule.charge} name="{name}" pbc="F F F"'
