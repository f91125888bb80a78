"""The weight of a noise level in the loss of a denoiser."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float


def noise_weight(
    sigma: Float[Any, "*batch"] | float, *, spread: float = float("inf")
) -> Float[Array, "*batch"]:
    """1/σ² + 1/spread² in Å⁻²: what a loss in Å² on the denoised structure is multiplied by.

    sigma: σ in Å, of R + σ ε; spread: of the clean coordinates about their mean in Å, a component. Without a
    spread the squared error so weighted is that of ε; in the variance-preserving form α_t²/σ_t², with
    σ_t the state's own. With it, it is (σ² + s²)/(σ s)², which gives a preconditioned network, as
    `models.Denoiser`, one size of target at every level. Any law on the denoised structure can take the place
    of the squared error, `distance_energy` for one.
    Source: Ho et al., NeurIPS 2020; Karras et al., NeurIPS 2022 (arXiv 2206.00364), Table 1.
    """
    return 1 / jnp.asarray(sigma, float) ** 2 + 1 / spread**2
