"""How stiff a spring is by the distance that it holds: choices for `distance_energy`, pure functions.

Each takes distances of the target, of any shape in Å, and returns as many stiffnesses. A stiffness has the
unit of its scale, eV/Å² for an energy in eV; the published scales, which are the defaults, are numbers
without unit, chosen so that all choices give losses of about one size on QM9. Another scale is
`functools.partial(inverse, scale=3.7)`, and any function of distances will do in their place. Distances
below 0.1 Å, closer than atoms come, count as 0.1 Å where the stiffness would grow without bound.
Source: Kaba et al., NeurIPS 2025 (arXiv 2511.02087), Eq. 7 and the code that goes with it.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxphys.molecule import CLOSEST_ATOMS


def constant(distance: Float[Any, "*pairs"], *, scale: float = 1.0) -> Float[Array, "*pairs"]:
    """k = scale, a Morse potential's curvature: far pairs, the many, then outweigh the bonds."""
    return jnp.full_like(distance, scale)


def inverse(distance: Float[Any, "*pairs"], *, scale: float = 5.0) -> Float[Array, "*pairs"]:
    """k = scale/r, the scale in Å times the unit of k."""
    return scale / jnp.maximum(distance, CLOSEST_ATOMS)


def inverse_square(distance: Float[Any, "*pairs"], *, scale: float = 16.0) -> Float[Array, "*pairs"]:
    """k = scale/r², as Lennard-Jones has 72 ε/r² at its minimum; the scale in Å² times the unit of k."""
    return scale / jnp.maximum(distance, CLOSEST_ATOMS) ** 2


def exponential(
    distance: Float[Any, "*pairs"], *, scale: float = 42.0, length: float = 1.0
) -> Float[Array, "*pairs"]:
    """k = scale e^(−r/length), length in Å: the choice that made the most stable molecules."""
    return scale * jnp.exp(-jnp.asarray(distance) / length)


def bonded(
    distance: Float[Any, "*pairs"], bonds: Bool[Any, "*pairs"], *, scale: float = 9.0
) -> Float[Array, "*pairs"]:
    """k = scale for bonded pairs, scale (1 Å/r)² for others.

    bonds: which pairs are bonded, (n, n), or one for each edge; to be bound by `functools.partial(bonded,
    bonds=bonds)`.
    """
    return jnp.where(bonds, scale, inverse_square(distance, scale=scale))
