"""Noise for the energy bound that seeks out where the bound is broken."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxphys.roles import EnergyFunction

LONGEST_STEP = 2.0  # in z, whose components are of order one


def downhill_noise(
    energy_fn: EnergyFunction,
    positions: Float[Any, "n 3"],
    modes: Float[Any, "n 3 m"],
    start: Float[Any, " m"],
    *,
    kt: Float[Any, ""] | float,
    steps: int = 3,
    rate: float = 0.3,
) -> Float[Array, "n 3"]:
    """η = √kT Σ_m L_m z_m in Å, (n, 3), after a few steps down the energy from z = start.

    energy_fn: what shall be low at R* + η; under a bound with a margin, the energy less that margin.
    positions: R*, (n, 3) in Å; modes: L, (n, 3, m) in Å/√eV, displacements that cost about ½ eV each, as
    `data.thermal_modes` at kT = 1 eV; start: z, (m,), drawn by the caller, standard normal for thermal noise;
    kt: in eV. A step is −rate ∂(E/kT)/∂z, no longer than 2. All is detached: noise is no variable of a law.
    Why: of Gaussian noise all but a little lies along stiff modes. They raise the energy, and hide a soft
    mode along which it falls. Downhill the stiff ones relax first. Source: this project; it is the search of
    contrastive divergence (Hinton, Neural Comput. 14, 1771 (2002)) with the labelled minimum as data.
    Raises ValueError for a negative number of steps.
    """
    if steps < 0:
        raise ValueError(f"steps must not be negative, got {steps}")
    scaled = jnp.sqrt(kt) * modes

    def reduced(z: Float[Array, " m"]) -> Float[Array, ""]:
        return energy_fn(positions + scaled @ z) / kt

    def step(z: Float[Array, " m"], _: None) -> tuple[Float[Array, " m"], None]:
        move = rate * jax.grad(reduced)(z)
        length = jnp.sqrt(jnp.sum(move**2) + 1e-12)
        return z - move * jnp.minimum(1.0, LONGEST_STEP / length), None

    found, _ = jax.lax.scan(step, jnp.asarray(start), None, length=steps)
    return jax.lax.stop_gradient(scaled @ found)
