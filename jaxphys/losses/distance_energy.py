"""Springs at rest in the target, stretched by the prediction: an energy in place of the squared error."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxphys.losses.energy_matching import atom_count
from jaxphys.losses.stiffness import exponential

COINCIDENT = 1e-6
"""Å; closer atoms pull in no direction: their distance has none."""


def distance_energy(
    prediction: Float[Any, "n d"],
    target: Float[Any, "n d"],
    stiffness: Callable[[Any], Any] = exponential,
    *,
    mask: Bool[Any, " n"] | None = None,
    edges: tuple[Int[Any, " e"], Int[Any, " e"]] | None = None,
) -> Float[Array, ""]:
    """Σ_{i<j} k_ij (|y_i − y_j| − |ŷ_i − ŷ_j|)² / n, (), in the unit of k times Å², of n atoms.

    prediction: ŷ, target: y, (n, d) in Å, d of 2 or 3 mostly; stiffness: k of the target's distances in Å,
    as in `losses.stiffness`, which gets them as (n, n) or (e,); mask: (n,) True for real atoms, all if
    None; edges: senders and receivers of the pairs to sum over, each pair once, as `rigid_graph` makes
    them, so that the cost grows with their number and not as n²; self-loops, to fill them up, count for
    nothing; None for all pairs.
    Nothing is detached. Zero for the target moved, turned or mirrored, and for nothing else, so that it
    leaves the hand of a molecule to others. To first order it is a squared error with the motions of a
    rigid body taken out, as is its average over targets, whose minimiser is their mean up to such a motion
    and to second order in their spread: for a denoiser a bias at high noise. Weights of the levels are the
    caller's, as `noise_weight`.
    Where two atoms coincide in the prediction they do not pull on each other; all derivatives are finite.
    Raises ValueError for shapes that differ, for no atoms, and, outside of jit, for positions that are not
    finite.
    Source: Kaba et al., NeurIPS 2025 (arXiv 2511.02087), Eq. 7, over n as in their code.
    """
    check_structures(prediction, target, mask)
    prediction, target = jnp.asarray(prediction), jnp.asarray(target)
    mask = None if mask is None else jnp.asarray(mask)
    real = _pairs(len(target), mask, edges)
    if mask is not None:
        prediction, target = (jnp.where(mask[:, None], r, 0.0) for r in (prediction, target))
    rest, length = _distances(target, edges), _distances(prediction, edges)
    # what a stiffness makes of no distance may be infinite
    springs = jnp.where(real, stiffness(jnp.where(real, rest, 1.0)), 0.0)
    total = jnp.sum(springs * (length - rest) ** 2)
    return total / ((2.0 if edges is None else 1.0) * atom_count(target, mask))


def check_structures(prediction: Any, target: Any, mask: Any = None) -> None:
    """Raise ValueError unless both are structures (n, d) of one size, and finite where they are concrete."""
    if np.shape(prediction) != np.shape(target) or np.ndim(target) != 2:
        raise ValueError(
            "prediction and target must have one shape (n, d), "
            f"got {np.shape(prediction)} and {np.shape(target)}"
        )
    if 0 in np.shape(target):
        raise ValueError(f"a structure needs at least one atom, got shape {np.shape(target)}")
    if isinstance(mask, jax.core.Tracer):
        return
    real = np.ones(len(target), bool) if mask is None else np.asarray(mask)
    if not real.any():
        raise ValueError("a structure needs at least one atom, got a mask without any")
    for name, positions in (("prediction", prediction), ("target", target)):
        if not isinstance(positions, jax.core.Tracer):
            finite = np.isfinite(np.asarray(positions)).all(axis=1)
            for atom in np.flatnonzero(real & ~finite):
                values = np.asarray(positions)[atom].tolist()
                raise ValueError(f"{name} must be finite, got {values} for atom {atom}")


def _pairs(
    n: int, mask: Bool[Any, " n"] | None, edges: tuple[Any, Any] | None
) -> Bool[Array, "n n"] | Bool[Array, " e"]:
    """Which pairs are two real atoms."""
    if edges is None:
        apart = ~jnp.eye(n, dtype=bool)
        return apart if mask is None else apart & mask[:, None] & mask
    senders, receivers = map(jnp.asarray, edges)
    apart = senders != receivers
    return apart if mask is None else apart & mask[senders] & mask[receivers]


def _distances(
    positions: Float[Array, "n d"], edges: tuple[Any, Any] | None
) -> Float[Array, "n n"] | Float[Array, " e"]:
    """Of all pairs, each twice, or along edges; zero with slope zero below `COINCIDENT`."""
    # one component at a time: arrays whose last axis is 3 keep a processor's vector units idle
    components = (positions[:, i] for i in range(positions.shape[1]))
    if edges is None:
        differences = [x[:, None] - x for x in components]
    else:
        differences = [x[edges[0]] - x[edges[1]] for x in components]
    square = functools.reduce(jnp.add, [difference**2 for difference in differences])
    # so that what is not a number is not taken for zero
    apart = ~(square <= COINCIDENT**2)
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1.0)), 0.0)
