"""From noise to a structure: in one step, along the flow of the probability, or with fresh noise.

Positions are (n, d), d = 3 for molecules, in Å.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, UInt32

from jaxphys.diffusion.noise import centred_noise
from jaxphys.roles import DenoiseFunction


def one_shot(
    denoise_fn: DenoiseFunction,
    noise: Float[Any, "n d"],
    sigma: Float[Any, ""] | float,
    *,
    spread: Float[Any, ""] | float = 0.0,
    mask: Bool[Any, " n"] | None = None,
) -> Float[Array, "n d"]:
    """D(√(σ² + spread²) ε, σ) in Å, (n, d): a structure from noise by one call, differentiable.

    noise: ε, (n, d), as `centred_noise`; sigma: σ in Å, below the greatest but near: at the greatest every
    noise gives the mean of all structures, at less it chooses one; spread: of the structures' coordinates in
    Å, which noisy ones have besides; mask: (n,) True for real atoms, all if None; padded ones get zero.
    Source: Ren et al., NeurIPS 2024 (arXiv 2410.10118), there σ of 0.8 to 8 Å and a spread of 1 Å.
    """
    noise = jnp.asarray(noise)
    width = jnp.sqrt(jnp.asarray(sigma**2 + spread**2, noise.dtype))
    return _real(denoise_fn(_real(width * noise, mask), sigma), mask).astype(noise.dtype)


def ddim(
    denoise_fn: DenoiseFunction,
    start: Float[Any, "n d"],
    sigmas: Float[Any, " steps"],
    *,
    mask: Bool[Any, " n"] | None = None,
) -> Float[Array, "n d"]:
    """R' = D + (σ'/σ)(R − D) from level to level and last to σ' = 0, the denoised structure; (n, d) in Å.

    start: (n, d) in Å, at the first of the levels, such as σ_max · `centred_noise`; sigmas: (steps,) in Å,
    descending and positive, as `levels`; one call of denoise_fn each; mask: (n,) True for real atoms, all if
    None; padded ones get zero. Deterministic: Euler's rule for the flow that carries the noisy distribution
    to the clean one, exact for a denoiser that does not change on the way.
    Source: Song, Meng, Ermon, ICLR 2021; as an ODE in σ, Karras et al., NeurIPS 2022. From about eight
    steps on `dpm_solver` is more exact. Raises ValueError without levels.
    """
    return _flow(denoise_fn, start, sigmas, jnp.zeros_like(jnp.asarray(sigmas)), mask)


def dpm_solver(
    denoise_fn: DenoiseFunction,
    start: Float[Any, "n d"],
    sigmas: Float[Any, " steps"],
    *,
    mask: Bool[Any, " n"] | None = None,
) -> Float[Array, "n d"]:
    """`ddim` with D extrapolated from the step before: second order in ln σ for the same calls; (n, d) in Å.

    Arguments as of `ddim`. First and last step are of first order. With ten calls from 10 to 0.01 Å, to
    a mixture of structures, its error is a third of that of `ddim`, and Heun's rule, with two calls a step,
    has four times that of `ddim`; with five calls `ddim` is the most exact.
    Source: Lu et al., DPM-Solver++ (arXiv 2211.01095), algorithm 2M. Raises ValueError without levels.
    """
    sigmas = jnp.asarray(sigmas)
    widths = jnp.log(sigmas[:-1] / sigmas[1:])
    inner = widths[1:] / (2 * widths[:-1])
    # nothing to extrapolate from at first, and no width of the last step in ln σ
    return _flow(denoise_fn, start, sigmas, jnp.zeros_like(sigmas).at[1:-1].set(inner), mask)


def stochastic(
    denoise_fn: DenoiseFunction,
    key: Key[Array, ""] | UInt32[Array, " 2"],
    start: Float[Any, "n d"],
    sigmas: Float[Any, " steps"],
    *,
    eta: Float[Any, ""] | float = 1.0,
    mask: Bool[Any, " n"] | None = None,
    centre: bool = True,
) -> Float[Array, "n d"]:
    """R' = D + √(σ'² − s²)/σ (R − D) + s ε with s = η σ' √(1 − σ'²/σ²), last to σ' = 0; (n, d) in Å.

    key: of the noise, which is that of `centred_noise`; eta: η from 0, which is `ddim`, to 1, ancestral
    sampling, the posterior of each level were D the true structure; centre: False where the place in space
    counts, as on a surface, and noise moves the centre too; other arguments as of `ddim`. Fresh noise
    corrects what earlier steps did wrong, and wants more steps.
    Source: Song, Meng, Ermon, ICLR 2021, Eq. 16, for structures that are not shrunk. Raises ValueError
    without levels.
    """
    start, here, there = _prepared(start, sigmas, mask)
    # as rounding may not make a root of less than nothing
    fresh = eta * there * jnp.sqrt(jnp.maximum(1 - (there / here) ** 2, 0.0))
    kept = jnp.sqrt(jnp.maximum(there**2 - fresh**2, 0.0)) / here

    def step(positions: Array, inputs: tuple[Array, Array, Array, Array]) -> tuple[Array, None]:
        sigma, keep, width, own_key = inputs
        denoised = _real(denoise_fn(positions, sigma), mask).astype(positions.dtype)
        if centre:
            noise = centred_noise(own_key, positions.shape, mask, dtype=positions.dtype)
        else:
            noise = _real(jax.random.normal(own_key, positions.shape, positions.dtype), mask)
        return denoised + keep * (positions - denoised) + width * noise, None

    inputs = (here, kept.astype(start.dtype), fresh.astype(start.dtype), jax.random.split(key, len(here)))
    return jax.lax.scan(step, start, inputs)[0]


def restart(
    denoise_fn: DenoiseFunction,
    key: Key[Array, ""] | UInt32[Array, " 2"],
    positions: Float[Any, "n d"],
    sigmas: Float[Any, " steps"],
    *,
    repeats: int = 1,
    mask: Bool[Any, " n"] | None = None,
) -> Float[Array, "n d"]:
    """A structure noised to the first of the levels and denoised by `ddim` again, so many times; (n, d) in Å.

    positions: (n, d) in Å, a finished structure; sigmas: (steps,) in Å, as of `ddim`, from the level whose
    errors are to be mended: more forgets the structure; key, mask: as of `stochastic`. What earlier steps did
    wrong on scales below the first level is lost in the noise and done anew. No repeats give the structure.
    Source: Xu et al., NeurIPS 2023 (arXiv 2306.14878), Eq. 3, with t_min = 0. Raises ValueError without
    levels, or for fewer than no repeats.
    """
    if repeats < 0:
        raise ValueError(f"repeats must not be negative, got {repeats}")
    positions, here, _ = _prepared(positions, sigmas, mask)

    def once(structure: Array, own_key: Array) -> tuple[Array, None]:
        noise = centred_noise(own_key, structure.shape, mask, dtype=structure.dtype)
        return ddim(denoise_fn, structure + here[0] * noise, here, mask=mask), None

    return jax.lax.scan(once, positions, jax.random.split(key, repeats))[0]


def settle(
    denoise_fn: DenoiseFunction,
    positions: Float[Any, "n d"],
    sigmas: Float[Any, " steps"],
    *,
    mask: Bool[Any, " n"] | None = None,
) -> Float[Array, "n d"]:
    """A structure replaced by D(structure, σ) at one level after the other, without noise; (n, d) in Å.

    positions: (n, d) in Å, a finished structure; sigmas: (steps,) in Å and positive, in any order, repeated
    ones included; mask: as of `ddim`. D − R is σ² times the score, so that it climbs the density of noisy
    structures, to its mode: a sample of a temperature becomes a minimum. No levels give the structure.
    Source: mean shift, Fukunaga, Hostetler, IEEE Trans. Inf. Theory 21, 32 (1975).
    """
    start = _real(jnp.asarray(positions), mask)

    def step(structure: Array, sigma: Array) -> tuple[Array, None]:
        return _real(denoise_fn(structure, sigma), mask).astype(structure.dtype), None

    return jax.lax.scan(step, start, jnp.asarray(sigmas, start.dtype))[0]


def _flow(
    denoise_fn: DenoiseFunction,
    start: Float[Any, "n d"],
    sigmas: Float[Any, " steps"],
    lead: Float[Array, " steps"],
    mask: Bool[Any, " n"] | None,
) -> Float[Array, "n d"]:
    """Steps along D + lead (D − D of the step before)."""
    start, here, there = _prepared(start, sigmas, mask)

    def step(
        carry: tuple[Array, Array], inputs: tuple[Array, Array, Array]
    ) -> tuple[tuple[Array, Array], None]:
        positions, before = carry
        sigma, keep, ahead = inputs
        denoised = _real(denoise_fn(positions, sigma), mask).astype(positions.dtype)
        goal = denoised + ahead * (denoised - before)
        return (goal + keep * (positions - goal), denoised), None

    inputs = (here, there / here, lead.astype(start.dtype))
    return jax.lax.scan(step, (start, jnp.zeros_like(start)), inputs)[0][0]


def _prepared(
    start: Float[Any, "n d"], sigmas: Float[Any, " steps"], mask: Bool[Any, " n"] | None
) -> tuple[Float[Array, "n d"], Float[Array, " steps"], Float[Array, " steps"]]:
    """The start without padding, and where each step begins and ends, in its dtype."""
    start = _real(jnp.asarray(start), mask)
    here = jnp.asarray(sigmas, start.dtype)
    if len(here) == 0:
        raise ValueError("sigmas must hold at least one level, got none")
    return start, here, jnp.append(here[1:], jnp.zeros_like(here[:1]))


def _real(positions: Float[Any, "n d"], mask: Bool[Any, " n"] | None) -> Float[Array, "n d"]:
    return positions if mask is None else jnp.where(mask[:, None], positions, 0.0)
