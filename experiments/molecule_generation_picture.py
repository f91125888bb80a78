"""A picture of generated molecules: as they are, seen from the flattest side, what is unstable marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D
from rdkit.rdBase import BlockLogs

from jaxphys.metrics import bonded_by_distance, perceive, stable_atoms
from jaxphys.metrics.generation import Geometry

SIDE = 190
"""Pixels of one molecule."""
COLUMNS = 7
UNSTABLE = (0.95, 0.6, 0.45)


def plot_molecules(path: Path, rows: Mapping[str, Sequence[Geometry]]) -> None:
    """The first molecules of each row, whatever they are worth, as a PNG; rows by the name of the loss.

    Bonds are those that RDKit finds, single ones where it finds no sound molecule; atoms that are not stable
    are marked. Molecules with positions that are not finite are left blank.
    """
    mols, marked, legends = [], [], []
    for name, molecules in rows.items():
        for place in range(COLUMNS):
            mol, unstable = _drawn(molecules[place]) if place < len(molecules) else (Chem.RWMol(), [])
            mols.append(mol)
            marked.append(unstable)
            # the minus sign is not in RDKit's font
            legends.append(name.replace("−", "-") if place == 0 else "")
    canvas = rdMolDraw2D.MolDraw2DCairo(SIDE * COLUMNS, SIDE * len(rows), SIDE, SIDE)
    options: Any = canvas.drawOptions()  # whose type stubs have no attributes to set
    options.legendFontSize = 15
    options.prepareMolsBeforeDrawing = False
    options.flagCloseContactsDist = -1
    options.setHighlightColour(UNSTABLE)
    with BlockLogs():
        canvas.DrawMolecules(mols, legends=legends, highlightAtoms=marked)
    canvas.FinishDrawing()
    path.write_bytes(canvas.GetDrawingText())


def _drawn(geometry: Geometry) -> tuple[Chem.Mol, list[int]]:
    """The molecule in the plane of its two widest directions, and its unstable atoms."""
    numbers, positions = np.asarray(geometry[0]), np.asarray(geometry[1], dtype=np.float64)
    if not np.isfinite(positions).all():
        return Chem.RWMol(), []
    unstable = np.flatnonzero(~stable_atoms(numbers, positions)).tolist()
    mol = Chem.Mol(perceive(numbers, positions) or bonded_by_distance(numbers, positions))
    centred = positions - positions.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=len(centred) < 3)[2]
    flat = np.zeros_like(centred)
    flat[:, :2] = centred @ axes[:2].T
    mol.GetConformer().SetPositions(flat)
    return mol, unstable
