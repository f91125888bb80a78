"""How far two geometries are from each other once rigid motion is removed."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxphys.superposition import superpose as superpose


def mean_displacement(
    positions: Float[Any, "n 3"], reference: Float[Any, "n 3"], *, mask: Bool[Any, " n"] | None = None
) -> Float[Array, ""]:
    """Mean distance of the atoms from those of the reference after `superpose`, (), in the unit given."""
    real = jnp.ones(len(positions), bool) if mask is None else mask
    moved = superpose(positions, reference, mask=real)
    distances = jnp.sqrt(jnp.sum((moved - reference) ** 2, axis=-1))
    return jnp.sum(jnp.where(real, distances, 0.0)) / jnp.maximum(jnp.sum(real), 1)
