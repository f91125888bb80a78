"""Folding free energies of BioEmu's benchmark, measured ΔG of proteins and mutants: its system_info.csv."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from jaxphys.data.files import check_keys, existing_file, one_line

RESIDUES = frozenset("ACDEFGHIKLMNPQRSTVWY")
"""One-letter codes of the twenty amino acids."""

TEMPERATURE = 295.0
"""K, at which the benchmark turns a folded fraction into ΔG."""

LARGEST = 10.0
"""kcal/mol; the assay behind the data tells ΔG apart up to about 5 either way."""

_COLUMNS = ("name", "name_wt", "mutant", "dg_exp", "ddg_exp", "dg_ci95_low", "dg_ci95_high", "sequence")
_FLAGS = {"True": True, "False": False}
_SLIP = 1e-3
"""kcal/mol that ΔΔG may be off from the difference of two ΔG of the file, by rounding."""


@dataclass(frozen=True)
class FoldingFreeEnergy:
    """A protein's measured stability, in kcal/mol, ΔG = G_folded − G_unfolded: negative where it is stable.

    name: the system; wild_type: the name of its wild type, its own for a wild type. sequence: one-letter
    codes. mutations: such as "I23L", residues counted from 1, a silent one may be among them; none for a wild
    type. dg: ΔG; interval: its 95 % bounds, low < high; ddg: ΔG − ΔG of the wild type, positive where the
    mutation destabilises. samples: how many the benchmark asks for, None where it says nothing.
    reference_only: only there for ΔΔG of its mutants, its ΔG is not judged.
    """

    name: str
    wild_type: str
    sequence: str
    mutations: tuple[str, ...]
    dg: float
    interval: tuple[float, float]
    ddg: float
    samples: int | None = None
    reference_only: bool = False

    @property
    def is_mutant(self) -> bool:
        """Whether it differs from its wild type."""
        return self.name != self.wild_type


def read_folding_free_energies(path: str | os.PathLike) -> list[FoldingFreeEnergy]:
    """The systems of a system_info.csv in its order, 364 in the published one.

    Checked are sequences against the mutations in the names and against their wild types, ΔΔG against ΔG, and
    signs against intervals. Two published mutants have a wild type that is not listed. Columns beyond the
    known ones are passed over; num_samples and wt_only_reference may be absent.
    Raises FileNotFoundError, or ValueError with file and line: missing columns, lines that are cut short,
    numbers that are not finite or not in kcal/mol, another sign, names that come twice, unknown residues.
    Source: microsoft/bioemu-benchmarks, folding_free_energies, of the MEGAscale data of Tsuboyama et al.,
    Nature 620, 434 (2023), which counts ΔG with the other sign.
    """
    path = existing_file(path)
    systems: dict[str, FoldingFreeEnergy] = {}
    lines: dict[str, int] = {}
    for line, row in _rows(path):
        try:
            system = _system(row)
            if system.name in systems:
                raise ValueError(f"the name {system.name} comes twice, first in line {lines[system.name]}")
        except ValueError as error:
            raise ValueError(f"{path}, line {line}: {one_line(error)}") from None
        systems[system.name], lines[system.name] = system, line
    if not systems:
        raise ValueError(f"{path}: no systems, only a line of column names")
    for system in systems.values():
        try:
            _check_against_wild_type(system, systems.get(system.wild_type))
        except ValueError as error:
            raise ValueError(f"{path}, line {lines[system.name]}: {one_line(error)}") from None
    return list(systems.values())


def wild_type_indices(systems: Sequence[FoldingFreeEnergy]) -> Int[np.ndarray, " k"]:
    """Of each system the index of its wild type among them, its own for a wild type, −1 where there is none.

    As `metrics.stability_metrics` takes it.
    """
    places = {system.name: index for index, system in enumerate(systems)}
    return np.array([places.get(system.wild_type, -1) for system in systems], dtype=np.int64)


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        # utf-8-sig: spreadsheets put a mark in front of the first column's name
        with path.open(newline="", encoding="utf-8-sig") as text:
            reader = csv.reader(text, strict=True)
            header = next(reader, [])
            check_keys(path, header, _COLUMNS)
            found = []
            for row in reader:
                if row and len(row) != len(header):
                    raise ValueError(
                        f"{path}, line {reader.line_num}: {len(row)} values for {len(header)} columns; "
                        "cut short?"
                    )
                if row:
                    found.append((reader.line_num, dict(zip(header, row, strict=True))))
            return found
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a table of comma-separated values ({one_line(error)})") from None


def _system(row: dict[str, str]) -> FoldingFreeEnergy:
    name, wild_type, sequence = row["name"], row["name_wt"], row["sequence"]
    if not name or not wild_type:
        raise ValueError(f"name and name_wt must not be empty, got {name!r} and {wild_type!r}")
    if not sequence or not set(sequence) <= RESIDUES:
        wrong = next((letter for letter in sequence if letter not in RESIDUES), "")
        raise ValueError(f"{name}: a sequence is of the letters {''.join(sorted(RESIDUES))}, got {wrong!r}")
    if _flag(row, "mutant") != (name != wild_type):
        raise ValueError(f"{name}: mutant is {row['mutant']}, but name_wt is {wild_type}")
    # low is the bound of low stability
    dg, ddg, high, low = (_energy(row, key) for key in ("dg_exp", "ddg_exp", "dg_ci95_low", "dg_ci95_high"))
    if not low <= dg <= high:
        raise ValueError(
            f"{name}: dg_exp must be from dg_ci95_high to dg_ci95_low, {low:g} to {high:g}, got {dg:g}; ΔG "
            "is G_folded − G_unfolded, negative for stable proteins"
        )
    return FoldingFreeEnergy(
        name=name,
        wild_type=wild_type,
        sequence=sequence,
        mutations=_mutations(name, wild_type, sequence),
        dg=dg,
        interval=(low, high),
        ddg=ddg,
        samples=_samples(row),
        reference_only=bool(row.get("wt_only_reference")) and _flag(row, "wt_only_reference"),
    )


def _flag(row: dict[str, str], key: str) -> bool:
    if row[key] not in _FLAGS:
        raise ValueError(f"{row['name']}: {key} must be True or False, got {row[key]!r}")
    return _FLAGS[row[key]]


def _energy(row: dict[str, str], key: str) -> float:
    try:
        value = float(row[key])
    except ValueError:
        raise ValueError(f"{row['name']}: {key} must be a number, got {row[key]!r}") from None
    if not np.isfinite(value):
        raise ValueError(f"{row['name']}: {key} must be finite, got {row[key]}")
    if abs(value) > LARGEST:
        raise ValueError(
            f"{row['name']}: {key} must be in kcal/mol, at most {LARGEST:g} either way, got {value:g}; "
            "kJ/mol?"
        )
    return value


def _samples(row: dict[str, str]) -> int | None:
    text = row.get("num_samples", "")
    if not text:
        return None
    try:
        count = float(text)  # a table with gaps has them as 2300.0
        if not count.is_integer() or count < 1:
            raise ValueError
    except (ValueError, OverflowError):
        raise ValueError(f"{row['name']}: num_samples must be a whole number above 0, got {text!r}") from None
    return int(count)


def _mutations(name: str, wild_type: str, sequence: str) -> tuple[str, ...]:
    if name == wild_type:
        return ()
    start = f"{wild_type}__"
    words = tuple(name.removeprefix(start).split("_"))
    for word in words:
        parts = re.fullmatch(r"([A-Z])([1-9]\d*)([A-Z])", word)
        if not name.startswith(start) or parts is None:
            raise ValueError(f"{name}: a mutant's name is {start} and mutations such as I23L_K4A")
        place = int(parts[2])
        if place > len(sequence) or sequence[place - 1] != parts[3]:
            found = sequence[place - 1 : place] or "nothing"
            raise ValueError(f"{name}: residue {place} must be {parts[3]}, the sequence has {found}")
    return words


def _check_against_wild_type(system: FoldingFreeEnergy, wild_type: FoldingFreeEnergy | None) -> None:
    if wild_type is None:
        return
    if abs(system.ddg - (system.dg - wild_type.dg)) > _SLIP:
        raise ValueError(
            f"{system.name}: ddg_exp must be dg_exp less that of {wild_type.name}, "
            f"{system.dg - wild_type.dg:.4f}, got {system.ddg:.4f}"
        )
    residues = list(wild_type.sequence)
    for mutation in system.mutations:
        place = int(mutation[1:-1])
        if place > len(residues) or wild_type.sequence[place - 1] != mutation[0]:
            raise ValueError(f"{system.name}: {wild_type.name} has no {mutation[0]} at {place}")
        residues[place - 1] = mutation[-1]
    if "".join(residues) != system.sequence:
        raise ValueError(f"{system.name}: its sequence is not that of {wild_type.name} with its mutations")
