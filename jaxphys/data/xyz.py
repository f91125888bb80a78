"""XYZ files, plain and extended, of one molecule or many. Positions in Å."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

import ase
import ase.io
import numpy as np

from jaxphys.data.xyz_text import FrameError, frame_spans, parse_frame, read_lines
from jaxphys.molecule import Molecule


def read_xyz(path: str | os.PathLike) -> list[Molecule]:
    """Every molecule of a plain or extended XYZ file, in order.

    The charge is the comment's `charge`, 0 without one; the name its `name`, or the whole comment of a plain
    frame (one without "="). Other labels are left. Blank lines between frames are skipped.
    Raises FileNotFoundError, or ValueError with the file, the line and the reason: an empty, truncated or
    binary file, an unknown symbol, a periodic frame, and whatever `check_molecule` refuses.
    """
    lines = read_lines(path)
    molecules = []
    for start, stop in frame_spans(path, lines):
        try:
            molecules.append(_molecule(lines[start:stop]))
        except FrameError as error:
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


def _molecule(lines: list[str]) -> Molecule:
    """The molecule of one frame: its number of atoms, its comment and its atoms."""
    atoms = parse_frame(lines)
    if atoms.pbc.any():
        raise FrameError(1, 'a periodic frame; molecules stand alone: remove Lattice or set pbc="F F F"')
    charge = _charge(atoms.info)
    try:
        return Molecule(atoms.numbers, atoms.positions, charge=charge, name=atoms.info["name"])
    except ValueError as error:
        raise FrameError(0, str(error)) from None


def _charge(info: dict) -> int:
    charge = info.get("charge", 0)
    whole = isinstance(charge, int | float | np.number) and not isinstance(charge, bool)
    if not whole or not float(charge).is_integer():
        raise FrameError(1, f"charge must be a whole number of e, got {charge}")
    return int(charge)


def _comment(molecule: Molecule) -> str:
    name = molecule.name.replace("\\", "\\\\").replace('"', '\\"')
    if "".join(name.splitlines()) != name:
        raise ValueError(f"a name must stand on one line, got {molecule.name!r}")
    return f'Properties=species:S:1:pos:R:3 charge={molecule.charge} name="{name}" pbc="F F F"'
