"""A denoised structure minimises energy plus distance to the noisy one: score consistency at every noise."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxphys.losses.energy_hinge import fixed_energy
from jaxphys.roles import EnergyFunction


def proximal_consistency(
    energy_fn: EnergyFunction,
    denoised: Float[Any, "n 3"],
    positions: Float[Any, "n 3"],
    sigma: Float[Any, ""] | float,
    *,
    kt: Float[Any, ""] | float,
    mask: Bool[Any, " n"] | None = None,
) -> Float[Array, ""]:
    """E(D)/kT + |D − R_σ|²/(2σ²) in units of kT, dimensionless, (): −log p(D | R_σ) up to a constant.

    denoised: D(R_σ), (n, 3) in Å, carrying its gradient; positions: R_σ = R + σ ε, (n, 3) in Å; sigma: σ in
    Å; kt: in eV; mask: (n,) True for real atoms, all if None. A sum over atoms, as the energy is; an offset
    of the energy changes no gradient. Detached: all but D, the energy function included.
    Its gradient (D − R_σ)/σ² + ∇E(D)/kT is the residual of `score_consistency` with the force taken at the
    denoised structure in place of the noisy one. For a harmonic E its minimiser is the posterior mean at
    every σ; that of the published form overshoots the minimum once σ > √(kT/k). Where E is not harmonic the
    minimiser is the most probable clean structure, the mean only at small σ.
    Source: this project; the minimiser is the proximal map of E (Moreau, Bull. SMF 93, 273 (1965)).
    """
    positions, sigma, kt = jax.lax.stop_gradient((positions, sigma, kt))
    difference = denoised - positions
    if mask is not None:
        difference = jnp.where(mask[:, None], difference, 0.0)
    return fixed_energy(energy_fn)(denoised) / kt + jnp.sum(difference**2) / (2 * sigma**2)
