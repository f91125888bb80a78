"""Free-energy differences between basins, with intervals that stay honest where a basin is empty; host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy.typing import ArrayLike
from scipy.stats import binomtest, bootstrap

from jaxphys.metrics.sample_checks import checked_weights


@dataclass(frozen=True)
class Estimate:
    """A number with the bounds of its confidence interval, in its unit; bounds may be infinite."""

    value: float
    low: float
    high: float


def basin_free_energy(
    in_basin: Bool[Any, " k"],
    *,
    kt: float,
    weights: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """ΔF = F(basin) − F(elsewhere) = −kT ln(p / (1 − p)) in the unit of kt, with its confidence interval.

    in_basin: (k,) whether each sample is in the basin; p is their part. kt: kT. weights: (k,) importance
    weights, at least 0. groups: (k,) labels of what is independent, such as walkers or blocks of a chain;
    samples of one group may be correlated. With neither, samples are taken for independent and the interval
    is Wilson's; otherwise it is a percentile bootstrap over groups, or over samples, which is too narrow for
    few groups. An empty basin has ΔF = +inf with a finite lower bound, a full one −inf with a finite upper
    bound, from Wilson's interval for as many draws as there effectively are groups.
    Raises ValueError for no samples, kt ≤ 0, weights that are none, fewer than two groups.
    """
    inside = np.asarray(in_basin)
    if inside.ndim != 1 or not len(inside) or inside.dtype != bool:
        raise ValueError(f"in_basin must be booleans (k,), k > 0, got {inside.dtype} of {inside.shape}")
    if not kt > 0 or not 0 < confidence < 1:
        raise ValueError(f"kt must be above 0 and confidence within (0, 1), got {kt}, {confidence}")
    if weights is None and groups is None:
        part = float(inside.mean())
        low, high = _wilson(int(inside.sum()), len(inside), confidence)
    else:
        folded, total = _by_group(inside, checked_weights(weights, len(inside)), groups)
        # summed as the total is, so that a full basin gives exactly one
        part = float(folded.sum() / total.sum())
        low, high = _over_groups(folded, total, confidence, resamples, seed)
    # the free energy falls with the part
    return Estimate(_free_energy(part, kt), _free_energy(high, kt), _free_energy(low, kt))


def _free_energy(part: float, kt: float) -> float:
    with np.errstate(divide="ignore"):
        return float(-kt * (np.log(part) - np.log1p(-part)))


def _wilson(count: int, draws: int, confidence: float) -> tuple[float, float]:
    interval = binomtest(count, draws).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def _by_group(inside: np.ndarray, weights: np.ndarray, groups: Any) -> tuple[np.ndarray, np.ndarray]:
    """Weight in the basin and weight of each group with any."""
    labels = np.arange(len(inside)) if groups is None else np.asarray(groups)
    if labels.shape != inside.shape:
        raise ValueError(f"groups must be {len(inside)} labels, one a sample, got {labels.shape}")
    names, place = np.unique(labels, return_inverse=True)
    total = np.bincount(place, weights, len(names))
    folded = np.bincount(place[inside], weights[inside], len(names))
    if np.count_nonzero(total) < 2:
        raise ValueError(f"an interval needs at least two groups of weight, got {np.count_nonzero(total)}")
    return folded[total > 0], total[total > 0]


def _over_groups(
    folded: np.ndarray, total: np.ndarray, confidence: float, resamples: int, seed: int
) -> tuple[float, float]:
    if not folded.any() or (folded == total).all():
        # every resample is the same: what is not there has a bound by the number of independent draws alone
        draws = max(1, int(total.sum() ** 2 / np.sum(total**2)))
        return _wilson(draws if folded.any() else 0, draws, confidence)
    found = bootstrap(
        (folded, total),
        lambda inside, all_of, axis: inside.sum(axis) / all_of.sum(axis),
        paired=True,
        vectorized=True,
        method="percentile",
        confidence_level=confidence,
        n_resamples=resamples,
        batch=100,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(np.clip(found.low, 0, 1)), float(np.clip(found.high, 0, 1))
