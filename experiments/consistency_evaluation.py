"""Evaluation of `experiments.consistency`: how good structures are, judged by energies and by their graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from rdkit import Chem
from rdkit.Chem import rdMolAlign
from scipy.stats import ttest_rel

from experiments.consistency_levels import GFN2, Cache, Level
from jaxphys.data import (
    Descent,
    embed_conformers,
    positions_of,
    with_positions,
)
from jaxphys.metrics import (
    angle_error,
    bond_length_error,
    broken_bonds,
    conformer_metrics,
    rmsd_matrix,
    stereo_errors,
)
from jaxphys.molecule import Molecule
from jaxphys.units import KCAL_PER_MOL_IN_EV

FMAX = 0.02
"""eV/Å, on an atom, at what counts as a minimum: in a mode of 1 eV/Å² it leaves 0.005 kcal/mol."""

THRESHOLD = 0.5
"""Å, below which a conformer is covered: that of GEOM-QM9."""

SAME = 0.1
"""Å of heavy atoms, below which two structures are one."""

DISTANCES = ("energy", "rmsd", "bond", "angle")

Structures = Sequence[Float[np.ndarray, "k n 3"]]


@dataclass(frozen=True, eq=False)
class Judged:
    """Samples beside the minima that they fall to; all samples of all molecules in a row, (s,).

    molecule: index of the sample's; energy: above the minimum in kcal/mol; rmsd: from it in Å, all atoms,
    atom by atom; bond, angle: mean absolute difference from it in Å and degrees. failed: there is no minimum;
    broken: the bonds are not those of the graph, in the sample or in its minimum. Where either holds, the
    distances are infinite. stereo_right: the sample has all the stereochemistry that the graph specifies.
    """

    molecule: Int[np.ndarray, " s"]
    energy: Float[np.ndarray, " s"]
    rmsd: Float[np.ndarray, " s"]
    bond: Float[np.ndarray, " s"]
    angle: Float[np.ndarray, " s"]
    failed: Bool[np.ndarray, " s"]
    broken: Bool[np.ndarray, " s"]
    stereo_right: Bool[np.ndarray, " s"]

    @property
    def sound(self) -> Bool[np.ndarray, " s"]:
        """Neither failed nor broken."""
        return ~(self.failed | self.broken)


def judge(
    mols: Sequence[Chem.Mol],
    samples: Structures,
    *,
    level: Level = GFN2,
    cache: Cache = None,
    processes: int = 2,
) -> Judged:
    """What the level of theory and the graphs say of samples, (k, n, 3) in Å for each molecule.

    cache, processes: as for the level's descents; with more than one, a script needs a main guard.
    Raises ValueError for another number of samples' sets than molecules, and for no samples at all.
    """
    pairs = [
        (i, positions) for i, (_, own) in enumerate(zip(mols, samples, strict=True)) for positions in own
    ]
    if not pairs:
        raise ValueError(f"no samples of {len(mols)} molecules to judge")
    possible = {row: _molecule(mols[i], positions) for row, (i, positions) in enumerate(pairs)}
    molecules = {row: molecule for row, molecule in possible.items() if molecule is not None}
    found = {}
    if molecules:
        descents = level.descents([*molecules.values()], cache=cache, processes=processes, fmax=FMAX)
        found = dict(zip(molecules, descents, strict=True))
    rows = [_judge_one(mols[i], positions, found.get(row)) for row, (i, positions) in enumerate(pairs)]
    columns: dict[str, Any] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return Judged(molecule=np.array([i for i, _ in pairs]), **columns)


def summarise(judged: Judged) -> dict[str, float]:
    """Median, mean and 90 % quantile of each distance, and shares of the samples in %.

    Medians and quantiles (energy_median, energy_p90, …) are over all samples, the unsound ones at infinity;
    means (energy_mean, …) over the sound ones alone, NaN without any. failed, broken, stereo_right: as in
    `Judged`; unsound: failed or broken.
    """
    found: dict[str, float] = {"samples": len(judged.molecule)}
    sound = judged.sound
    for name in DISTANCES:
        values = getattr(judged, name)
        found[f"{name}_median"] = float(np.median(values))
        found[f"{name}_mean"] = float(np.mean(values[sound])) if sound.any() else float("nan")
        # between a number and infinity nothing can be interpolated
        found[f"{name}_p90"] = float(np.quantile(values, 0.9, method="higher"))
    shares = {"failed": judged.failed, "broken": judged.broken, "unsound": ~sound}
    shares |= {"stereo_right": judged.stereo_right}
    return found | {name: 100 * float(np.mean(values)) for name, values in shares.items()}


def conformer_scores(
    mols: Sequence[Chem.Mol], samples: Structures, references: Structures
) -> dict[str, float]:
    """Coverage in % and average minimum RMSD (AMR) in Å, means over molecules, of heavy atoms.

    Fields as of `jaxphys.metrics.ConformerMetrics`: mean_rmsd and min_rmsd are over all pairs of a molecule.
    Samples that are not finite cover nothing, and have no RMSD; nor have molecules with no others, which
    cover nothing. Raises ValueError for sets of another length, or a molecule without references.
    """
    rows = [_scores(*row) for row in zip(mols, samples, references, strict=True)]
    means = {name: _mean_of_known([row[name] for row in rows]) for name in rows[0]}
    return {name: 100 * value if name.startswith("coverage") else value for name, value in means.items()}


def baseline(mols: Sequence[Chem.Mol], count: int, seed: int) -> list[Float[np.ndarray, "k n 3"]]:
    """What RDKit gives without any training: up to `count` minima of MMFF94s from ETKDG, (k, n, 3) in Å."""
    return [positions_of(embed_conformers(mol, count, seed=seed, method="MMFF")) for mol in mols]


def reference_minima(
    mols: Sequence[Chem.Mol],
    count: int,
    *,
    seed: int,
    level: Level = GFN2,
    cache: Cache = None,
    processes: int = 2,
) -> list[Float[np.ndarray, "m n 3"]]:
    """The distinct minima of a level of theory, lowest first, (m, n, 3) in Å.

    They lie next to `count` conformers of MMFF94s. Only minima with the bonds and the stereochemistry of the
    graph. Raises ValueError for a molecule that has none.
    """
    starts = baseline(mols, count, seed)
    molecules = [_molecule(mol, start) for mol, own in zip(mols, starts, strict=True) for start in own]
    if None in molecules:
        raise ValueError("a minimum of MMFF94s is no molecule")
    descents = level.descents([m for m in molecules if m], cache=cache, processes=processes, fmax=FMAX)
    ends = np.cumsum([len(own) for own in starts]).tolist()
    return [
        _distinct_minima(
            mol, [d for d in descents[end - len(own) : end] if isinstance(d, Descent)], level.name
        )
        for mol, own, end in zip(mols, starts, ends, strict=True)
    ]


def distinct(
    mol: Chem.Mol, positions: Float[np.ndarray, "k n 3"], energies: Float[np.ndarray, " k"]
) -> list[list[int]]:
    """Indices of structures that are one, by less than 0.1 Å of symmetric RMSD of the heavy atoms.

    positions: (k, n, 3) in Å; energies: (k,). Each list starts with its lowest, to which the others are near;
    the lists are in the order of these.
    """
    groups: list[list[int]] = []
    heavy = mol.GetNumHeavyAtoms() > 0
    for index in np.argsort(energies, kind="stable").tolist():
        leaders = positions[[group[0] for group in groups]]
        near = rmsd_matrix(mol, positions[[index]], leaders, heavy=heavy)[0] < SAME if groups else np.zeros(0)
        if near.any():
            groups[int(near.argmax())].append(index)
        else:
            groups.append([index])
    return groups


@dataclass(frozen=True)
class Comparison:
    """Second less first, over seeds: mean, standard deviation, and p of a paired t-test.

    The latter two are NaN for one seed, and where a difference is not finite.
    """

    difference: float
    spread: float
    p: float
    seeds: int


def compare(
    first: Sequence[Mapping[str, float]], second: Sequence[Mapping[str, float]], metric: str
) -> Comparison:
    """Two arms' summaries, one a seed, in the same order of seeds, by one of their metrics.

    Raises ValueError for different numbers of seeds, or none.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"as many seeds of both are needed, got {len(first)} and {len(second)}")
    ones, others = (np.array([summary[metric] for summary in arm], float) for arm in (first, second))
    with np.errstate(invalid="ignore"):  # no difference between infinities
        differences = others - ones
    several = len(differences) > 1 and bool(np.isfinite(differences).all())
    spread = float(np.std(differences, ddof=1)) if several else float("nan")
    # without spread there is nothing that a test could divide by
    p = float(ttest_rel(others, ones).pvalue) if several and spread > 0 else float("nan")
    return Comparison(float(np.mean(differences)), spread, p, len(differences))


