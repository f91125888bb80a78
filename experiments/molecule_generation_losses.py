"""The losses of positions that `experiments.molecule_generation` compares, and mirror images in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxphys import losses
from jaxphys.metrics import superpose

stiffness: dict[str, Callable[[Any], Any]] = {
    "exponential": lambda distance: 42.0 * jnp.exp(-distance),
    "inverse": lambda distance: 5.0 / distance,
    "inverse-square": lambda distance: 16.0 / distance**2,
    "constant": jnp.ones_like,
}


def squared_error(prediction: Any, target: Any, *, mask: Any) -> Any:
    """Mean over atoms of |ŷ_i − y_i|², as `losses.denoising_deviation`."""
    return losses.denoising_deviation(prediction, target, mask=mask)


def distance_energy(prediction: Any, target: Any, *, stiffness: Callable[[Any], Any], mask: Any) -> Any:
    """Σ_{i<j} k_ij (|y_i − y_j| − |ŷ_i − ŷ_j|)² / n of n real atoms, k from the target's distances."""
    pairs = mask[:, None] & mask & ~jnp.eye(len(mask), dtype=bool)

    def distances(positions: Any) -> Any:
        squares = jnp.sum((positions[:, None] - positions) ** 2, axis=-1)
        # no distance, no direction
        apart = pairs & (squares > 1e-12)
        return jnp.where(apart, jnp.sqrt(jnp.where(apart, squares, 1.0)), 0.0)

    rest = distances(target)
    springs = jnp.where(pairs, stiffness(jnp.where(pairs, rest, 1.0)), 0.0)
    return jnp.sum(springs * (distances(prediction) - rest) ** 2) / (2 * jnp.sum(mask))


def of_mirror_images(loss: Callable[..., Any], structures: list[np.ndarray]) -> float:
    """The mean of a loss where the prediction is the target's mirror image, turned onto it at its best."""
    values = []
    for positions in structures:
        mirrored = superpose(positions * np.array([1.0, 1.0, -1.0]), positions)
        values.append(
            float(loss(jnp.asarray(mirrored), jnp.asarray(positions), mask=np.ones(len(positions), bool)))
        )
    return float(np.mean(values))
