"""Samples of one distribution made into those of another by weights, and how many are left of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt32

from jaxphys.sampling.checks import check_counts, is_traced
from jaxphys.sampling.libraries import blackjax_module


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EffectiveSize:
    """Kish's effective number of samples: count, from 1 to m, and fraction, count / m; both ()."""

    count: Float[Array, ""]
    fraction: Float[Array, ""]


def importance_weights(log_weights: Float[Any, " m"]) -> Float[Array, " m"]:
    """Weights that sum to one, (m,), from their logarithms up to a common constant, (m,).

    For samples of exp(−E/kT) and another energy and temperature: E/kT − E'/kT'. A sample of −inf gets no
    weight. Raises ValueError for no samples, for NaN or +inf, and when all are −inf, outside of jit.
    """
    return jax.nn.softmax(_checked(log_weights))


def effective_sample_size(log_weights: Float[Any, " m"]) -> EffectiveSize:
    """(Σw)² / Σw² of weights given by their logarithms, (m,): as many equal ones would tell as much.

    It is too good when the samples miss where the weight would be: see `pareto_k`, which does not know
    either, but notices a heavy tail. Source: Kish, Survey Sampling (1965). Raises as `importance_weights`.
    """
    count = 1 / jnp.sum(importance_weights(log_weights) ** 2)
    return EffectiveSize(count, count / len(log_weights))


def pareto_k(log_weights: Float[Any, " m"]) -> Float[Array, ""]:
    """Shape k of the tail of the largest weights, (): below 0.5 they have a variance, above 0.7 no use.

    Infinite for fewer than 25 samples. Source: Vehtari, Simpson, Gelman, Yao, Gabry, JMLR 25, 72 (2024); by
    blackjax. Raises as `importance_weights`, and ModuleNotFoundError without blackjax.
    """
    return jax.jit(blackjax_module("blackjax.diagnostics").psis_weights)(_checked(log_weights))[1]


def resample(
    key: Key[Array, ""] | UInt32[Array, " 2"], weights: Float[Any, " m"], count: int
) -> Int[Array, " count"]:
    """So many places among m samples, ascending, each as often as its weight says, to less than one.

    weights: (m,), which sum to one. Systematic: one random number for all, which has the least noise.
    Source: Douc, Cappé, Moulines, ISPA 2005; by blackjax. Raises ValueError for weights that are negative,
    not finite, or do not sum to one, outside of jit.
    """
    check_counts(count=count)
    weights = jnp.asarray(weights)
    if weights.ndim != 1 or len(weights) == 0:
        raise ValueError(f"weights must have shape (samples,), at least one, got {weights.shape}")
    if not is_traced(weights):
        total = float(jnp.sum(weights))
        if not (abs(total - 1) < 1e-3 and bool(jnp.all(weights >= 0))):
            raise ValueError(f"weights must not be negative and sum to one, got a sum of {total}")
    # sums that end below one by rounding would send the rest to the last sample, whatever its weight
    weights = weights / jnp.cumsum(weights)[-1]
    return blackjax_module("blackjax.smc.resampling").systematic(key, weights, count)


def _checked(log_weights: Any) -> Float[Array, " m"]:
    """The logarithms as an array, of which at least one is finite."""
    log_weights = jnp.asarray(log_weights)
    if log_weights.ndim != 1:
        raise ValueError(f"log_weights must have shape (samples,), got {log_weights.shape}")
    if len(log_weights) == 0:
        raise ValueError("log_weights is empty: no samples to weigh, all were filtered away before")
    if is_traced(log_weights):
        return log_weights
    values = np.asarray(log_weights)
    wrong = np.isnan(values) | (values == np.inf)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(
            f"{wrong.sum()} of {len(values)} log weights are NaN or +inf, the first is number {first}"
        )
    if (values == -np.inf).all():
        raise ValueError(f"all {len(values)} log weights are -inf: no sample is possible under the target")
    return log_weights