def _molecule(mol: Chem.Mol, positions: Float[np.ndarray, "n 3"]) -> Molecule | None:
    """None where atoms coincide or are not finite."""
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    try:
        return Molecule(numbers, positions, charge=Chem.GetFormalCharge(mol))
    except ValueError:
        return None


def _judge_one(mol: Chem.Mol, positions: Float[np.ndarray, "n 3"], descent: Any) -> dict[str, Any]:
    finite = bool(np.isfinite(positions).all())
    found: dict[str, Any] = dict.fromkeys(DISTANCES, np.inf)
    found["failed"] = not isinstance(descent, Descent)
    found["broken"] = not finite or bool(broken_bonds(mol, positions))
    found["stereo_right"] = finite and not stereo_errors(mol, positions)
    if isinstance(descent, Descent):
        found["broken"] = found["broken"] or bool(broken_bonds(mol, descent.positions))
    if isinstance(descent, Descent) and not found["broken"]:
        found["energy"] = (descent.start_energy - descent.energy) / KCAL_PER_MOL_IN_EV
        found |= _distances(mol, positions, descent.positions)
    return found


def _distances(
    mol: Chem.Mol, positions: Float[np.ndarray, "n 3"], minimum: Float[np.ndarray, "n 3"]
) -> dict[str, float]:
    """An atom alone has no bonds, and two have no angle, to be wrong."""
    n = mol.GetNumAtoms()
    probe, target = with_positions(mol, positions[None]), with_positions(mol, minimum[None])
    return {
        "rmsd": rdMolAlign.AlignMol(probe, target, atomMap=[(i, i) for i in range(n)]),
        "bond": bond_length_error(mol, positions[None], minimum) if n > 1 else 0.0,
        "angle": angle_error(mol, positions[None], minimum) if n > 2 else 0.0,
    }


