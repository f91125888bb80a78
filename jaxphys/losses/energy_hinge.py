"""A stable structure lies below a perturbed one: the hinge behind two laws, and an energy held fixed.

The same hinge trains an energy on fixed structures, `energy_bound`, or structures on a fixed energy; then it
is `energy_hinge(fixed_energy(energy_fn), positions, noise)`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxphys.roles import EnergyFunction


def energy_hinge(
    energy_fn: EnergyFunction,
    positions: Float[Any, "n 3"],
    noise: Float[Any, "n 3"],
    *,
    mask: Bool[Any, " n"] | None = None,
) -> Float[Array, ""]:
    """max(0, E(R) − E(R + η)) in eV, (); nothing is detached.

    positions: R, and noise: η, (n, 3) in Å; mask: (n,) True for real atoms, whose noise alone counts. Value
    and gradient are zero where the perturbed energy is not below. Both energies have to be finite for the
    gradient to be.
    """
    if mask is not None:
        noise = jnp.where(mask[:, None], noise, 0.0)
    return jax.nn.relu(energy_fn(positions) - energy_fn(positions + noise))


def fixed_energy(energy_fn: EnergyFunction) -> EnergyFunction:
    """The same energy and forces, with no gradient for what the function itself holds, such as parameters.

    Derivatives by positions are exact to first order; second ones are zero.
    """

    def energy(positions: Float[Any, "n 3"]) -> Float[Array, ""]:
        point = jax.lax.stop_gradient(positions)
        value, gradient = jax.lax.stop_gradient(jax.value_and_grad(energy_fn)(point))
        # the value alone would be detached from the positions too
        return value + jnp.sum(gradient * (positions - point))

    return energy
