"""The law of a measured ensemble average: samples of the model must have it, each of them need not."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float


def ensemble_property(
    values: Float[Any, " k"],
    target: Float[Any, ""] | float,
    *,
    mask: Bool[Any, " k"] | None = None,
) -> Float[Array, ""]:
    """[(Σ_i d_i)² − Σ_i d_i²] / (k (k − 1)) with d_i = f_i − target: unbiased for (⟨f⟩ − target)², ().

    values: f_i, (k,), the property of k independent samples of one system, such as foldedness of structures
    by `diffusion.rollout`, in any unit; target: ⟨f⟩ as measured, in it; mask: (k,) True for real samples, all
    if None. It is the mean of d_i d_j over pairs of different samples. The square of the mean has Var f / k
    on top, the mean of squares Var f: both reward samples that are all alike. It may be negative, by chance.
    Nothing is detached. Without real samples it is zero, with a single one not a number.
    Source: BioEmu's property-prediction fine-tuning, Lewis et al., bioRxiv 2024.12.05.626885, S.3.6, there
    of two samples; for more as it is released.
    Raises ValueError for fewer than two samples, where their number is known.
    """
    values = jnp.asarray(values)
    if values.ndim != 1:
        raise ValueError(f"values must be those of one system's samples, (k,), got shape {values.shape}")
    _check_count(len(values), mask)
    real = jnp.ones(len(values), bool) if mask is None else jnp.asarray(mask)
    deviations = jnp.where(real, values - target, 0.0)
    count = jnp.sum(real).astype(values.dtype)
    pairs = jnp.sum(deviations) ** 2 - jnp.sum(deviations**2)
    # 0/0, not a number, of a single sample; none at all is padding
    return pairs / jnp.where(count == 0, 1.0, count * (count - 1))


def _check_count(count: int, mask: Any) -> None:
    """Raise for fewer than two samples; none at all is padding, and what is traced has no number yet."""
    if mask is not None and isinstance(mask, jax.core.Tracer):
        return
    real = count if mask is None else int(np.sum(np.asarray(mask)))
    if real == 1 or (real == 0 and mask is None):
        raise ValueError(
            f"values must be of two independent samples or more, got {real}: the square of one is biased"
        )
