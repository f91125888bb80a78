"""The supervised loss of an energy function: its energy against a label."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxphys.losses.self_consistency import safe_root
from jaxphys.roles import EnergyFunction


def energy_matching(
    energy_fn: EnergyFunction,
    positions: Float[Any, "n 3"],
    energy: Float[Any, ""] | float,
    *,
    mask: Bool[Any, " n"] | None = None,
    per_atom: bool = False,
    huber: float | None = None,
) -> Float[Array, ""]:
    """Squared deviation of the energy in eV², (): (E(R) − E_label)², per atom ((E − E_label) / n)².

    positions: (n, 3) in Å; energy: label in eV; mask: (n,) True for real atoms, all if None, needed per atom
    only. huber: beyond this deviation, in eV (per atom, if so), the square goes on along its tangent.
    Nothing is detached. Source: the common form; E − E_label of one composition differ by a constant between
    programs and methods: labels must have one origin.
    """
    predicted = energy_fn(positions)
    return energy_deviation(predicted, energy, atom_count(positions, mask) if per_atom else 1.0, huber=huber)


def energy_deviation(
    predicted: Float[Any, ""],
    energy: Float[Any, ""] | float,
    atoms: Float[Any, ""] | float = 1.0,
    *,
    huber: float | None = None,
) -> Float[Array, ""]:
    """((E − E_label) / atoms)², (), of an energy that is at hand; huber as for `energy_matching`."""
    return huber_of_square(((predicted - energy) / atoms) ** 2, huber)


def huber_of_square(square: Array, threshold: float | None) -> Array:
    """x² where |x| ≤ δ, beyond it its tangent 2δ|x| − δ², from x²; x² everywhere for δ = None.

    Twice the textbook's form, so that δ = ∞ is the square. Of a vector's x² = |v|² it is invariant under
    rotations. Raises ValueError for δ ≤ 0.
    """
    if threshold is None:
        return square
    if threshold <= 0:
        raise ValueError(f"huber must be a positive deviation, or None for plain squares, got {threshold}")
    return jnp.where(square <= threshold**2, square, 2 * threshold * safe_root(square) - threshold**2)


def atom_count(positions: Float[Any, "n d"], mask: Bool[Any, " n"] | None) -> Float[Array, ""] | float:
    """Number of real atoms, 1 for none."""
    return float(len(positions)) if mask is None else jnp.maximum(jnp.sum(mask, dtype=positions.dtype), 1.0)
