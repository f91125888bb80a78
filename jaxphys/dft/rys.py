"""Rys quadrature: the Gauss rules that turn Coulomb integrals of Gaussians into finite sums."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

WIDTH = 0.5
"""Length of one interval of t in the tables."""

DEGREE = 8
"""Degree of the polynomials on one interval; the next term is below 1e-14 of the first."""


def roots_and_weights(
    count: int, t: Float[Array, " ..."]
) -> tuple[Float[Array, "{count} ..."], Float[Array, "{count} ..."]]:
    """Nodes u in (0, 1) and weights w with Σ_i w_i u_i^k = F_k(t) for every k < 2 count, at any t ≥ 0.

    F_k(t) = ∫₀¹ s^2k exp(−t s²) ds is Boys' function, and u = s². (Some call u/(1 − u) the root.) Nodes
    ascend. Up to a t beyond which the upper limit of the integral is as good as infinity, polynomials on
    intervals; from there half of Gauss–Hermite quadrature. Dupuis, Rys, King, J. Chem. Phys. 65, 111 (1976).
    """
    polynomials, hermite = _tables(count)
    intervals = polynomials.shape[-1]
    end = WIDTH * intervals
    near = t < end
    inside, outside = jnp.where(near, t, 0.0), jnp.where(near, end, t)
    index = jnp.minimum((inside / WIDTH).astype(jnp.int32), intervals - 1)
    x = (2.0 / WIDTH) * inside - (2 * index + 1)
    places = index + (np.arange(2 * count) * intervals).reshape(-1, *[1] * t.ndim)

    def horner(value: Array, coefficients: Array) -> tuple[Array, None]:
        return value * x + coefficients.at[places].get(mode="promise_in_bounds"), None

    # a loop, because XLA would repeat what it unrolls in every operation that uses the result
    start = jnp.zeros((2 * count, *t.shape))
    value, _ = jax.lax.scan(horner, start, jnp.asarray(polynomials.reshape(DEGREE + 1, -1)[::-1]))
    roots, weights = hermite.reshape(2, count, *[1] * t.ndim)
    return (
        jnp.where(near, value[:count], roots / outside),
        jnp.where(near, value[count:], weights / jnp.sqrt(outside)),
    )


@functools.cache
def _tables(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of x^d, (d, nodes then weights, interval), |x| < 1; t u and √t w at large t, (2, count).

    The polynomials have the exact values at Chebyshev's points.
    """
    intervals = int((28 + 8 * count) / WIDTH)  # there the large-t form is good to a few 1e-14
    points = np.cos(np.pi * (np.arange(DEGREE + 1) + 0.5) / (DEGREE + 1))
    t = WIDTH * (np.arange(intervals) + 0.5) + 0.5 * WIDTH * points[:, None]  # (point, interval)
    x, legendre = np.polynomial.legendre.leggauss(100)
    s = 0.5 * (x + 1)
    values = np.concatenate(_gauss_rule(s, legendre * np.exp(-t[..., None] * s**2), count), axis=-1)
    chebyshev = list(np.eye(DEGREE + 1)[:2])
    for _ in range(DEGREE - 1):
        chebyshev.append(2 * np.roll(chebyshev[-1], 1) - chebyshev[-2])
    # Chebyshev series first: their terms decay, so that no digits are lost on the way to powers
    series = np.tensordot(np.linalg.inv(np.polynomial.chebyshev.chebvander(points, DEGREE)), values, 1)
    s, weights = (half[count:] for half in np.polynomial.hermite.hermgauss(2 * count))
    return np.einsum("sd,sin->dni", chebyshev, series), np.stack([s**2, weights])


def _gauss_rule(s: np.ndarray, measure: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Squared positive nodes and their weights, (..., count), for an even measure in 2 count nodes.

    The measure, (..., q), is a fine rule on the points 0 < s < 1, (q,). Stieltjes' procedure finds the
    orthonormal polynomials; nodes are eigenvalues refined by Newton's method, weights Christoffel's numbers,
    so that even the smallest have all digits. Gautschi, Orthogonal Polynomials: Computation and
    Approximation (2004), sections 2.2 and 3.1.
    """
    before, current, norms = np.zeros_like(measure), np.ones_like(measure), []
    for _ in range(2 * count):
        norms.append(np.sqrt(np.sum(measure * current**2, axis=-1, keepdims=True)))
        current = current / norms[-1]
        before, current = current, s * current - norms[-1] * before
    jacobi = np.zeros((*measure.shape[:-1], 2 * count, 2 * count))
    k = np.arange(2 * count - 1)
    jacobi[..., k + 1, k] = np.concatenate(norms[1:], axis=-1)
    nodes = np.linalg.eigvalsh(jacobi)[..., count:]
    for _ in range(3):
        before, current, total = np.zeros_like(nodes), np.ones_like(nodes), np.zeros_like(nodes)
        for norm in norms:
            current = current / norm
            total = total + current**2
            before, current = current, nodes * current - norm * before
        nodes, weights = nodes - current * before / total, 1 / total
    return nodes**2, weights
