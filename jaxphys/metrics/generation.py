"""What the field reports of a set of generated molecules: stability, validity, uniqueness, checks; host."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import rdkit
from jaxtyping import Bool, Float, Int
from rdkit import Chem
from rdkit.Chem import rdDetermineBonds
from rdkit.rdBase import BlockLogs
from scipy.spatial.distance import pdist

from jaxphys.metrics.stability import stable_atoms
from jaxphys.molecule import CLOSEST_ATOMS

Geometry = tuple[Int[Any, " _"], Float[Any, "_ 3"]]
"""Atomic numbers, and positions in Å."""

_ATTEMPTS = 1000
"""Of RDKit, at assigning bond orders: wrong geometries have no end of them, minima of QM7 need far fewer."""


@dataclass(frozen=True)
class GenerationMetrics:
    """Shares in %. Of all molecules, whether finite or not, but for unique and novel, which are of the valid.

    molecules: their number. finite: without NaN or infinity. connected: one fragment, by distance alone.
    atom_stability: of all atoms;
    molecule_stability: of which all atoms are stable. valid: one fragment, in which RDKit finds bonds of a
    closed shell. unique: different SMILES over valid molecules; novel: not among the known ones, NaN if none
    are known. Both are NaN if none is valid. Stereochemistry counts for nothing.
    """

    molecules: int
    finite: float
    connected: float
    atom_stability: float
    molecule_stability: float
    valid: float
    unique: float
    novel: float


def generation_metrics(molecules: Sequence[Geometry], *, known: Collection[str] = ()) -> GenerationMetrics:
    """Stability, validity and uniqueness of neutral molecules, each (numbers, positions in Å).

    known: SMILES as `connectivity` writes them, of the training set. Positions that are not finite are what a
    generator may give: such molecules count against it. Raises ValueError for no molecules, and as
    `bond_orders` for empty ones and elements that have no tabulated bonds.
    Source: Hoogeboom et al., ICML 2022 (EDM), section 5; validity here with bonds found by RDKit, and for
    single fragments only.
    """
    if not len(molecules):
        raise ValueError("no molecules to judge")
    for index, (numbers, _) in enumerate(molecules):
        if not len(numbers):
            raise ValueError(f"molecule {index}: a molecule needs at least one atom, got none")
    finite = [bool(np.isfinite(positions).all()) for _, positions in molecules]
    pairs = list(zip(molecules, finite, strict=True))
    stable = [stable_atoms(*own) if fine else np.zeros(len(own[0]), bool) for own, fine in pairs]
    graphs = [perceive(*own) if fine else None for own, fine in pairs]
    smiles = [connectivity(mol) for mol in graphs if mol is not None]
    return GenerationMetrics(
        molecules=len(molecules),
        finite=100 * float(np.mean(finite)),
        connected=100 * float(np.mean([fine and _in_one(*own) for own, fine in pairs])),
        atom_stability=100 * float(np.mean(np.concatenate(stable))),
        molecule_stability=100 * float(np.mean([own.all() for own in stable])),
        valid=100 * len(smiles) / len(molecules),
        unique=100 * len(set(smiles)) / len(smiles) if smiles else float("nan"),
        novel=100 * float(np.mean([text not in known for text in smiles]))
        if smiles and known
        else float("nan"),
    )


def perceive(numbers: Int[Any, " n"], positions: Float[Any, "n 3"]) -> Chem.Mol | None:
    """The molecule that RDKit finds in a geometry, or None: with bond orders, stereochemistry and positions.

    numbers: (n,). positions: (n, 3) in Å. Found is one neutral fragment with a closed shell, its atoms in the
    order given; charges may be separated, as in nitro groups. Raises ValueError for no atoms, shapes that do
    not match, and positions that are not finite.
    Source: Kim, Kim, Bull. Korean Chem. Soc. 36, 1769 (2015), in RDKit's rdDetermineBonds.
    """
    numbers, positions = np.asarray(numbers), np.asarray(positions, dtype=np.float64)
    if not len(numbers) or positions.shape != (len(numbers), 3) or not np.isfinite(positions).all():
        raise ValueError(
            f"a molecule needs atoms and as many finite positions, got {len(numbers)} atoms and positions of "
            f"shape {positions.shape}, {np.count_nonzero(~np.isfinite(positions))} numbers not finite"
        )
    if (pdist(positions) < CLOSEST_ATOMS).any():
        return None
    with BlockLogs():
        return _with_orders(bonded_by_distance(numbers, positions))


def bonded_by_distance(numbers: Int[Any, " n"], positions: Float[Any, "n 3"]) -> Chem.RWMol:
    """The atoms with their positions, and single bonds between all that RDKit takes for neighbours.

    numbers: (n,). positions: (n, 3) in Å, finite. Without implicit hydrogens, and not sanitised.
    """
    mol = Chem.RWMol()
    for number in np.asarray(numbers).tolist():
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        mol.AddAtom(atom)
    conformer = Chem.Conformer(len(numbers))
    conformer.SetPositions(np.ascontiguousarray(positions, dtype=np.float64))
    mol.AddConformer(conformer)
    rdDetermineBonds.DetermineConnectivity(mol)
    mol.UpdatePropertyCache(strict=False)
    return mol


def connectivity(mol: Chem.Mol) -> str:
    """Canonical SMILES without hydrogens and without stereochemistry: by which molecules count as equal."""
    with BlockLogs():
        return Chem.MolToSmiles(Chem.RemoveHs(mol, sanitize=False), isomericSmiles=False)


def chiral_centres(mol: Chem.Mol) -> tuple[int, int]:
    """How many tetrahedral centres are R and how many S, of a molecule with positions."""
    labels = [
        label
        for _, label in Chem.FindMolChiralCenters(mol, includeUnassigned=False, useLegacyImplementation=True)
    ]
    return labels.count("R"), labels.count("S")


def pose_checks(mols: Sequence[Chem.Mol]) -> dict[str, Bool[np.ndarray, " m"]]:
    """PoseBusters' checks of molecules without a receptor, by name, each (m,).

    mols: each with one conformer, as `perceive` gives it. Among the checks are lengths, angles, clashes and
    flatness against distance geometry, and the energy against that of an ensemble of conformers of UFF; what
    could not be computed has failed. About 0.1 s a molecule.
    Raises ValueError for no molecules, ModuleNotFoundError without posebusters.
    Source: Buttenschoen, Morris, Deane, Chem. Sci. 15, 3130 (2024).
    """
    if not len(mols):
        raise ValueError("no molecules to check")
    try:
        from posebusters import PoseBusters
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "PoseBusters is not installed: pip install 'jaxphys[generation]'",
            name=error.name,
        ) from None
    # PoseBusters flushes the stream that RDKit's log had at import, which may be closed by now
    rdkit.log_handler.stream = sys.stderr
    with BlockLogs(), _errors_alone("posebusters"):
        table = PoseBusters(config="mol").bust(list(mols), None, None)
    return {str(name): table[name].eq(True).to_numpy(dtype=bool) for name in table.columns}


def _in_one(numbers: Any, positions: Any) -> bool:
    return len(Chem.GetMolFrags(bonded_by_distance(numbers, positions))) == 1


@contextmanager
def _errors_alone(logger: str) -> Iterator[None]:
    """Without the logger's warnings: of each check that fails there are two."""
    own = logging.getLogger(logger)
    level = own.level
    own.setLevel(logging.ERROR)
    try:
        yield
    finally:
        own.setLevel(level)


def _with_orders(mol: Chem.RWMol) -> Chem.Mol | None:
    try:
        if len(Chem.GetMolFrags(mol)) > 1:
            return None
        if mol.GetNumAtoms() > 1:
            rdDetermineBonds.DetermineBondOrders(mol, charge=0, maxIterations=_ATTEMPTS)
        Chem.SanitizeMol(mol)
    except (ValueError, RuntimeError, Chem.MolSanitizeException):
        return None
    if any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()):
        return None
    Chem.AssignStereochemistryFrom3D(mol)
    return mol.GetMol()
