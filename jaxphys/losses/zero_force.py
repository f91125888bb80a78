"""At a labelled minimum no force acts: a law that needs no force label."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxphys.losses.force_matching import force_deviation
from jaxphys.roles import EnergyFunction


def zero_force(
    energy_fn: EnergyFunction, positions: Float[Any, "n 3"], *, mask: Bool[Any, " n"] | None = None
) -> Float[Array, ""]:
    """Mean over atoms of |∂E/∂r_i|² in eV²/Å², (), at a labelled minimum.

    positions: (n, 3) in Å, where the true energy is least; mask: (n,) True for real atoms, all if None.
    Nothing is detached. A constant energy fulfils it, so it never stands alone.
    Source: Yi et al., UAI 2023 (PMLR 216:2433), L_force, there the sum over atoms.
    """
    return force_deviation(jax.grad(energy_fn)(positions), jnp.zeros_like(positions), mask=mask)
