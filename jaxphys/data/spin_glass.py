"""Spin glasses in text files of couplings, with their exact ground-state energies where these are known."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from jaxphys.data.files import existing_file, one_line
from jaxphys.data.ground_states import check_lattices


@dataclass(frozen=True, eq=False)
class SpinGlass:
    """Spins that couple in pairs, E = −Σ J_ij s_i s_j; valid by construction.

    couplings: J of each bond, listed once; senders, receivers: its two spins, from 0; spins: their number.
    name: free text. energy: of the ground state, None where it is not known; in the units of J.
    Raises ValueError: other shapes, J that are not finite, spins out of range, a bond listed twice or of a
    spin with itself.
    """

    couplings: Float[np.ndarray, " bonds"]
    senders: Int[np.ndarray, " bonds"]
    receivers: Int[np.ndarray, " bonds"]
    spins: int
    name: str = ""
    energy: float | None = None

    def __post_init__(self):
        one, other = np.asarray(self.senders), np.asarray(self.receivers)
        if not len(one) == len(other) == len(self.couplings) or not self.spins > 0:
            raise ValueError(
                f"{len(self.couplings)} couplings of {self.spins} spins with {len(one)} senders and "
                f"{len(other)} receivers: one of each a bond is needed, and at least one spin"
            )
        pairs = np.sort(np.stack([one, other], axis=1), axis=1)
        repeated = np.ones(len(pairs), dtype=bool)
        repeated[np.unique(pairs, axis=0, return_index=True)[1]] = False
        for wrong, reason in (
            (~np.isfinite(self.couplings), "must be finite"),
            ((pairs[:, 0] < 0) | (pairs[:, 1] >= self.spins), f"must be of two of the {self.spins} spins"),
            (one == other, "must be of two different spins"),
            (repeated, "is listed twice: J is symmetric, each bond counts once"),
        ):
            if wrong.any():
                at = int(wrong.argmax())
                raise ValueError(f"bond {one[at] + 1} {other[at] + 1} {self.couplings[at]:g} {reason}")


def read_spin_glass(folder: str | os.PathLike) -> list[SpinGlass]:
    """Every text file of couplings below a folder, in natural order, with the energies that it knows.

    Energies stand in a JSON file of the folder, {"instances": {"path without .txt": {"E0": energy}}}.
    Raises FileNotFoundError for no such folder or no couplings in it; ValueError as `read_couplings`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; it should hold text files of couplings")
    paths = sorted(folder.rglob("*.txt"), key=_natural)
    if not paths:
        raise FileNotFoundError(f"{folder}: no text files of couplings, 'N M', then M lines 'i j J'")
    energies = _energies(folder)
    return [read_couplings(path, energy=energies.get(_name(path, folder))) for path in paths]


def read_couplings(path: str | os.PathLike, *, energy: float | None = None) -> SpinGlass:
    """One system: a line `N M`, numbers of spins and bonds, then M lines `i j J`, spins counted from 1.

    energy: of the ground state, if known. Raises FileNotFoundError, or ValueError naming file and line.
    Source of the format: instances of VectorInstitute/VariationalNeuralAnnealing.
    """
    path = existing_file(path)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file ({one_line(error)})") from None
    rows = [(number, line.split()) for number, line in enumerate(lines, start=1) if line.strip()]
    spins, count = _numbers(path, *rows[0], kinds=(int, int)) if rows else (0, 0)
    if spins < 1 or count != len(rows) - 1:
        raise ValueError(
            f"{path}: promises {spins} spins and {count} bonds, and lists {max(len(rows) - 1, 0)}"
        )
    bonds = [_numbers(path, number, words, kinds=(int, int, float)) for number, words in rows[1:]]
    try:
        return SpinGlass(
            couplings=np.array([bond[2] for bond in bonds], dtype=np.float64),
            senders=np.array([bond[0] - 1 for bond in bonds], dtype=np.int64),
            receivers=np.array([bond[1] - 1 for bond in bonds], dtype=np.int64),
            spins=spins,
            name=path.stem,
            energy=energy,
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def as_lattice(
    glass: SpinGlass,
) -> tuple[Float[np.ndarray, "rows columns"], Float[np.ndarray, "rows columns"]] | None:
    """Couplings (right, down) of an open square lattice with its spins row by row; None if it is none."""
    low, high = np.minimum(glass.senders, glass.receivers), np.maximum(glass.senders, glass.receivers)
    columns = int(np.max(high - low, initial=1))
    columns = glass.spins if columns == 1 else columns
    if glass.spins % columns:
        return None
    along = high - low == 1
    in_row = along & (high % columns != 0)
    across = (high - low == columns) & ~in_row
    if not np.all(in_row | across):
        return None
    right, down = np.zeros((2, glass.spins))
    right[low[in_row]] = glass.couplings[in_row]
    down[low[across]] = glass.couplings[across]
    return right.reshape(-1, columns), down.reshape(-1, columns)


def from_lattice(
    right: ArrayLike, down: ArrayLike, *, name: str = "", energy: float | None = None
) -> SpinGlass:
    """The system of a square lattice (rows, columns), its spins row by row; zero couplings are bonds too."""
    checked = check_lattices(np.asarray(right)[None], np.asarray(down)[None])
    places = np.arange(checked[0][0].size).reshape(checked[0][0].shape)
    return SpinGlass(
        couplings=np.concatenate([checked[0][0][:, :-1].ravel(), checked[1][0][:-1].ravel()]),
        senders=np.concatenate([places[:, :-1].ravel(), places[:-1].ravel()]),
        receivers=np.concatenate([places[:, 1:].ravel(), places[1:].ravel()]),
        spins=places.size,
        name=name,
        energy=energy,
    )


def _numbers(path: Path, number: int, words: list[str], kinds: tuple[type, ...]) -> list:
    try:
        if len(words) != len(kinds):
            raise ValueError
        return [kind(word) for kind, word in zip(kinds, words, strict=True)]
    except ValueError:
        wanted = "N M, both whole numbers" if len(kinds) == 2 else "i j J, two whole numbers and a number"
        raise ValueError(f"{path}, line {number}: must be {wanted}, got {' '.join(words)[:60]!r}") from None


def _energies(folder: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            instances = json.loads(path.read_text(encoding="utf-8"))["instances"]
            found |= {name: float(values["E0"]) for name, values in instances.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: no energies of ground states by name ({one_line(error)})") from None
    return found


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _natural(path: Path) -> list[tuple[str, int]]:
    """A key by which 2 comes before 10."""
    return [(text, int(digits or -1)) for text, digits in re.findall(r"(\D*)(\d*)", str(path))]
