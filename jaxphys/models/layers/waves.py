"""Embedding of a positive number, such as a level of noise, by its logarithm."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

_LEAST = 0.01
_FREQUENCIES = 8


def waves(value: Float[Any, ""] | float, dtype: Any) -> Float[Array, " f"]:
    """Sines and cosines of multiples of log(value + 0.01), (16,)."""
    frequencies = 0.4 * jnp.arange(1, _FREQUENCIES + 1, dtype=dtype)
    angles = frequencies * jnp.log(jnp.asarray(value, dtype) + _LEAST)
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)])
