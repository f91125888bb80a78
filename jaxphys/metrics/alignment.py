"""Superposition of two geometries: what is left once rigid motion is removed."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def superpose(
    positions: Float[Any, "n 3"], reference: Float[Any, "n 3"], *, mask: Bool[Any, " n"] | None = None
) -> Float[Array, "n 3"]:
    """The geometry moved and turned, never mirrored, to the least mean square distance from the reference.

    positions, reference: (n, 3), atom by atom, in one unit; mask: (n,) True for real atoms, all if None;
    padded ones get the position of the reference. Where the best rotation is not unique, as for
    atoms on a line, one of the best is taken. Source: Kabsch, Acta Cryst. A32, 922 (1976).
    """
    real = jnp.ones(len(positions), bool) if mask is None else mask
    moving, _ = _centred(jnp.asarray(positions), real)
    fixed, fixed_centre = _centred(jnp.asarray(reference), real)
    left, _, right = jnp.linalg.svd(moving.T @ fixed)
    # the direction of least overlap is turned back where the best orthogonal matrix is a mirror
    sign = jnp.where(jnp.linalg.det(left @ right) < 0, -1.0, 1.0)
    rotation = (left * jnp.array([1.0, 1.0, sign])) @ right
    return jnp.where(real[:, None], moving @ rotation + fixed_centre, reference)


def mean_displacement(
    positions: Float[Any, "n 3"], reference: Float[Any, "n 3"], *, mask: Bool[Any, " n"] | None = None
) -> Float[Array, ""]:
    """Mean distance of the atoms from those of the reference after `superpose`, (), in the unit given."""
    real = jnp.ones(len(positions), bool) if mask is None else mask
    moved = superpose(positions, reference, mask=real)
    distances = jnp.sqrt(jnp.sum((moved - reference) ** 2, axis=-1))
    return jnp.sum(jnp.where(real, distances, 0.0)) / jnp.maximum(jnp.sum(real), 1)


def _centred(positions: Array, real: Bool[Any, " n"]) -> tuple[Float[Array, "n 3"], Float[Array, " 3"]]:
    own = jnp.where(real[:, None], positions, 0.0)
    centre = jnp.sum(own, axis=0) / jnp.maximum(jnp.sum(real), 1)
    return jnp.where(real[:, None], own - centre, 0.0), centre
