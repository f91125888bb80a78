"""Densities of two coordinates on a grid against exact ones: divergence, total variation, floor; host."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from jaxphys.metrics.sample_checks import checked_samples, checked_weights

Edges = tuple[Float[Any, " _"], Float[Any, " _"]]
"""Of the cells along either coordinate, rising: one more than there are cells."""


@dataclass(frozen=True)
class DensityDivergence:
    """kl: KL(exact ‖ samples) in nats; total_variation: ½ Σ|Δp|, 0 to 1; outside: part of the samples that is
    not on the grid."""

    kl: float
    total_variation: float
    outside: float


def cell_probabilities(
    energy: Callable[[Float[np.ndarray, "k 2"]], Any], edges: Edges, *, kt: float, order: int = 4
) -> Float[np.ndarray, "x y"]:
    """Exact probability of each cell under exp(−E / kT), by Gauss–Legendre quadrature; they sum to one.

    energy: points (k, 2) → energies (k,) in the unit of kt. order: points a cell and coordinate. What lies
    outside of the grid is neglected, so the grid must hold all that matters.
    Raises ValueError for edges that do not rise, kt ≤ 0, and energies that are not finite.
    """
    checked = _checked_edges(edges)
    if not kt > 0 or order < 1:
        raise ValueError(f"kt must be above 0 and order at least 1, got {kt}, {order}")
    nodes, node_weights = np.polynomial.legendre.leggauss(order)
    halves = [np.diff(edge)[:, None] / 2 for edge in checked]
    points = [
        edge[:-1, None] + half * (1 + nodes) for edge, half in zip(checked, halves, strict=True)
    ]  # (cells, order) each
    shares = [half * node_weights for half in halves]
    grid = np.stack(np.meshgrid(points[0].ravel(), points[1].ravel(), indexing="ij"), axis=-1)
    values = checked_samples(energy(grid.reshape(-1, 2)), (grid.shape[0] * grid.shape[1],), "energies")
    density = np.exp((values.min() - values) / kt).reshape(grid.shape[:2])
    weighted = density * np.outer(shares[0], shares[1])
    mass = weighted.reshape(len(points[0]), order, len(points[1]), order).sum((1, 3))
    return mass / mass.sum()


def density_divergence_2d(
    samples: Float[Any, "m 2"],
    probability: Float[Any, "x y"],
    edges: Edges,
    *,
    weights: ArrayLike | None = None,
    smoothing: float = 1e-5,
) -> DensityDivergence:
    """KL(exact ‖ samples) and total variation between samples (m, 2) and exact probabilities of cells (x, y).

    probability: as `cell_probabilities`, sums to one. weights: (m,) of the samples, equal for None.
    smoothing: the share of a uniform distribution mixed into both, which keeps the divergence finite where a
    cell has no sample; 0 gives infinity there. Samples off the grid count as lost, not as absent.
    Empty cells dominate the divergence of few samples: compare with `density_floor` at the same size.
    Raises ValueError for shapes that do not match, probabilities and weights that are none, smoothing outside
    of [0, 1), samples that are not finite.
    """
    checked = _checked_edges(edges)
    expected = _checked_probability(probability, smoothing, tuple(len(edge) - 1 for edge in checked))
    points = checked_samples(samples, (None, 2), "samples")
    shares = checked_weights(weights, len(points))
    found = np.histogram2d(points[:, 0], points[:, 1], checked, weights=shares)[0]
    return _compared(expected, found, smoothing)


def density_floor(
    probability: Float[Any, "x y"], size: int, *, smoothing: float = 1e-5, repeats: int = 20, seed: int = 0
) -> DensityDivergence:
    """What `density_divergence_2d` gives on average for `size` independent samples of the exact density.

    probability: (x, y), as there. Raises ValueError for size or repeats below 1, and as there.
    """
    if size < 1 or repeats < 1:
        raise ValueError(f"size and repeats must be at least 1, got {size}, {repeats}")
    expected = _checked_probability(probability, smoothing, np.shape(probability))
    counts = np.random.default_rng(seed).multinomial(size, expected.ravel(), repeats)
    found = [_compared(expected, count.reshape(expected.shape) / size, smoothing) for count in counts]
    return DensityDivergence(
        float(np.mean([one.kl for one in found])), float(np.mean([one.total_variation for one in found])), 0.0
    )


def kl_divergence(expected: np.ndarray, found: np.ndarray, smoothing: float) -> float:
    """KL(expected ‖ found) in nats, with a share `smoothing` of the uniform distribution mixed into both."""
    mixed = [(1 - smoothing) * p.ravel() + smoothing / p.size for p in (expected, found)]
    held = mixed[0] > 0
    with np.errstate(divide="ignore"):
        terms = mixed[0][held] * (np.log(mixed[0][held]) - np.log(mixed[1][held]))
    # rounding may leave a little less than zero
    return max(float(terms.sum()), 0.0)


def _compared(expected: np.ndarray, found: np.ndarray, smoothing: float) -> DensityDivergence:
    outside = max(1 - float(found.sum()), 0.0)
    outside = outside if outside > 1e-12 else 0.0
    variation = 0.5 * (float(np.abs(expected - found).sum()) + outside)
    return DensityDivergence(kl_divergence(expected, found, smoothing), variation, outside)


def _checked_edges(edges: Edges) -> tuple[np.ndarray, np.ndarray]:
    one, other = (checked_samples(edge, (None,), "edges") for edge in edges)
    for edge in (one, other):
        if len(edge) < 2 or not (np.diff(edge) > 0).all():
            raise ValueError(f"edges must be at least two rising numbers, got {edge[:5].tolist()} …")
    return one, other


def _checked_probability(probability: Any, smoothing: float, shape: tuple[int, ...]) -> np.ndarray:
    expected = checked_samples(probability, shape, "probability")
    if expected.min() < 0 or abs(expected.sum() - 1) > 1e-6:
        raise ValueError(
            f"probability must be at least 0 and sum to 1, got {expected.min():g} and {expected.sum():g}"
        )
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing must be from 0 to below 1, got {smoothing}")
    # multinomial draws want the sum exact
    return expected / expected.sum()
