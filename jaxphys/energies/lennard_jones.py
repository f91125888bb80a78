"""Lennard-Jones clusters in a trap: LJ13, LJ55 and any other."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxphys.energies.incidence import differences
from jaxphys.roles import EnergyFunction

CLOSEST = 0.1
"""Of the distance of the minimum: what is closer counts as this far apart, or single precision overflows."""


def lennard_jones(
    *, epsilon: float = 1.0, distance: float = 1.0, trap: float = 1.0, ordered_pairs: bool = True
) -> EnergyFunction:
    """V = 2 Σ_{i<j} ε [(r°/r)¹² − 2 (r°/r)⁶] + ½ k Σ_i |x_i − x̄|², a function of positions (n, dim).

    In reduced units. distance: r°, at which a pair has its lowest energy; trap: k, to the centre of the
    particles, which itself is free; 0 for none. ordered_pairs: whether i, j and j, i both count: the factor
    2, as in the published samples of LJ13 and LJ55, whose kT is 1; with it only do they have ⟨x·∇V⟩ = 3n − 3,
    as they must. Without it a pair has the depth ε, as in tables of clusters.
    Particles closer than 0.1 r° are without force on each other, at a huge but finite energy.
    Source: Köhler, Klein, Noé, ICML 2020 (arXiv 2006.02425); factor and kT as in Akhound-Sadegh et al., ICML
    2024 (arXiv 2402.06121). Raises ValueError unless ε and r° are positive and k is not negative.
    """
    if not (epsilon > 0 and distance > 0 and trap >= 0):
        raise ValueError(
            f"epsilon and distance must be positive, and trap not negative, got {epsilon}, {distance}, {trap}"
        )
    depth = 2 * epsilon if ordered_pairs else epsilon

    def energy(positions: Float[Any, "n dim"]) -> Float[Array, ""]:
        positions = jnp.asarray(positions)
        n = len(positions)
        square = jnp.sum((differences(*np.triu_indices(n, 1), n)(positions) / distance) ** 2, axis=0)
        sixth = 1 / jnp.maximum(square, CLOSEST**2) ** 3
        outward = positions - jnp.mean(positions, axis=0)
        return depth * jnp.sum(sixth * (sixth - 2)) + 0.5 * trap * jnp.sum(outward**2)

    return energy
