"""Molecular graphs with a geometry: what sets of structures give, energies or not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from rdkit import Chem

from jaxphys.molecule import check_molecule

# Not `warnings`: see labels.py.
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Structure:
    """A molecular graph at rest in one geometry.

    mol: the graph, without conformers, its stereochemistry that of the geometry. positions: (n, 3) in Å of
    its atoms. energy: in eV, None where the set has none. structure_level: the method that the geometry is a
    minimum of; energy_level: that of the energy at it, which may be another. name: the set's own.
    """

    mol: Chem.Mol
    positions: Float[np.ndarray, "n 3"]
    energy: float | None
    structure_level: str
    energy_level: str | None
    name: str = ""


class RecordError(ValueError):
    """A record of a set that holds no structure that can be true; the message begins with its place."""


def make_structure(where: object, mol: Chem.Mol, energy: float | None, **labels: Any) -> Structure:
    """The structure of a graph with one conformer, if it can be true.

    where: file and record, for messages. labels: the levels and the name. Raises RecordError as
    `check_molecule` does, and for an energy that is not finite.
    """
    positions = np.array(mol.GetConformer().GetPositions(), dtype=np.float64)
    try:
        check_molecule(np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=int), positions)
        if energy is not None and not np.isfinite(energy):
            raise ValueError(f"the energy must be finite, got {energy}")
    except ValueError as error:
        raise RecordError(f"{where}: {error}") from None
    Chem.AssignStereochemistryFrom3D(mol)
    graph = Chem.Mol(mol)
    graph.RemoveAllConformers()
    return Structure(graph, positions, energy, **labels)


def sift(
    structures: Iterator[Structure | RecordError], path: object, *, limit: int | None, drop_invalid: bool
) -> Iterator[Structure]:
    """The first `limit` structures. Errors among them are raised, or left out, and their number logged."""
    left_out, first, given = 0, None, 0
    while given != limit and (item := next(structures, None)) is not None:
        if isinstance(item, Structure):
            given += 1
            yield item
        elif not drop_invalid:
            raise RecordError(f"{item}; drop_invalid=True leaves such records out")
        else:
            left_out, first = left_out + 1, first or item
    if left_out:
        _log.warning("%s: %d records left out, the first: %s", path, left_out, first)
    if not given and limit != 0:
        raise ValueError(
            f"{path}: no structure in it" + (f", all of {left_out} left out" if left_out else "")
        )
