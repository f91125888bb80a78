"""What a denoiser makes of noise lies in a minimum of the energy: a law that lowers structures."""

from __future__ import annotations

from typing import Any

import jax
from jaxtyping import Array, Bool, Float

from jaxphys.losses.energy_hinge import energy_hinge, fixed_energy
from jaxphys.roles import EnergyFunction


def optimality_consistency(
    energy_fn: EnergyFunction,
    positions: Float[Any, "n 3"],
    noise: Float[Any, "n 3"],
    *,
    mask: Bool[Any, " n"] | None = None,
) -> Float[Array, ""]:
    """max(0, E(R*) − E(R* + η)) in eV, (): the structure lies below a perturbed one.

    positions: R*, (n, 3) in Å, made from noise in one step and carrying its gradient, as `diffusion.one_shot`
    at σ of 0.8 to 8 Å; noise: η, (n, 3) in Å, drawn by the caller, as normal numbers of a width up to 0.1 Å;
    mask: (n,) True for real atoms, all if None. Detached: the energy function and η, so that gradients,
    ∇E(R*) − ∇E(R* + η) where the perturbed energy is below, reach R* only: `energy_bound` turned round.
    Source: Ren et al., NeurIPS 2024 (arXiv 2410.10118), optimality consistency.
    """
    return energy_hinge(fixed_energy(energy_fn), positions, jax.lax.stop_gradient(noise), mask=mask)
