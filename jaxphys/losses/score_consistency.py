"""At low noise the score of a denoiser is the force over kT: a law that hands it an energy's forces."""

from __future__ import annotations

from typing import Any

import jax
from jaxtyping import Array, Bool, Float

from jaxphys.losses.force_matching import force_deviation
from jaxphys.roles import DenoiseFunction, EnergyFunction


def score_consistency(
    energy_fn: EnergyFunction,
    denoise_fn: DenoiseFunction,
    positions: Float[Any, "n 3"],
    sigma: Float[Any, ""] | float,
    *,
    kt: Float[Any, ""] | float,
    alpha: Float[Any, ""] | float = 1.0,
    mask: Bool[Any, " n"] | None = None,
) -> Float[Array, ""]:
    """Mean over atoms of |(α D − R_t)/σ_t² + ∇E/kT|² in Å⁻², (), D and E at R_t/α.

    positions: R_t = α R + σ_t ε, (n, 3) in Å; sigma: σ_t in Å; kt: in eV; alpha: √ᾱ_t, 1 for the
    variance-exploding form, else σ_t is `alpha(t) · sigma(t)` of a `diffusion.VariancePreserving`; mask:
    (n,) True for real atoms, all if None. ∇ is by R_t: ∇E(R_t/α)/α. At R_t itself every bond would be
    compressed. denoise_fn sees R_t/α and σ_t/α. Detached: all but what the denoiser holds.
    The force is that of the noisy structure, so it holds for σ_t far below the Boltzmann width √(kT/k):
    at kT = 0.1 eV 0.05 Å for a bond, 0.6 Å for a torsion. `proximal_consistency` has no such limit on a
    parabola. The value grows as σ⁻⁴ of the denoiser's error in Å²; weights of the levels are the caller's.
    Source: Ren et al., NeurIPS 2024 (arXiv 2410.10118), score consistency, there 0.03 to 0.43 Å.
    """
    positions, sigma, alpha = jax.lax.stop_gradient((positions, sigma, alpha))
    clean = positions / alpha
    return score_deviation(
        denoise_fn(clean, sigma / alpha),
        positions,
        jax.grad(energy_fn)(clean),
        sigma,
        kt=kt,
        alpha=alpha,
        mask=mask,
    )


def score_deviation(
    denoised: Float[Any, "n 3"],
    positions: Float[Any, "n 3"],
    gradient: Float[Any, "n 3"],
    sigma: Float[Any, ""] | float,
    *,
    kt: Float[Any, ""] | float,
    alpha: Float[Any, ""] | float = 1.0,
    mask: Bool[Any, " n"] | None = None,
) -> Float[Array, ""]:
    """Mean over atoms of |(α D − R_t)/σ_t² + ∇E/(α kT)|² in Å⁻², (), of a structure D that is at hand.

    denoised: D, positions: R_t, both (n, 3) in Å; gradient: ∇E at R_t/α, (n, 3) in eV/Å; the rest as
    `score_consistency`. Detached: all but D.
    """
    others = (positions, gradient, sigma, kt, alpha)
    positions, gradient, sigma, kt, alpha = jax.lax.stop_gradient(others)
    return force_deviation((alpha * denoised - positions) / sigma**2, -gradient / (alpha * kt), mask=mask)
