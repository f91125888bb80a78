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
    """The structure of `ddim`, (n, d) in Å, with the derivative of its last `gradient_steps` steps alone.

    start: (n, d) in Å, at the first of the levels, such as σ_max · `centred_noise`; sigmas: (steps,) in Å,
    descending; the last may be far from zero, the step from there to the denoised structure is a long one;
    gradient_steps: 1 to steps; what comes before is a constant, costs no memory, and half the time.
    mask: (n,) True for real atoms, all if None; padded ones get zero.
    Source: as in BioEmu's fine-tuning, Lewis et al., bioRxiv 2024.12.05.626885, S.3.6, by Euler's rule.
    Raises ValueError for another number of gradient_steps.
    """
    here = jnp.asarray(sigmas, jnp.asarray(start).dtype)
    if not 1 <= gradient_steps <= len(here):
        raise ValueError(f"gradient_steps must be 1 to {len(here)}, the levels, got {gradient_steps}")
    there = jnp.append(here[1:], jnp.zeros_like(here[:1]))

    def step(positions: Array, levels: tuple[Array, Array]) -> tuple[Array, None]:
        sigma, after = levels
        denoised = _real(denoise_fn(positions, sigma), mask).astype(positions.dtype)
        return denoised + after / sigma * (positions - denoised), None

    first = len(here) - gradient_steps
    begun, _ = jax.lax.scan(step, _real(jnp.asarray(start), mask), (here[:first], there[:first]))
    # recomputed on the way back: a step's activations are many times the structure
    last = jax.checkpoint(step)
    return jax.lax.scan(last, jax.lax.stop_gradient(begun), (here[first:], there[first:]))[0]


def _real(positions: Float[Any, "n d"], mask: Bool[Any, " n"] | None) -> Float[Array, "n d"]:
    return positions if mask is None else jnp.where(mask[:, None], positions, 0.0)
