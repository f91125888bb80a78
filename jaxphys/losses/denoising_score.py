"""The supervised loss of a denoiser: its estimate of a structure against the structure."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxphys.losses.force_matching import force_deviation
from jaxphys.roles import DenoiseFunction


def denoising_score(
    denoise_fn: DenoiseFunction,
    positions: Float[Any, "n d"],
    noise: Float[Any, "n d"],
    sigma: Float[Any, ""] | float,
    *,
    mask: Bool[Any, " n"] | None = None,
) -> Float[Array, ""]:
    """Mean over atoms of |D(R + σ ε, σ)_i − R_i|² in Å², ().

    positions: R, (n, d) in Å; noise: ε, (n, d), without unit, as `diffusion.centred_noise`; sigma: σ in Å;
    mask: (n,) True for real atoms, all if None. Its minimiser over functions is E[R | R + σ ε], and
    (D − R_σ) / σ² then the score of the noisy structures, at any weight of the levels, which is the caller's:
    1/σ² makes it the loss on ε. Nothing is detached. The target is not turned onto the noisy structure.
    Source: Vincent, Neural Comput. 23, 1661 (2011); Karras et al., NeurIPS 2022, Eq. 2.
    """
    if mask is not None:
        noise = jnp.where(mask[:, None], noise, 0.0)
    return denoising_deviation(denoise_fn(positions + sigma * noise, sigma), positions, mask=mask)


def denoising_deviation(
    denoised: Float[Any, "n d"], positions: Float[Any, "n d"], *, mask: Bool[Any, " n"] | None = None
) -> Float[Array, ""]:
    """Mean over atoms of |D_i − R_i|² in Å², (), of a denoised structure that is at hand."""
    return force_deviation(denoised, positions, mask=mask)
