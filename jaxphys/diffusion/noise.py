"""Structures and noise without the motion of the centre, in which diffusion of molecules lives."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, UInt32

from jaxphys.molecule import centred


def centred_noise(
    key: Key[Array, ""] | UInt32[Array, " 2"],
    shape: tuple[int, ...],
    mask: Bool[Any, " n"] | None = None,
    *,
    dtype: Any = float,
) -> Float[Array, "n d"]:
    """Normal numbers less their mean over atoms, (n, d): unit variance along all directions that are left.

    shape: (n, d), d = 3 for molecules; mask: (n,) True for real atoms, all if None; padded ones get zero, and
    change no draw. One atom alone gets zero. Raises ValueError for another number of axes.
    Source: Hoogeboom et al., ICML 2022 (EDM).
    """
    if len(shape) != 2:
        raise ValueError(f"shape must be (atoms, dimensions), got {shape}")
    keys = jax.vmap(lambda atom: jax.random.fold_in(key, atom))(jnp.arange(shape[0]))
    return centred(jax.vmap(lambda k: jax.random.normal(k, shape[1:], dtype))(keys), mask)
