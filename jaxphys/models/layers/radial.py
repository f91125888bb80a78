"""Distances, smooth cutoffs and radial bases, all safe where two atoms coincide."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

CUTOFF_POWER = 6


def safe_distance(vectors: Float[Array, "*e 3"]) -> Float[Array, "*e"]:
    """Lengths of the vectors, in their unit; a zero vector has length and gradient zero."""
    square = jnp.sum(vectors**2, axis=-1)
    apart = square != 0  # true of NaN, which is to come through
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1.0)), 0.0)


def unit_vectors(vectors: Float[Array, "*e 3"], distance: Float[Array, "*e"]) -> Float[Array, "*e 3"]:
    """Directions; zero, with gradient zero, where the distance is."""
    apart = (distance != 0)[..., None]
    return jnp.where(apart, vectors, 0.0) / jnp.where(apart, distance[..., None], 1.0)


def cutoff_envelope(distance: Float[Array, "*e"], cutoff: float) -> Float[Array, "*e"]:
    """Polynomial that falls from 1 to 0 at the cutoff with two vanishing derivatives at either end.

    Source: Gasteiger et al., DimeNet (arXiv 2003.03123), Eq. 8, here with p = 6.
    """
    p = CUTOFF_POWER
    x = jnp.minimum(distance / cutoff, 1.0)
    # nested, so that it vanishes at x = 1 to rounding
    bracket = (p + 1) * (p + 2) / 2 - p * (p + 2) * x + p * (p + 1) / 2 * x**2
    return jnp.where(x >= 1, 0.0, 1.0 - x**p * bracket)


def bessel_basis(distance: Float[Array, "*e"], cutoff: float, count: int) -> Float[Array, "*e r"]:
    """sqrt(2/c) sin(kπd/c)/d for k = 1…count, without an envelope; finite at zero distance.

    Source: Gasteiger et al., DimeNet (arXiv 2003.03123), Eq. 7.
    """
    k = jnp.arange(1, count + 1, dtype=distance.dtype)
    x = distance[..., None] / cutoff
    return jnp.sqrt(2.0 / cutoff).astype(distance.dtype) * k * jnp.pi / cutoff * jnp.sinc(k * x)
