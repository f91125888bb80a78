"""How far predicted spins are from the ground state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

SOLVED = 1e-6
"""Gap over |E₀| at which a ground state counts as found, beyond double precision's rounding of E."""


@dataclass(frozen=True)
class SpinSummary:
    """Over systems: systems, their number; gap: mean of E − E₀ in units of J; relative_gap: Σ(E − E₀) / Σ|E₀|
    in %; solved: part with the lowest energy, in %."""

    systems: int
    gap: float
    relative_gap: float
    solved: float


def summarise_spins(energies: ArrayLike, lowest: ArrayLike) -> SpinSummary:
    """Gaps of energies above those of the ground states, both (k,) in units of J.

    Raises ValueError for no systems, other shapes, numbers that are not finite, or energies clearly below the
    lowest: then one of the two is wrong.
    """
    energies, lowest = np.asarray(energies, dtype=float), np.asarray(lowest, dtype=float)
    if energies.ndim != 1 or energies.shape != lowest.shape or not len(energies):
        raise ValueError(
            f"energies and lowest must be of one shape (k,), k > 0, got {energies.shape} and {lowest.shape}"
        )
    gaps = energies - lowest
    if not np.isfinite(gaps).all():
        raise ValueError(f"energies must be finite, got {energies[~np.isfinite(gaps)][0]}")
    if gaps.min() < -SOLVED * max(1.0, np.abs(lowest).max()):
        place = int(gaps.argmin())
        raise ValueError(
            f"system {place} has the energy {energies[place]:.6g}, below the lowest, {lowest[place]:.6g}"
        )
    scale = np.mean(np.abs(lowest)) or np.nan
    return SpinSummary(
        systems=len(gaps),
        gap=float(gaps.mean()),
        relative_gap=float(100 * gaps.mean() / scale),
        solved=float(100 * np.mean(gaps <= SOLVED * np.maximum(1.0, np.abs(lowest)))),
    )
