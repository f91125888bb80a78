"""The force over kT at the clean structure: a label of the score that is right at low noise for any data."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxphys.losses.force_matching import force_deviation
from jaxphys.roles import DenoiseFunction


def potential_score(
    denoise_fn: DenoiseFunction,
    positions: Float[Any, "n d"],
    forces: Float[Any, "n d"],
    noise: Float[Any, "n d"],
    sigma: Float[Any, ""] | float,
    *,
    kt: Float[Any, ""] | float,
    alpha: Float[Any, ""] | float = 1.0,
    mask: Bool[Any, " n"] | None = None,
) -> Float[Array, ""]:
    """Mean over atoms of |s(R_t, t) − F(R)/(α kT)|² in Å⁻², (), with the score s = (α D − R_t)/σ_t².

    positions: R, (n, d) in Å; forces: F = −∇E at R, (n, d) in eV/Å, labels: no energy is called; noise: ε,
    (n, d), without unit; sigma: σ_t in Å, R_t = α R + σ_t ε; kt: in eV; alpha: √ᾱ_t, 1 for the
    variance-exploding form, else σ_t is `alpha(t) · sigma(t)` of a `diffusion.VariancePreserving`; mask: (n,)
    True for real atoms, all if None. denoise_fn sees R_t/α and σ_t/α. The weight of the levels is the
    caller's: σ_t² makes the target of a preconditioned network of one size at small σ.
    Its minimiser is E_q[F(R) | R_t]/(α kT), q being where the data come from. If q is exp(−E/kT), that is the
    score at every level. If not, it is the score of exp(−E/kT) as σ → 0, whatever q is on its support, and
    wrong where the posterior of R is wide: at large σ `denoising_score` has the smaller error of the two.
    It never moves weight between basins that do not overlap: in each of them ∇log q is ∇log p.
    Source: Guo et al., TMLR 2025 (arXiv 2503.14569), potential score matching; with unbiased data De Bortoli
    et al., arXiv 2402.08667, target score matching. Raises ValueError for kT ≤ 0.
    """
    check_temperature(kt)
    noise = _real(noise, mask)
    noisy = positions + sigma / alpha * noise
    denoised = denoise_fn(noisy, sigma / alpha)
    score = (denoised - noisy) / (sigma / alpha) ** 2 / alpha
    return force_deviation(score, forces / (alpha * kt), mask=mask)


def blended_score(
    denoise_fn: DenoiseFunction,
    positions: Float[Any, "n d"],
    forces: Float[Any, "n d"],
    noise: Float[Any, "n d"],
    sigma: Float[Any, ""] | float,
    *,
    kt: Float[Any, ""] | float,
    blend: Float[Any, ""] | float,
    mask: Bool[Any, " n"] | None = None,
) -> Float[Array, ""]:
    """Mean over atoms of |D(R_σ, σ) − b R − (1 − b)(R_σ + σ² F(R)/kT)|² in Å², (), R_σ = R + σ ε.

    Both labels of one structure, b of the denoising one: 1 gives `denoising_score`, 0 σ⁴ times
    `potential_score`. positions, forces, noise, sigma, kt, mask: as of `potential_score`, not shrunk.
    blend: b, as `blend_weight` gives it. On data of exp(−E/kT) both labels have one mean, every b the same
    minimiser, and a good b a label of much less variance than either has. On other data b is a switch: the
    energy's shape on scales below the width, the data's above.
    Source: reference A.3 of potential score matching; Kahouli et al., arXiv 2512.20003, a control variate.
    Raises ValueError for kT ≤ 0.
    """
    check_temperature(kt)
    noisy = positions + sigma * _real(noise, mask)
    target = blend * positions + (1 - blend) * (noisy + sigma**2 * forces / kt)
    return force_deviation(denoise_fn(noisy, sigma), target, mask=mask)


def blend_weight(
    sigma: Float[Any, "*batch"] | float, width: Float[Any, ""] | float
) -> Float[Array, "*batch"]:
    """σ²/(σ² + width²): the part of the denoising label, 0 at small σ and 1 at large.

    sigma, width: in Å. For a Gaussian of this width a coordinate the blended label has no variance at all; in
    general `score_width` is a good one.
    """
    sigma = jnp.asarray(sigma, float)
    return sigma**2 / (sigma**2 + width**2)


def score_width(
    forces: Float[Any, "k n d"], kt: Float[Any, ""] | float, *, mask: Bool[Any, " n"] | None = None
) -> Float[Array, ""]:
    """kT over the root mean square of a force's components: the width in Å of a Gaussian with such forces.

    forces: (k, n, d) in eV/Å, of samples at kt, in eV; mask: (n,) True for real atoms, all if None. To lowest
    order in σ the blend that this width gives has the least variance. Raises ValueError for kT ≤ 0.
    """
    check_temperature(kt)
    squares = jnp.mean(jnp.asarray(forces) ** 2, axis=(0, 2))
    mean = jnp.mean(squares) if mask is None else jnp.sum(jnp.where(mask, squares, 0.0)) / jnp.sum(mask)
    return kt / jnp.sqrt(mean)


def check_temperature(kt: Any) -> None:
    """Raise ValueError for a kT that is known here and not positive; a traced one passes."""
    try:
        known = float(kt)
    except TypeError:  # a tracer's, whose value comes later
        return
    if not known > 0:
        raise ValueError(f"kt must be positive, in the energy's unit, got {known:g}")


def _real(noise: Float[Any, "n d"], mask: Bool[Any, " n"] | None) -> Float[Any, "n d"]:
    return noise if mask is None else jnp.where(mask[:, None], noise, 0.0)
