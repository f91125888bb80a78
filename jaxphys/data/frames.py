"""Frames of any file that ASE reads, as molecules to be labelled; positions in Å."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import ase
import ase.io
import ase.symbols

from jaxphys.data.xyz_text import FrameError, frame_spans, parse_frame, read_lines, whole_number
from jaxphys.molecule import Molecule


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """A molecule and its place in a file, from 0. spin: number of unpaired electrons, 0 if closed-shell."""

    index: int
    molecule: Molecule
    spin: int = 0

    @property
    def formula(self) -> str:
        """In the order of Hill, without the charge."""
        return ase.symbols.Symbols(self.molecule.numbers).get_chemical_formula()


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a frame of a file has no label."""

    index: int
    formula: str
    name: str
    reason: str

    def __str__(self) -> str:
        name = f", {self.name!r}" if self.name else ""
        return f"frame {self.index} ({self.formula}{name}): {self.reason}"


def read_frames(path: str | Path, *, charge: int = 0, spin: int = 0) -> list[Frame | Failure]:
    """Every frame of a file, in order, whether it makes a molecule or not.

    charge, in e, and spin, the number of unpaired electrons, are those of frames whose `info` names none;
    of ASE's formats extended XYZ and traj keep it, databases and SDF do not.
    Raises FileNotFoundError, or ValueError if the file as a whole cannot be read: an unknown format, a
    truncated file, no frames.
    """
    path = Path(path)
    if spin < 0:
        raise ValueError(f"spin is the number of unpaired electrons, 0 or more, got {spin}")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    read = _read_xyz if path.suffix.lower() in (".xyz", ".extxyz") else _read_with_ase
    frames = [_frame(index, atoms, charge, spin) for index, atoms in enumerate(read(path))]
    if not frames:
        raise ValueError(f"{path}: empty; it should hold at least one molecule")
    return frames


def _read_xyz(path: Path) -> Iterator[ase.Atoms | str]:
    """The frames of an XYZ file, or why one of them cannot be read.

    ASE reads them one by one: in a whole file it loses what follows a blank line, and one bad atom ends all.
    """
    lines = read_lines(path)
    for start, stop in frame_spans(path, lines):
        try:
            yield parse_frame(lines[start:stop])
        except FrameError as reason:
            yield f"line {start + 1 + reason.line}: {reason}"


def _read_with_ase(path: Path) -> Iterator[ase.Atoms]:
    done = 0
    try:
        for atoms in ase.io.iread(path, index=":"):
            yield atoms
            done += 1
    except Exception as error:  # each of ASE's readers has its own kinds
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{path}: ASE cannot read frame {done} of this file ({reason})") from None


def _frame(index: int, atoms: ase.Atoms | str, charge: int, spin: int) -> Frame | Failure:
    if isinstance(atoms, str):
        return Failure(index, "unreadable", "", atoms)
    info, name = atoms.info, str(atoms.info.get("name", ""))
    try:
        if atoms.pbc.any():
            raise ValueError("a periodic frame; molecules stand alone: remove its cell or set pbc to false")
        charge, spin = whole_number(info, "charge", charge), whole_number(info, "spin", spin)
        if spin < 0:
            raise ValueError(f"spin is the number of unpaired electrons, 0 or more, got {spin}")
        return Frame(index, Molecule(atoms.numbers, atoms.positions, charge=charge, name=name), spin)
    except ValueError as error:
        return Failure(index, atoms.get_chemical_formula(), name, str(error))
