"""Functional groups pulled out of their molecules, to be put back by relaxation."""

from __future__ import annotations

import numpy as np
from scipy.sparse.csgraph import connected_components

from experiments.reliable_data import bonds
from jaxphys.data import EnergyData
from jaxphys.molecule import CLOSEST_ATOMS, Molecule

DISTANCE = 0.7  # Å


def side_of_bond(molecule: Molecule, one: int, other: int) -> np.ndarray:
    """Atoms (n,) that hang on `other` once its bond to `one` is cut; all, if the bond is in a ring."""
    graph = bonds(molecule)
    graph[one, other] = graph[other, one] = False
    labels = connected_components(graph, directed=False)[1]
    return labels == labels[other]


def functional_group(molecule: Molecule) -> np.ndarray | None:
    """The largest group on one bond between heavy atoms that is at most half of all atoms; None without.

    Returns which atoms, (n,).
    """
    heavy = molecule.numbers > 1
    pairs = np.argwhere(bonds(molecule) & heavy[:, None] & heavy)
    sides = [side_of_bond(molecule, one, other) for one, other in pairs]
    sides = [side for side in sides if side.sum() <= len(side) / 2]
    return max(sides, key=lambda side: int(side.sum())) if sides else None


def displaced_groups(minima: EnergyData, count: int, seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """The first `count` molecules with a functional group, and the displacement of their atoms in Å.

    The group moves as a whole by 0.7 Å in a random direction, one in which no two atoms collide.
    """
    rng = np.random.default_rng([seed, 11])
    chosen: list[int] = []
    displacements: list[np.ndarray] = []
    for index, frame in enumerate(minima):
        group = functional_group(frame.molecule)
        if group is None or len(chosen) == count:
            continue
        chosen.append(index)
        displacements.append(_free_direction(frame.molecule, group, rng))
    return np.array(chosen, dtype=int), displacements


def _free_direction(molecule: Molecule, group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    for _ in range(100):
        direction = rng.standard_normal(3)
        moved = DISTANCE * group[:, None] * direction / np.linalg.norm(direction)
        positions = molecule.positions + moved
        apart = np.linalg.norm(positions[group][:, None] - positions[~group], axis=-1)
        if apart.min() > 5 * CLOSEST_ATOMS:
            return moved
    raise ValueError(f"a group of {molecule.name} cannot move by {DISTANCE} Å without a collision")
