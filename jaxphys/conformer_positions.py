"""Positions in and out of RDKit's molecules: one place for shapes and checks."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from rdkit import Chem


def positions_of(mol: Chem.Mol) -> Float[np.ndarray, "k n 3"]:
    """The positions (k, n, 3) in Å of the k conformers that a molecule holds."""
    conformers = [conformer.GetPositions() for conformer in mol.GetConformers()]
    return np.array(conformers, dtype=np.float64).reshape(-1, mol.GetNumAtoms(), 3)


def with_positions(mol: Chem.Mol, positions: Float[np.ndarray, "k n 3"]) -> Chem.Mol:
    """A copy of the graph that holds these k geometries, (k, n, 3) in Å, as conformers 0 to k − 1.

    Raises ValueError for another number of atoms, or positions that are not finite.
    """
    positions = np.asarray(positions, dtype=np.float64)
    if positions.ndim != 3 or positions.shape[1:] != (mol.GetNumAtoms(), 3):
        raise ValueError(
            f"positions of {mol.GetNumAtoms()} atoms must have shape (k, {mol.GetNumAtoms()}, 3), "
            f"got {positions.shape}"
        )
    for k, atom, _ in np.argwhere(~np.isfinite(positions)):
        raise ValueError(
            f"positions must be finite, got {positions[k, atom].tolist()} for atom {atom} of geometry {k}"
        )
    copy = Chem.Mol(mol)
    copy.RemoveAllConformers()
    for geometry in positions:
        conformer = Chem.Conformer(mol.GetNumAtoms())
        conformer.SetPositions(np.ascontiguousarray(geometry))
        copy.AddConformer(conformer, assignId=True)
    return copy
