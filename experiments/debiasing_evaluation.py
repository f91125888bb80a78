"""What the samples of `experiments.debiasing` are worth: metrics beside their floors, free energy, virial."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.debiasing_systems import Ensemble, System, ensemble
from jaxphys import metrics, sampling

REPEATS = 5


def judge(
    system: System, positions: Any, reference: Ensemble, *, groups: Any = None
) -> tuple[dict[str, Any], Ensemble]:
    """All columns of samples of equal weight (k, n, d), and the samples that have an energy.

    groups: (k,) of samples that may be correlated, each its own if None. lost: part of the samples whose
    energy is not finite, in %.
    """
    found = ensemble(system.energy_fn, positions, groups)
    row: dict[str, Any] = {"lost": 100 * (1 - len(found.energies) / len(positions))}
    for name, column in system.columns.items():
        ours, theirs = column.look(found), column.look(reference)
        size = min(column.size, len(ours), len(theirs) // 2)
        measured = metrics.measured(column.distance, ours, theirs, size=size, repeats=REPEATS)
        row[name] = dataclasses.asdict(measured)
    if system.basin is not None:
        row["ΔF"] = free_energy(system, found)
    row["E"] = float(found.energies.mean())
    row["virial"] = virial(system, found)
    return row, found


def free_energy(system: System, samples: Ensemble) -> dict[str, float]:
    """Of the system's basin against the rest, in the unit of kT: "value", "low", "high" of 95 %."""
    if system.basin is None:
        raise ValueError(f"{system.name} has no basins")
    inside = np.asarray(system.basin(samples.positions))
    found = metrics.basin_free_energy(inside, kt=system.kt, groups=samples.groups, resamples=500)
    return dataclasses.asdict(found)


def virial(system: System, samples: Ensemble) -> float:
    """⟨R·∇E⟩/kT over its exact value, the number of degrees of freedom: 1 in equilibrium."""
    positions = samples.positions
    if system.centre:
        positions = positions - positions.mean(axis=1, keepdims=True)
    freedom = (positions.shape[1] - system.centre) * positions.shape[2]
    return float(sampling.virial(system.energy_fn, jnp.asarray(positions)[None], system.kt).value / freedom)
