"""Evaluation of `experiments.molecule_generation`: what molecules are worth, made or from the data."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rdkit import Chem

from jaxphys.data import Descent, xtb_descents
from jaxphys.metrics import chiral_centres, connectivity, generation_metrics, perceive, pose_checks
from jaxphys.metrics.generation import Geometry
from jaxphys.molecule import Molecule
from jaxphys.units import KCAL_PER_MOL_IN_EV

FMAX = 0.02
"""eV/Å, on an atom, at what counts as a minimum."""

PROCESSES = 2


def evaluate(
    molecules: Sequence[Geometry], *, known: Collection[str], judged: int, cache: Any
) -> dict[str, Any]:
    """Everything that is reported of a set of molecules, by name; shares in %, energies in kcal/mol.

    known: SMILES of the training molecules. judged: how many of the valid molecules are relaxed by GFN2-xTB
    and checked by PoseBusters, the first ones; cache: a folder for their labels.
    """
    found: dict[str, Any] = asdict(generation_metrics(molecules, known=known))
    mols = [mol for own in molecules if np.isfinite(own[1]).all() and (mol := perceive(*own)) is not None]
    centres = np.array([chiral_centres(mol) for mol in mols]).reshape(-1, 2).sum(axis=0)
    found |= {"right_handed": int(centres[0]), "left_handed": int(centres[1])}
    found["right_share"] = 100 * float(centres[0] / centres.sum()) if centres.sum() else float("nan")
    if not mols:
        return found
    checked = mols[:judged]
    return found | strain(checked, cache=cache) | poses(checked)


def strain(mols: Sequence[Chem.Mol], *, cache: Any) -> dict[str, Any]:
    """How far molecules lie above the minimum of GFN2-xTB that they fall to, in kcal/mol.

    strains: of each, infinite where there is no minimum; strain_median: of all, strain_mean: of those that
    have one; changed: in %, whose minimum has other bonds, or is none.
    """
    molecules = [_molecule(mol) for mol in mols]
    descents = xtb_descents(molecules, cache=cache, processes=PROCESSES, fmax=FMAX)
    strains, kept = [], []
    for mol, descent in zip(mols, descents, strict=True):
        relaxed = isinstance(descent, Descent)
        strains.append(
            (descent.start_energy - descent.energy) / KCAL_PER_MOL_IN_EV
            if isinstance(descent, Descent)
            else float("inf")
        )
        end = perceive(_numbers(mol), descent.positions) if isinstance(descent, Descent) else None
        kept.append(relaxed and end is not None and connectivity(end) == connectivity(mol))
    finite = [value for value in strains if np.isfinite(value)]
    return {
        "strains": strains,
        "strain_median": float(np.median(strains)),
        "strain_mean": float(np.mean(finite)) if finite else float("nan"),
        "changed": 100 * float(1 - np.mean(kept)),
    }


def poses(mols: Sequence[Chem.Mol]) -> dict[str, Any]:
    """Shares in % that pass PoseBusters: poses, all of its checks, and each by name; nothing without it."""
    try:
        checks = pose_checks(mols)
    except ModuleNotFoundError:
        return {}
    passed = np.stack(list(checks.values()))
    by_name = {name: 100 * float(np.mean(values)) for name, values in checks.items()}
    return {"poses": 100 * float(np.mean(passed.all(axis=0))), "pose_checks": by_name}


def _numbers(mol: Chem.Mol) -> np.ndarray:
    return np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])


def _molecule(mol: Chem.Mol) -> Molecule:
    return Molecule(_numbers(mol), mol.GetConformer().GetPositions(), name=connectivity(mol))
