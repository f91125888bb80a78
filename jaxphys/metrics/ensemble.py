"""How far an ensemble is from a reference, in energies and in distances, and the noise floor of each number.

All functions run on the host. A distance between finite samples is never zero: print `measured` values, which
stand beside their floor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.spatial.distance import pdist

from jaxphys.metrics.sample_checks import checked_samples, checked_weights


def energy_wasserstein(
    samples: ArrayLike,
    reference: ArrayLike,
    *,
    p: int = 2,
    weights: ArrayLike | None = None,
    reference_weights: ArrayLike | None = None,
    limits: tuple[float, float] | None = None,
) -> float:
    """Wasserstein distance W_p between two lists of energies, in their unit; for p = 2 with the root taken.

    samples: (m,), reference: (k,), in one unit; m and k may differ. weights, reference_weights: of each, at
    least 0, equal for None. limits: both lists are clipped to them first, so that a few clashes do not decide
    the number; then ±infinity is allowed. Clipped and unclipped values are not comparable.
    Raises ValueError for no samples, NaN, infinity without limits, and weights that are none;
    ModuleNotFoundError without POT.
    Source: E-W2 of Akhound-Sadegh et al., ICML 2024 (iDEM), clipped in Tan et al., ICML 2025 (SBG).
    """
    if p not in (1, 2):
        raise ValueError(f"p must be 1 or 2, got {p}")
    if limits is not None:
        if not limits[0] < limits[1]:
            raise ValueError(f"limits must be (low, high) with low < high, got {limits}")
        samples, reference = np.clip(samples, *limits), np.clip(reference, *limits)
    one, other = (
        checked_samples(samples, (None,), "samples"),
        checked_samples(reference, (None,), "reference"),
    )
    return _line_wasserstein(
        one,
        other,
        p,
        checked_weights(weights, len(one)),
        checked_weights(reference_weights, len(other), "reference_weights"),
    )


def distance_wasserstein(
    samples: Float[Any, "m n d"], reference: Float[Any, "k n d"], *, weights: Float[Any, " m"] | None = None
) -> float:
    """W2 between all pair distances of samples (m, n, d) and of a reference (k, n, d), in their unit.

    weights: (m,) of the samples, equal for None. Every pair counts alike, so it is for identical particles.
    Raises ValueError for shapes that do not match, fewer than two particles, positions that are not finite,
    weights that are none; ModuleNotFoundError without POT.
    """
    one, other = _pair_distances(samples, reference)
    pairs = one.shape[1]
    shares = np.repeat(checked_weights(weights, len(one)) / pairs, pairs)
    return _line_wasserstein(one.ravel(), other.ravel(), 2, shares, checked_weights(None, other.size))


def distance_variation(
    samples: Float[Any, "m n d"],
    reference: Float[Any, "k n d"],
    *,
    bins: int = 200,
    weights: Float[Any, " m"] | None = None,
) -> float:
    """Total variation ½ Σ|Δp|, 0 to 1, between histograms of all pair distances of samples and reference.

    samples: (m, n, d), reference: (k, n, d), in one unit; weights: (m,) of the samples, equal for None. The
    bins divide the range of the reference. Distances outside of it count as one cell more on either side;
    the code named below drops them, which hides particles that flew apart, and is the same otherwise.
    Raises ValueError as `distance_wasserstein`, and for no bins.
    Source: the code of Akhound-Sadegh et al., ICML 2024 (iDEM), 200 bins.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    one, other = _pair_distances(samples, reference)
    edges = np.histogram_bin_edges(other, bins)
    # The last edge belongs to the last bin, as in numpy.histogram.
    edges = np.concatenate([[-np.inf], edges[:-1], [np.nextafter(edges[-1], np.inf), np.inf]])
    shares = np.repeat(checked_weights(weights, len(one)), one.shape[1]) / one.shape[1]
    found = np.histogram(one, edges, weights=shares.reshape(one.shape))[0]
    expected = np.histogram(other, edges)[0] / other.size
    return float(0.5 * np.abs(found - expected).sum())


