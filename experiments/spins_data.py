"""Lattices to train and to test on, with their exact ground states."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from jaxphys.data import (
    SpinGlass,
    align_spins,
    as_lattice,
    ground_states,
    lattice_reference,
    random_lattices,
    read_spin_glass,
)

Gauge = Literal["corner", "strongest"]

TRAIN, VALIDATION, TEST = 0, 1, 2
"""Roles that lattices are drawn for, each from random numbers of its own."""


class Lattices(NamedTuple):
    """Square lattices of one shape in one gauge, arrays (k, rows, columns), single precision.

    right, down: couplings; reference: the spins ±1 that the network starts from; label: exact ground states,
    of the two signs the one that the gauge chooses.
    """

    right: np.ndarray
    down: np.ndarray
    reference: np.ndarray
    label: np.ndarray


class Solved(NamedTuple):
    """Square lattices (k, rows, columns), their ground states and energies (k,) in J, double precision."""

    right: np.ndarray
    down: np.ndarray
    spins: np.ndarray
    lowest: np.ndarray


def random_set(count: int, size: int, seed: int, role: int) -> Solved:
    """Random square lattices of one role; those of different roles, sizes or seeds are different."""
    return _solve(*random_lattices(count, size, size, seed=(seed, role, size)))


def in_gauge(solved: Solved, gauge: Gauge) -> Lattices:
    """The lattices as a network sees them.

    corner: the label's first spin is +1, and the reference follows the signs of bonds on the shortest ways
    from there. strongest: the reference follows the strongest bonds, and the label's sign is the one nearer
    to it.
    """
    strongest = gauge == "strongest"
    reference = lattice_reference(solved.right, solved.down, strongest=strongest)
    label = align_spins(solved.spins, reference) if strongest else solved.spins
    return Lattices(*(part.astype(np.float32) for part in (solved.right, solved.down, reference, label)))


def folder_sets(folder: Path) -> dict[str, Solved]:
    """The lattices of a folder of couplings, by name and shape.

    Raises ValueError for systems that are no square lattices, or whose energies in the folder are not those
    of their ground states.
    """
    shapes: dict[tuple[int, ...], list[SpinGlass]] = {}
    for glass in read_spin_glass(folder):
        lattice = as_lattice(glass)
        if lattice is None:
            raise ValueError(
                f"{folder}: {glass.name} is no square lattice with open boundaries, listed by rows"
            )
        shapes.setdefault(lattice[0].shape, []).append(glass)
    return {f"{folder.name} {rows}×{columns}": _of_files(part) for (rows, columns), part in shapes.items()}


def _of_files(glasses: Sequence[SpinGlass]) -> Solved:
    pairs = [as_lattice(glass) for glass in glasses]
    right, down = (np.stack(part) for part in zip(*(pair for pair in pairs if pair is not None), strict=True))
    found = _solve(right, down)
    for glass, energy in zip(glasses, found.lowest, strict=True):
        if glass.energy is not None and not abs(glass.energy - energy) <= 1e-6 * max(1.0, abs(energy)):
            raise ValueError(
                f"{glass.name}: lowest energy {glass.energy:.8g} in the folder, {energy:.8g} found"
            )
    return found


def _solve(right: np.ndarray, down: np.ndarray) -> Solved:
    return Solved(right, down, *ground_states(right, down))
