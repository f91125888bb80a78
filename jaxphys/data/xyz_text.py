"""The text of XYZ files: its frames and what one of them says. Positions in Å."""

import io
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ase
import ase.io

_NAME = re.compile(r'(?:^|\s)name=(?:"((?:[^"\\]|\\.)*)"|(\S+))')
_PROPERTIES = re.compile(r'(?:^|\s)Properties="?([^\s"]+)')


class FrameError(Exception):
    """Why a frame cannot be read, and on which of its lines: 0 is that with the number of atoms."""

    def __init__(self, line: int, reason: str):
        super().__init__(reason)
        self.line = line


def read_lines(path: str | os.PathLike) -> list[str]:
    """The lines of a text file. Raises FileNotFoundError, or ValueError if it is not UTF-8."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file (byte {error.start} is not UTF-8)") from None


def frame_spans(path: str | os.PathLike, lines: list[str]) -> Iterator[tuple[int, int]]:
    """First line and end of each frame. Raises ValueError, with file and line, if the file is truncated."""
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


def parse_frame(lines: list[str]) -> ase.Atoms:
    """The atoms of one frame, with what its comment says in `info`, its name there as text.

    The name is the comment's `name`, or the whole comment of a plain frame, one without "=".
    Raises FrameError.
    """
    comment = lines[1].strip()
    labelled = "=" in comment
    _check_columns(comment)
    # A sentence is no set of labels: only a comment with "=" is left for ASE to parse.
    lines = [lines[0], comment if labelled else "", *lines[2:]]
    try:
        atoms = _parse_with_ase(lines)
    except Exception as error:  # a KeyError, IndexError, ValueError, OSError or other
        raise _explain(lines, error) from None
    atoms.info["name"] = _name(comment) if labelled else comment
    return atoms


def whole_number(info: Mapping[str, Any], key: str, default: int) -> int:
    """A whole number among a frame's labels. Raises ValueError if it is none."""
    value = info.get(key, default)
    try:
        whole = None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        whole = None
    if whole is None or not whole.is_integer():
        raise ValueError(f"{key} must be a whole number, got {value}")
    return int(whole)


def _parse_with_ase(lines: list[str]) -> ase.Atoms:
    return next(ase.io.iread(io.StringIO("\n".join(lines) + "\n"), index=0, format="extxyz"))


def _explain(lines: list[str], error: Exception) -> FrameError:
    """Find what ASE stumbled over: the comment, or the first atom that fails as a molecule of its own."""
    comment, atoms = lines[1], lines[2:]
    try:
        _parse_with_ase(["0", comment])
    except Exception as reason:
        return FrameError(1, f"cannot read the comment {comment[:60]!r} ({_one_line(reason)})")
    for line, atom in enumerate(atoms, start=2):
        try:
            _parse_with_ase(["1", comment, atom])
        except KeyError as symbol:
            return FrameError(line, f"unknown element {symbol}")
        except Exception as reason:
            return FrameError(line, f"cannot read the atom {atom.strip()[:60]!r} ({_one_line(reason)})")
    return FrameError(0, f"cannot read the frame ({_one_line(error)})")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _check_columns(comment: str) -> None:
    """Refuse what ASE lets pass: atoms without positions, put at the origin, or without a species."""
    columns = _PROPERTIES.search(comment)
    names = columns.group(1).split(":")[::3] if columns else ["species", "pos"]
    if "pos" not in names or not {"species", "Z"} & set(names):
        raise FrameError(1, f"Properties must name pos and either species or Z, got {':'.join(names)!r}")


def _name(comment: str) -> str:
    """The comment's name, as text: ASE would read the SMILES of hydrogen fluoride, F, as False."""
    found = _NAME.search(comment)
    if found is None:
        return ""
    quoted, bare = found.groups()
    return bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
