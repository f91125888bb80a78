"""What an arm of `experiments.debiasing` learns from: the label of each noisy structure, and its weight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.debiasing_systems import FLOAT, Denoiser, System, forces
from jaxphys import diffusion, losses


def examples(system: System, positions: Array) -> dict[str, Array]:
    """Structures, those of molecules with their mean at zero, and their forces: one call each."""
    clean = jnp.asarray(positions, FLOAT)
    return {
        "positions": jax.vmap(diffusion.centred)(clean) if system.centre else clean,
        "forces": forces(jax.tree_util.Partial(system.energy_fn), clean),
    }


def arm_loss(
    system: System,
    denoise: Denoiser,
    label: str,
    *,
    width: float,
    spread: float,
) -> Callable[..., tuple[Any, Any, dict[str, Any]]]:
    """The loss of a batch of `examples`, as `make_train_step` takes it.

    label: "denoising", "potential" or "blend". width: below which σ a blend goes by the energy, and beyond
    which the potential score, whose variance grows with σ² there, has less weight. spread: of the data.
    """

    def loss(params: Any, batch: dict[str, Array], key: Any) -> tuple[Any, Any, dict[str, Any]]:
        clean, labels = batch["positions"], batch["forces"]
        of_levels, of_noise = jax.random.split(key)
        sigmas = draw_levels(of_levels, len(clean), system.levels)
        noise = draw_noise(of_noise, clean.shape, centre=system.centre)
        blends = losses.blend_weight(sigmas, width).astype(FLOAT)
        blends = {"denoising": jnp.ones_like(blends), "potential": jnp.zeros_like(blends), "blend": blends}[
            label
        ]
        weights = losses.noise_weight(sigmas, spread=spread)
        if label == "potential":
            weights = weights * width**2 / (sigmas**2 + width**2)

        def one(r: Array, f: Array, e: Array, sigma: Array, blend: Array) -> Array:
            def denoise_fn(x: Any, s: Any) -> Any:
                return denoise(params, x, s)

            return losses.blended_score(denoise_fn, r, f, e, sigma, kt=system.kt, blend=blend)

        values = jax.vmap(one)(clean, labels, noise, sigmas, blends)
        return jnp.sum(weights * values), len(clean), {}

    return loss


def draw_levels(key: Any, count: int, levels: tuple[float, float]) -> Float[Array, " count"]:
    """σ evenly in the logarithm, one in each of as many parts: less noise in the loss of a batch."""
    low, high = levels
    own = jax.random.uniform(key, (count,))
    return (low * (high / low) ** ((jnp.arange(count) + own) / count)).astype(FLOAT)


def draw_noise(key: Any, shape: tuple[int, ...], *, centre: bool) -> Float[Array, "k n d"]:
    """Normal numbers, without the motion of each centre if asked for."""
    noise = jax.random.normal(key, shape, FLOAT)
    return noise - jnp.mean(noise, axis=1, keepdims=True) if centre else noise


def spread_of(positions: Any) -> float:
    """Of the coordinates about the mean structure's place, one number."""
    positions = np.asarray(positions)
    return float(np.std(positions - positions.mean(axis=(0, 1))))
