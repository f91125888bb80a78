"""Dihedral angles of ensembles, and how far their distributions are from a reference; host."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from jaxphys.metrics.densities import kl_divergence
from jaxphys.metrics.sample_checks import checked_samples, checked_weights


def dihedral(positions: Float[Any, "*batch n 3"], quadruple: Int[Any, "*angles 4"]) -> np.ndarray:
    """Dihedral angles in radians in (−π, π], zero for cis and positive clockwise, as IUPAC has it.

    positions: (…, n, 3). quadruple: four atoms i j k l of a bond chain, (4,) or (a, 4), from 0; the angle is
    that about j-k. Gives (…,) for one, (…, a) for several. Of a peptide φ is C N CA C, ψ is N CA C N.
    Raises ValueError for positions that are not finite, atoms out of range, and three atoms on a line, where
    there is no angle.
    """
    r, atoms = np.asarray(positions, dtype=np.float64), np.asarray(quadruple)
    if not np.isfinite(r).all():
        raise ValueError(f"positions must be finite, {np.count_nonzero(~np.isfinite(r))} numbers are not")
    if atoms.min() < 0 or atoms.max() >= r.shape[-2]:
        raise ValueError(f"atoms must be from 0 to {r.shape[-2] - 1}, got {atoms.tolist()}")
    first, axis, last = (
        r[..., atoms[..., i + 1], :] - r[..., atoms[..., i], :] for i in range(3)
    )  # along the chain
    one, other = np.cross(first, axis), np.cross(axis, last)
    # a product's rounding is of this order of the factors
    flat = np.minimum(
        np.linalg.norm(one, axis=-1) - 1e-10 * np.linalg.norm(first, axis=-1) * np.linalg.norm(axis, axis=-1),
        np.linalg.norm(other, axis=-1)
        - 1e-10 * np.linalg.norm(axis, axis=-1) * np.linalg.norm(last, axis=-1),
    )
    if (flat <= 0).any():
        raise ValueError(
            f"three of the atoms {atoms.tolist()} are on a line or coincide in {np.count_nonzero(flat <= 0)} "
            "cases: no dihedral angle there"
        )
    sine = np.linalg.norm(axis, axis=-1) * np.sum(first * other, axis=-1)
    angle = np.arctan2(sine, np.sum(one * other, axis=-1))
    return np.where(angle == -np.pi, np.pi, angle)


def angle_divergence(
    samples: Float[Any, " m"],
    reference: Float[Any, " k"],
    *,
    bins: int = 200,
    smoothing: float = 1e-5,
    weights: ArrayLike | None = None,
    reference_weights: ArrayLike | None = None,
) -> float:
    """KL(reference ‖ samples) in nats between histograms of one angle over the full circle.

    samples: (m,), reference: (k,), in radians, of any turn. smoothing: added to both densities, 1/radian, so
    that an empty bin costs much but not infinitely. weights: of each, at least 0, equal for None.
    Raises ValueError for no samples, NaN, angles that look like degrees, no bins, weights that are none.
    Source: Midgley et al., ICLR 2023 (FAB), 200 bins. Its code smooths less, which counts empty bins more.
    """
    one, other = (np.asarray(angles)[..., None] for angles in (samples, reference))
    return _torus_divergence(one, other, 1, bins, smoothing, weights, reference_weights)


def ramachandran_divergence(
    samples: Float[Any, "m 2"],
    reference: Float[Any, "k 2"],
    *,
    bins: int = 100,
    smoothing: float = 1e-5,
    weights: ArrayLike | None = None,
    reference_weights: ArrayLike | None = None,
) -> float:
    """KL(reference ‖ samples) in nats between histograms (bins, bins) of two angles, φ and ψ.

    samples: (m, 2), reference: (k, 2), in radians, otherwise as `angle_divergence`; smoothing in 1/radian².
    Most of bins² cells are empty in small samples, which the number then mostly counts: compare it with its
    floor, and with others at the same bins and sizes only.
    """
    return _torus_divergence(samples, reference, 2, bins, smoothing, weights, reference_weights)


def checked_angles(angles: Any, width: int | None, name: str) -> np.ndarray:
    """Angles (m, width) in radians; raises ValueError for what is none or looks like degrees."""
    found = checked_samples(angles, (None, width), name)
    largest = np.abs(found).max()
    if largest > 2 * np.pi + 1e-6:
        raise ValueError(f"{name} must be in radians, within ±2π, got {largest:.6g}; degrees?")
    return found


def _torus_divergence(
    samples: Any,
    reference: Any,
    width: int,
    bins: int,
    smoothing: float,
    weights: Any,
    reference_weights: Any,
) -> float:
    if bins < 1 or not smoothing >= 0:
        raise ValueError(f"bins must be at least 1 and smoothing at least 0, got {bins}, {smoothing}")
    one = checked_angles(samples, width, "samples")
    other = checked_angles(reference, width, "reference")
    found = _histogram(one, checked_weights(weights, len(one)), bins)
    expected = _histogram(other, checked_weights(reference_weights, len(other), "reference_weights"), bins)
    # a constant added to a density is a share of the uniform one
    constant = smoothing * (2 * np.pi) ** width
    return kl_divergence(expected, found, constant / (1 + constant))


def _histogram(angles: np.ndarray, weights: np.ndarray, bins: int) -> np.ndarray:
    turn = np.remainder(angles + np.pi, 2 * np.pi)
    cells = np.minimum((turn * (bins / (2 * np.pi))).astype(int), bins - 1)
    place = np.ravel_multi_index(tuple(cells.T), (bins,) * angles.shape[1])
    return np.bincount(place, weights, bins ** angles.shape[1])
