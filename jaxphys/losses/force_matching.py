"""The supervised loss of a force field: the energy's negative gradient against labelled forces."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxphys.losses.energy_matching import atom_count, huber_of_square
from jaxphys.roles import EnergyFunction


def force_matching(
    energy_fn: EnergyFunction,
    positions: Float[Any, "n 3"],
    forces: Float[Any, "n 3"],
    *,
    mask: Bool[Any, " n"] | None = None,
    huber: float | None = None,
) -> Float[Array, ""]:
    """Squared deviation of the forces in eV²/Å², (): mean over atoms of |−∂E/∂r_i − F_i|².

    positions: (n, 3) in Å; forces: labels, (n, 3) in eV/Å; mask: (n,) True for real atoms, all if None.
    Three times the mean over components. huber: for deviations |ΔF_i| beyond it, in eV/Å, the square goes
    on along its tangent; of the vector's length, so that a rotation changes nothing. Nothing is detached:
    a gradient of this loss is a second derivative of the energy. Source: the common form.
    """
    return force_deviation(-jax.grad(energy_fn)(positions), forces, mask=mask, huber=huber)


def force_deviation(
    predicted: Float[Any, "n d"],
    forces: Float[Any, "n d"],
    *,
    mask: Bool[Any, " n"] | None = None,
    huber: float | None = None,
) -> Float[Array, ""]:
    """Mean over atoms of |F̂_i − F_i|², (), of forces (n, d) that are at hand; as `force_matching`."""
    difference = predicted - forces
    if mask is not None:
        difference = jnp.where(mask[:, None], difference, 0.0)
    squares = huber_of_square(jnp.sum(difference**2, axis=-1), huber)
    return jnp.sum(squares) / atom_count(difference, mask)
