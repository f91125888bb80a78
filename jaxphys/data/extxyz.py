"""Extended XYZ files with energies and forces, of molecules or periodic structures."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import ase
import numpy as np

from jaxphys.data.energy_checks import check_energies
from jaxphys.data.energy_data import EnergyData, EnergyFrame, from_frames
from jaxphys.data.files import check_keys
from jaxphys.data.xyz_text import FrameError, frame_spans, parse_frame, read_lines, whole_number
from jaxphys.units import ENERGY_IN_EV, LENGTH_IN_ANGSTROM


def read_extxyz(
    path: str | os.PathLike,
    *,
    level: str,
    reference: str = "total",
    energy: str = "energy",
    forces: str | None = "forces",
    energy_unit: str = "eV",
    force_unit: str | None = None,
    atomic_energies: Mapping[int, float] | None = None,
    drop_invalid: bool = False,
    check_units: bool = True,
) -> EnergyData:
    """The labelled structures of an extended XYZ file, in eV and Å.

    level, reference: level of theory, and what the energies are measured from, a key of `REFERENCES`; the
    format says neither. energy, forces: keys of the labels; forces=None for a file without. energy_unit: a
    key of `ENERGY_IN_EV`. force_unit: that over a length, e.g. "Ha/Bohr"; by default energy_unit/Å.
    Isolated atoms, which are frames of one neutral atom without periodic directions or with
    config_type=IsolatedAtom, are no structures of the set but its atomic energies, with `atomic_energies`,
    in eV, e.g. those of `read_isolated_atoms`.
    charge, spin (unpaired electrons), name and config_type, here the group, are read where a frame has them.
    Raises FileNotFoundError, or ValueError with the line or frame: a file that is damaged or has nothing but
    atoms, a label that is missing, two energies for one kind of atom, and as `check_energies` (units: its
    check_units).
    """
    scale, force_scale = _scales(energy_unit, force_unit or f"{energy_unit}/Å")
    frames: list[EnergyFrame] = []
    atoms_alone = dict(atomic_energies or {})
    for where, atoms in iterate_extxyz(path):
        value = scale * _energy(where, atoms, energy)
        if _is_isolated(atoms):
            _add_isolated(where, atoms_alone, int(atoms.numbers[0]), value)
        else:
            rows = None if forces is None else force_scale * _forces(where, atoms, forces)
            frames.append(_frame(where, atoms, value, rows))
    if not frames:
        raise ValueError(f"{path}: no structures, only isolated atoms; read_isolated_atoms reads those")
    data = from_frames(frames, level=level, reference=reference, atomic_energies=atoms_alone or None)
    return check_energies(data, path, drop_invalid=drop_invalid, units=check_units)


def read_isolated_atoms(
    path: str | os.PathLike, *, energy: str = "energy", energy_unit: str = "eV"
) -> dict[int, float]:
    """Energies in eV by atomic number of the isolated atoms in an extended XYZ file, other frames left aside.

    Raises as `read_extxyz` does, ValueError also if there are none.
    """
    scale, found = _scales(energy_unit, f"{energy_unit}/Å")[0], dict[int, float]()
    for where, atoms in iterate_extxyz(path):
        if _is_isolated(atoms):
            _add_isolated(where, found, int(atoms.numbers[0]), scale * _energy(where, atoms, energy))
    if not found:
        raise ValueError(f"{path}: no isolated atoms: frames of one neutral atom without periodic directions")
    return found


def iterate_extxyz(path: str | os.PathLike) -> Iterator[tuple[str, ase.Atoms]]:
    """Every frame, with its place for messages.

    Raises FileNotFoundError, or ValueError with the line: a file that is empty, truncated or no text, and a
    frame that cannot be read.
    """
    lines = read_lines(path)
    index = -1
    for index, (start, stop) in enumerate(frame_spans(path, lines)):
        try:
            yield f"{path}, frame {index} (line {start + 1})", parse_frame(lines[start:stop])
        except FrameError as error:
            raise ValueError(f"{path}, frame {index} (line {start + 1 + error.line}): {error}") from None
    if index < 0:
        raise ValueError(f"{path}: empty; an XYZ file holds at least one frame")


def _scales(energy_unit: str, force_unit: str) -> tuple[float, float]:
    """Of energies in eV, and of forces in eV/Å."""
    top, _, bottom = force_unit.rpartition("/")
    if energy_unit not in ENERGY_IN_EV:
        raise ValueError(f"energy_unit must be one of {', '.join(ENERGY_IN_EV)}, got {energy_unit!r}")
    if top not in ENERGY_IN_EV or bottom not in LENGTH_IN_ANGSTROM:
        raise ValueError(
            f"force_unit must be an energy ({', '.join(ENERGY_IN_EV)}) over a length "
            f"({', '.join(LENGTH_IN_ANGSTROM)}), e.g. Ha/Bohr, got {force_unit!r}"
        )
    return ENERGY_IN_EV[energy_unit], ENERGY_IN_EV[top] / LENGTH_IN_ANGSTROM[bottom]


def _labels(atoms: ase.Atoms) -> dict:
    """What the comment and the columns say; ASE moves the names that it knows to a calculator."""
    columns = {key: value for key, value in atoms.arrays.items() if key not in ("numbers", "positions")}
    return atoms.info | columns | (atoms.calc.results if atoms.calc else {})


def _energy(where: str, atoms: ase.Atoms, key: str) -> float:
    labels = _labels(atoms)
    check_keys(where, sorted(labels), (key,))
    if not isinstance(labels[key], int | float | np.number) or isinstance(labels[key], bool):
        raise ValueError(f"{where}: {key} must be a number, got {labels[key]!r}")
    return float(labels[key])


def _forces(where: str, atoms: ase.Atoms, key: str) -> np.ndarray:
    labels = _labels(atoms)
    check_keys(where, sorted(labels), (key,))
    forces = np.asarray(labels[key])
    if forces.shape != atoms.positions.shape or forces.dtype.kind not in "fiu":
        raise ValueError(f"{where}: {key} must be three columns of numbers, got shape {forces.shape}")
    return forces.astype(np.float64)


def _is_isolated(atoms: ase.Atoms) -> bool:
    alone = len(atoms) == 1 and not atoms.pbc.any() and not atoms.info.get("charge")
    return alone or atoms.info.get("config_type") == "IsolatedAtom"


def _add_isolated(where: str, found: dict[int, float], number: int, energy: float) -> None:
    if not np.isfinite(energy) or found.get(number, energy) != energy:
        raise ValueError(
            f"{where}: an isolated atom of atomic number {number} with {energy} eV, "
            + (f"before with {found[number]}" if number in found else "which is no energy")
        )
    found[number] = energy


def _frame(where: str, atoms: ase.Atoms, energy: float, forces: np.ndarray | None) -> EnergyFrame:
    try:
        charge, spin = whole_number(atoms.info, "charge", 0), whole_number(atoms.info, "spin", 0)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    celled = atoms.pbc.any() or atoms.cell.any()
    return EnergyFrame(
        numbers=atoms.numbers,
        positions=atoms.positions,
        energy=energy,
        forces=forces,
        cell=np.asarray(atoms.cell) if celled else None,
        pbc=np.asarray(atoms.pbc) if celled else None,
        charge=charge,
        spin=spin,
        name=str(atoms.info.get("name", "")),
        group=str(atoms.info.get("config_type", "")),
    )
