"""Samples along the flow of the probability, each with the density that the model gives it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxphys.molecule import centred
from jaxphys.roles import DenoiseFunction


def flow_with_density(
    denoise_fn: DenoiseFunction,
    start: Float[Any, "n d"],
    sigmas: Float[Any, " steps"],
    *,
    centre: bool = True,
) -> tuple[Float[Array, "n d"], Float[Array, ""]]:
    """The structure that the flow makes of noise, (n, d) in Å, and ln q of it, (): the model's own density.

    start: (n, d) in Å, σ_max · `centred_noise`, or without centre σ_max times normal numbers; sigmas:
    (steps,) in Å, descending and positive, from σ_max to the level of the structure, whose last noise stays
    in it; centre: as of `stochastic`; with it q is a density over structures with their mean at zero.
    dR/dσ = (R − D)/σ and d ln q/dσ = −(k − tr ∂D/∂R)/σ, of k degrees of freedom, by Heun's rule in ln σ: two
    calls of denoise_fn a step, each with all n·d directions of its Jacobian. exp(−E/kT)/q are then weights
    that make the samples those of the energy, of local shape and of basins alike, where q covers them: see
    `sampling.importance_weights`.
    Source: Song et al., ICLR 2021, Eq. 39; as importance weights Noé et al., Science 365, eaaw1147 (2019).
    Raises ValueError for fewer than two levels.
    """
    start, sigmas = jnp.asarray(start), jnp.asarray(sigmas)
    if len(sigmas) < 2:
        raise ValueError(f"sigmas must hold at least two levels, got {len(sigmas)}")
    freedom = (start.shape[0] - centre) * start.shape[1]

    def slopes(positions: Array, sigma: Array) -> tuple[Array, Array]:
        """By ln σ, of the structure and of −ln q."""
        jacobian, denoised = jax.jacfwd(lambda r: (denoise_fn(r, sigma),) * 2, has_aux=True)(positions)
        trace = jnp.einsum("iaia->", jacobian)
        if not centre:
            return positions - denoised, freedom - trace
        # what a motion of the centre would do does not count
        trace = trace - jnp.einsum("iaja->", jacobian) / len(positions)
        return centred(positions - denoised), freedom - trace

    def step(carry: tuple[Array, Array], ends: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        positions, log_density = carry
        width = jnp.log(ends[1] / ends[0]).astype(positions.dtype)
        move, spread = slopes(positions, ends[0])
        move_there, spread_there = slopes(positions + width * move, ends[1])
        positions = positions + width * (move + move_there) / 2
        return (positions, log_density - width * (spread + spread_there) / 2), None

    first = -jnp.sum((start / sigmas[0]) ** 2) / 2 - freedom * jnp.log(jnp.sqrt(2 * jnp.pi) * sigmas[0])
    return jax.lax.scan(step, (start, first.astype(start.dtype)), (sigmas[:-1], sigmas[1:]))[0]
