"""Hidden atoms to be named by their surroundings: cross entropy, and the draw of which are hidden."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key, UInt32


def masked_atoms(
    logits: Float[Any, "n classes"], elements: Int[Any, " n"], hidden: Bool[Any, " n"]
) -> Float[Array, ""]:
    """Mean over the hidden atoms of −log p_i(element of i), (), dimensionless; 0 where none is hidden.

    logits: (n, classes); elements: (n,) classes from 0 on, atomic numbers if `classes` reaches beyond the
    heaviest; hidden: (n,) as drawn by `hide_atoms`, never of padding. Atoms that are not hidden count for
    nothing, in value and gradient. A hidden element beyond the classes gives NaN. Nothing is detached.
    Source: Yi et al., UAI 2023 (PMLR 216:2433), L_mask.
    """
    # what is not hidden may be padding, with any logits and any class
    logits = jnp.where(hidden[:, None], logits, 0.0)
    entropies = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.where(hidden, elements, 0))
    count = jnp.sum(hidden, dtype=logits.dtype)
    return jnp.sum(jnp.where(hidden, entropies, 0.0)) / jnp.maximum(count, 1.0)


def hide_atoms(
    key: Key[Array, ""] | UInt32[Array, " 2"], mask: Bool[Any, " n"], *, probability: float = 0.3
) -> Bool[Array, " n"]:
    """Which atoms to hide, (n,): each real one with the probability given, on its own; padding never.

    mask: (n,) True for real atoms. In a small molecule it may be none. Padding does not change the draw.
    Raises ValueError for a probability outside [0, 1]. Source: as `masked_atoms`, probability 0.3.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"probability must lie in [0, 1], got {probability}")
    keys = jax.vmap(lambda atom: jax.random.fold_in(key, atom))(jnp.arange(len(mask)))
    return jax.vmap(lambda k: jax.random.bernoulli(k, probability))(keys) & mask
