"""Superposition of two geometries: what is left once rigid motion is removed."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxphys.molecule import centred


def superpose(
    positions: Float[Any, "n d"], reference: Float[Any, "n d"], *, mask: Bool[Any, " n"] | None = None
) -> Float[Array, "n d"]:
    """The geometry moved and turned, never mirrored, to the least mean square distance from the reference.

    positions, reference: (n, d), atom by atom, in one unit; mask: (n,) True for real atoms, all if None;
    padded ones get the position of the reference. Where the best rotation is not unique, as for
    atoms on a line, one of the best is taken. Source: Kabsch, Acta Cryst. A32, 922 (1976).
    """
    real = jnp.ones(len(positions), bool) if mask is None else mask
    moving, fixed = centred(positions, real), centred(reference, real)
    kept = jnp.where(real[:, None], reference, 0.0)
    centre = jnp.sum(kept, axis=0) / jnp.maximum(jnp.sum(real), 1)
    return jnp.where(real[:, None], moving @ best_rotation(moving, fixed) + centre, reference)


def best_rotation(moving: Float[Array, "n d"], fixed: Float[Array, "n d"]) -> Float[Array, "d d"]:
    """The proper rotation R of least |moving R − fixed|², of centred geometries (n, d); as `superpose`.

    Its derivative is not a number where the rotation is not unique: detach it where one is taken.
    """
    left, _, right = jnp.linalg.svd(moving.T @ fixed)
    # the direction of least overlap is turned back where the best orthogonal matrix is a mirror
    sign = jnp.where(jnp.linalg.det(left @ right) < 0, -1.0, 1.0)
    return (left * jnp.ones(left.shape[0], left.dtype).at[-1].set(sign)) @ right
