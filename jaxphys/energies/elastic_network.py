"""Springs between all atoms of a structure: the plainest energy of which it is the minimum."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxphys.roles import EnergyFunction

BOND = 1.2  # Å


def elastic_network(
    reference: Float[Any, "n 3"],
    *,
    mask: Bool[Any, " n"] | None = None,
    stiffness: float = 30.0,
    power: float = 3.0,
    depth: float | None = None,
) -> EnergyFunction:
    """V = ½ Σ_{i<j} k_ij (d_ij − d°_ij)² in eV, a function of positions (n, 3) in Å; zero at the reference.

    reference: (n, 3) in Å; mask: (n,) True for real atoms, all if None. k_ij in eV/Å² is the stiffness times
    (1.2 Å / d°_ij)^power: about that of a bond for neighbours, and little for what is far apart. depth: in
    eV, where the energy levels off, V / (1 + V / depth), as bonds break; None for springs without end.
    It does not change when the structure moves or turns as a whole, nor in its mirror image. Atoms that
    coincide, in either structure, are without force on each other.
    Source: the anisotropic network model (Atilgan et al., Biophys. J. 80, 505 (2001)), springs by distance
    (Yang, Song, Jernigan, PNAS 106, 12347 (2009), there power 2), before expansion to second order.
    Raises ValueError for a stiffness or depth that is not positive.
    """
    if not stiffness > 0 or (depth is not None and not depth > 0):
        raise ValueError(f"stiffness and depth must be positive, got {stiffness} and {depth}")
    reference = jnp.asarray(reference)
    real = jnp.ones(len(reference), bool) if mask is None else mask
    rest, apart = _distances(reference)
    pairs = apart & real[:, None] & real
    springs = jnp.where(pairs, stiffness * (BOND / rest) ** power, 0.0)

    def energy(positions: Float[Any, "n 3"]) -> Float[Array, ""]:
        distance, _ = _distances(positions)
        # every pair twice
        total = jnp.sum(springs * (distance - rest) ** 2) / 4
        return total if depth is None else total / (1 + total / depth)

    return energy


def _distances(positions: Float[Any, "n 3"]) -> tuple[Float[Array, "n n"], Bool[Array, "n n"]]:
    """All distances, one where atoms coincide, and where they do not."""
    square = jnp.sum((positions[:, None] - positions) ** 2, axis=-1)
    apart = square > 0
    return jnp.sqrt(jnp.where(apart, square, 1.0)), apart
