"""A structure sampled so that a loss on it can be differentiated: gradients of the last steps only."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxphys.roles import DenoiseFunction


def rollout(
    denoise_fn: DenoiseFunction,
    start: Float[Any, "n d"],
    sigmas: Float[Any, " steps"],
    *,
    gradient_steps: int,
    mask: Bool[Any, " n"] | None = None,
) -> Float[Array, "n d"]:
    """The structure of `dpm_solver`, (n, d) in Å, with the derivative of its last steps alone.

    start: (n, d) in Å, at the first of the levels, such as σ_max · `centred_noise`; sigmas: (steps,) in Å,
    descending; the last may be far from zero, the step from there to the denoised structure is a long one;
    gradient_steps: 1 to steps; what comes before is a constant, costs no memory, and half the time.
    mask: (n,) True for real atoms, all if None; padded ones get zero. The nearer its averages are to those of
    the sampler that is used in the end, the better what is learned holds there: with as few steps `ddim` is
    too far off.
    Source: as in BioEmu's fine-tuning, Lewis et al., bioRxiv 2024.12.05.626885, S.3.6, and as it is released.
    Raises ValueError for another number of gradient_steps.
    """
    here = jnp.asarray(sigmas, jnp.asarray(start).dtype)
    if not 1 <= gradient_steps <= len(here):
        raise ValueError(f"gradient_steps must be 1 to {len(here)}, the levels, got {gradient_steps}")
    there = jnp.append(here[1:], jnp.zeros_like(here[:1]))
    levels = (here, there / here, _leads(here))

    def step(carry: tuple[Array, Array], level: tuple[Array, ...]) -> tuple[tuple[Array, Array], None]:
        positions, before = carry
        sigma, keep, lead = level
        denoised = _real(denoise_fn(positions, sigma), mask).astype(positions.dtype)
        goal = denoised + lead * (denoised - before)
        return (goal + keep * (positions - goal), denoised), None

    first = len(here) - gradient_steps
    begin = _real(jnp.asarray(start), mask)
    begun = (begin, jnp.zeros_like(begin))
    if first:  # a loop of no steps would still be compiled
        begun, _ = jax.lax.scan(step, begun, tuple(part[:first] for part in levels))
    # recomputed on the way back: a step's activations are many times the structure
    end, _ = jax.lax.scan(
        jax.checkpoint(step), jax.lax.stop_gradient(begun), tuple(part[first:] for part in levels)
    )
    return end[0]


def _leads(sigmas: Float[Array, " steps"]) -> Float[Array, " steps"]:
    """By how much of its last change D is extrapolated in each step, as in `dpm_solver`."""
    widths = jnp.log(sigmas[:-1] / sigmas[1:])
    # nothing to extrapolate from at first, and no width of the last step in ln σ
    return jnp.zeros_like(sigmas).at[1:-1].set(widths[1:] / (2 * widths[:-1]))


def _real(positions: Float[Any, "n d"], mask: Bool[Any, " n"] | None) -> Float[Array, "n d"]:
    return positions if mask is None else jnp.where(mask[:, None], positions, 0.0)
