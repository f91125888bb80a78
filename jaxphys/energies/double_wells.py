"""Particles of which every pair has two best distances: DW4 and its like."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxphys.energies.incidence import differences
from jaxphys.roles import EnergyFunction


def double_wells(*, offset: float = 4.0, a: float = 0.0, b: float = -4.0, c: float = 0.9) -> EnergyFunction:
    """V = Σ_{i<j} [a (d_ij − d°) + b (d_ij − d°)² + c (d_ij − d°)⁴], a function of positions (n, dim).

    In reduced units; offset: d°. Any number of particles in any dimension: the defaults are DW4 for (4, 2),
    at kT = 1. It does not change when all are moved, turned, mirrored or exchanged. Particles that coincide
    are without force on each other. Source: Köhler, Klein, Noé, ICML 2020 (arXiv 2006.02425), whose sum over
    i and j counts each pair twice and is halved.
    Raises ValueError unless c is positive, without which nothing holds the particles together.
    """
    if not c > 0:
        raise ValueError(f"c must be positive, or the energy has no lowest value, got {c}")

    def energy(positions: Float[Any, "n dim"]) -> Float[Array, ""]:
        positions = jnp.asarray(positions)
        n = len(positions)
        square = jnp.sum(differences(*np.triu_indices(n, 1), n)(positions) ** 2, axis=0)
        apart = square > 0
        distance = jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1)), 0)
        strain = distance - offset
        return jnp.sum(a * strain + b * strain**2 + c * strain**4)

    return energy