def _scores(
    mol: Chem.Mol, samples: Float[np.ndarray, "k n 3"], references: Float[np.ndarray, "m n 3"]
) -> dict[str, float]:
    finite = samples[np.isfinite(samples).all(axis=(1, 2))]
    if not len(finite):
        nothing = {"coverage_recall": 0.0, "coverage_precision": 0.0}
        return nothing | dict.fromkeys(("amr_recall", "amr_precision", "mean_rmsd", "min_rmsd"), np.nan)
    found = asdict(conformer_metrics(mol, finite, references, threshold=THRESHOLD))
    found["coverage_precision"] *= len(finite) / len(samples)
    return found


def _mean_of_known(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _distinct_minima(mol: Chem.Mol, descents: list[Descent], level: str) -> Float[np.ndarray, "m n 3"]:
    right = [
        descent
        for descent in descents
        if not broken_bonds(mol, descent.positions) and not stereo_errors(mol, descent.positions)
    ]
    if not right:
        smiles = Chem.MolToSmiles(Chem.RemoveHs(mol))
        raise ValueError(f"none of {len(descents)} minima of {level} keeps the bonds and stereo of {smiles}")
    positions = np.stack([descent.positions for descent in right])
    groups = distinct(mol, positions, np.array([descent.energy for descent in right]))
    return positions[[group[0] for group in groups]]