@dataclass(frozen=True)
class Measured:
    """A metric beside its floor, both in the metric's unit, each a mean over repeats with its deviation.

    value: between `size` samples and `size` of the reference. floor: between two disjoint sets of `size`
    of the reference, what a perfect model would get. The deviations are over repeats that draw from the same
    lists, so they tell too little once a good part of a list is drawn each time.
    """

    value: float
    value_deviation: float
    floor: float
    floor_deviation: float
    size: int
    repeats: int


def measured(
    metric: Callable[[np.ndarray, np.ndarray], float],
    samples: np.ndarray,
    reference: np.ndarray,
    *,
    size: int = 2000,
    repeats: int = 5,
    seed: int = 0,
) -> Measured:
    """A metric of samples against a reference beside its noise floor, at the same size of both.

    metric: (samples, reference) → float. samples: (m, …), reference: (k, …), of equal weight: resample
    weighted ones first. size: at most m and k / 2. Raises ValueError for other sizes and no repeats.
    """
    floor, floor_deviation = noise_floor(metric, reference, size, repeats=repeats, seed=seed)
    if len(samples) < size:
        raise ValueError(f"size must be at most the number of samples, {len(samples)}, got {size}")
    rng = np.random.default_rng([seed, 1])
    values = [
        metric(
            samples[rng.permutation(len(samples))[:size]], reference[rng.permutation(len(reference))[:size]]
        )
        for _ in range(repeats)
    ]
    return Measured(float(np.mean(values)), float(np.std(values)), floor, floor_deviation, size, repeats)


def noise_floor(
    metric: Callable[[np.ndarray, np.ndarray], float],
    reference: np.ndarray,
    size: int,
    *,
    repeats: int = 5,
    seed: int = 0,
) -> tuple[float, float]:
    """Mean and deviation of a metric between two disjoint random sets of `size` from the reference (k, …).

    What a perfect sampler would get from that many independent samples, in the metric's unit. Where the
    reference is a Markov chain, its own correlations are in it. Raises ValueError unless 2 size ≤ k, and for
    no repeats.
    """
    reference = np.asarray(reference)
    if not 1 <= size <= len(reference) // 2:
        raise ValueError(
            f"two disjoint sets of {size} from a reference of {len(reference)}: size must be from 1 to "
            f"{len(reference) // 2}"
        )
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    rng = np.random.default_rng([seed, 0])
    values = []
    for _ in range(repeats):
        order = rng.permutation(len(reference))
        values.append(metric(reference[order[:size]], reference[order[size : 2 * size]]))
    return float(np.mean(values)), float(np.std(values))


def optimal_transport() -> ModuleType:
    """The package POT. Raises ModuleNotFoundError that says how to install it."""
    try:
        import ot
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Wasserstein distances need POT, which is not installed: pip install 'jaxphys[ensembles]'",
            name=error.name,
        ) from None
    return ot


def _line_wasserstein(
    one: np.ndarray, other: np.ndarray, p: int, one_weights: np.ndarray, other_weights: np.ndarray
) -> float:
    # POT gives the power p of the distance; rounding may leave a little less than zero of it
    power = optimal_transport().wasserstein_1d(one, other, one_weights, other_weights, p=p)
    return float(max(float(power), 0.0) ** (1 / p))


def _pair_distances(samples: Any, reference: Any) -> tuple[np.ndarray, np.ndarray]:
    """(m, pairs) and (k, pairs)."""
    other = checked_samples(reference, (None, None, None), "reference")
    one = checked_samples(samples, (None, *other.shape[1:]), "samples")
    if other.shape[1] < 2:
        raise ValueError(f"pair distances need at least two particles, got {other.shape[1]}")
    return np.stack([pdist(r) for r in one]), np.stack([pdist(r) for r in other])
