"""What the losses of positions that `experiments.molecule_generation` compares say of mirror images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxphys.metrics import superpose


def of_mirror_images(loss: Callable[..., Any], structures: list[np.ndarray]) -> float:
    """The mean of a loss where the prediction is the target's mirror image, turned onto it at its best."""
    values = []
    for positions in structures:
        mirrored = superpose(positions * np.array([1.0, 1.0, -1.0]), positions)
        values.append(
            float(loss(jnp.asarray(mirrored), jnp.asarray(positions), mask=np.ones(len(positions), bool)))
        )
    return float(np.mean(values))
