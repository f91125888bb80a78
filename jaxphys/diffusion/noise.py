"""Structures and noise without the motion of the centre, in which diffusion of molecules lives."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, UInt32

from jaxphys.molecule import centred


def centred_noise(
    key: Key[Array, ""] | UInt32[Array, " 2"],
    shape: tuple[int, int],
    mask: Bool[Any, " n"] | None = None,
    *,
    dtype: Any = float,
) -> Float[Array, "n 3"]:
    """Normal numbers less their mean over atoms, (n, 3): unit variance along all directions that are left.

    shape: (n, 3); mask: (n,) True for real atoms, all if None; padded ones get zero, and change no draw.
    One atom alone gets zero. Raises ValueError for another shape.
    Source: Hoogeboom et al., ICML 2022 (EDM).
    """
    if len(shape) != 2 or shape[1] != 3:
        raise ValueError(f"shape must be (atoms, 3), got {shape}")
    keys = jax.vmap(lambda atom: jax.random.fold_in(key, atom))(jnp.arange(shape[0]))
    return centred(jax.vmap(lambda k: jax.random.normal(k, (3,), dtype))(keys), mask)
