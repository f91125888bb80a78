"""Downhill for spins: the flip that gains most, until none gains."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxphys.energies import check_spins
from jaxphys.roles import SpinEnergy

LEAST_GAIN = 1e-5
"""Of the largest at the start: below, rounding flips free spins for ever."""


def relax_spins(energy_fn: SpinEnergy, spins: Float[Any, "*shape"]) -> Float[Array, "*shape"]:
    """Greedy descent by single flips: spins ±1 of the shape given, of which no flip lowers the energy.

    energy_fn: as `energies.ising`; spins: where to start, ±1. The spin whose flip lowers the energy most is
    flipped; a gain below 1e-5 of the largest at the start counts as none, so that free spins stay. Jittable.
    Raises ValueError for other spins, outside of jit.
    """
    if not isinstance(spins, jax.core.Tracer):
        check_spins(spins)
    start = jnp.asarray(spins)
    slope = jax.grad(energy_fn)

    def gains(flat: Float[Array, " n"]) -> Float[Array, " n"]:
        return 2 * flat * slope(flat.reshape(start.shape)).ravel()

    def flip(state: tuple[Array, Array]) -> tuple[Array, Array]:
        flat, gain = state
        best = jnp.argmax(gain)
        flat = flat.at[best].multiply(-1)
        return flat, gains(flat)

    first = start.ravel()
    gain = gains(first)
    least = LEAST_GAIN * jnp.max(jnp.abs(gain))
    end, _ = jax.lax.while_loop(lambda state: jnp.max(state[1]) > least, flip, (first, gain))
    return end.reshape(start.shape)
