"""Hermite Gaussians: what a product of two Gaussians is a sum of, and the Coulomb potential between them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxphys.dft.rys import roots_and_weights
from jaxphys.dft.shells import solid_harmonics

Ranges = tuple[tuple[int, int, int], ...]
"""Consecutive stretches of some points: lowest and highest degree of the derivatives there, and length."""


@functools.cache
def powers(low: int, high: int) -> np.ndarray:
    """Powers of x, y, z in monomials of degree low … high, (monomials, 3), by degree, in PySCF's order."""
    return np.array(
        [
            (i, j, degree - i - j)
            for degree in range(low, high + 1)
            for i in range(degree, -1, -1)
            for j in range(degree - i, -1, -1)
        ]
    )


def places(monomials: np.ndarray, low: int) -> np.ndarray:
    """Where monomials, (..., 3), are found in `powers(low, …)`."""
    degree = monomials.sum(-1)
    rest = degree - monomials[..., 0]
    return _tetrahedral(degree) - _tetrahedral(low) + rest * (rest + 1) // 2 + monomials[..., 2]


def _tetrahedral(degree: Any) -> Any:
    return degree * (degree + 1) * (degree + 2) // 6


def expansion(
    la: int, lb: int, exponent: Float[Array, " t"], from_a: Float[Array, "3 t"], from_b: Float[Array, "3 t"]
) -> Float[Array, "{la+1} {lb+1} {la+lb+1} 3 t"]:
    """Coefficients of the Hermite Gaussians of degree n ≤ la + lb in (x − A)^i (x − B)^j exp(−p (x − P)²).

    exponent: p in 1/Bohr²; from_a, from_b: P − A and P − B in Bohr; result: (i, j, n, direction, t). The
    Hermite Gaussian of degree n is (∂/∂P)^n exp(−p (x − P)²).
    Helgaker, Jørgensen, Olsen, Molecular Electronic-Structure Theory (2000), section 9.5.1.
    """
    half, degrees = 0.5 / exponent, jnp.arange(1.0, la + lb + 1)[:, None, None]
    none = jnp.zeros((1, *from_a.shape))

    def raised(e: Array, shift: Array) -> Array:
        return shift * e + jnp.concatenate([none, half * e[:-1]]) + jnp.concatenate([degrees * e[1:], none])

    rows = [jnp.concatenate([none + 1.0, jnp.zeros((la + lb, *from_a.shape))])]
    for _ in range(la):
        rows.append(raised(rows[-1], from_a))
    columns = [jnp.stack(rows)]
    for _ in range(lb):
        columns.append(jax.vmap(raised, (0, None))(columns[-1], from_b))
    return jnp.stack(columns, axis=1)


@functools.cache
def harmonic_derivatives(l: int, degree: int) -> np.ndarray:
    """S_lm(∂) ∂^n, n of the degree, as sums of ∂^k: (n × m, k); S_lm are solid harmonics."""
    harmonics, monomials = solid_harmonics(l), powers(degree, degree)
    products = places(monomials[:, None] + powers(l, l), l + degree)
    result = np.zeros((len(monomials), 2 * l + 1, len(powers(l + degree, l + degree))))
    for n, product in enumerate(products):
        result[n][:, product] = harmonics.T
    return result.reshape(-1, result.shape[-1])


@functools.cache
def coulomb(ranges: Ranges) -> Callable[[Array, Array, Array], list[Array]]:
    """A function of ρ (t, q) in 1/Bohr², strength (t, q) and x (3, t, q) in Bohr: strength ∂^n F_0(ρ |x|²).

    It returns one array (n, t, q) for each range of the last axis, n in the order of `powers`; ∂ is ∂/∂x. Its
    derivative by x is the same function of higher degree, so that no quadrature is ever differentiated; ρ and
    the strength are constants.
    """

    @jax.custom_jvp
    def derivatives(rho: Array, strength: Array, x: Array) -> list[Array]:
        return _coulomb(ranges, rho, strength, x)

    @derivatives.defjvp
    def rule(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> tuple[list[Array], list[Array]]:
        higher = coulomb(tuple((low, high + 1, length) for low, high, length in ranges))(*primals)
        values, changes, end = [], [], 0
        for (low, high, length), more in zip(ranges, higher, strict=True):
            monomials = powers(low, high)
            raised = more[places(monomials + np.eye(3, dtype=int)[:, None], low)]
            values.append(more[: len(monomials)])
            changes.append(jnp.sum(raised * tangents[-1][:, None, :, end : end + length], axis=0))
            end += length
        return values, changes

    return derivatives


def _coulomb(
    ranges: Ranges, rho: Float[Array, "t q"], strength: Float[Array, "t q"], x: Float[Array, "3 t q"]
) -> list[Float[Array, "_ t _"]]:
    """F_0(ρ |x|²) = Σ_r w_r exp(−ρ u_r |x|²) under the derivatives, by Rys quadrature.

    Each is a product of three directions: ∂^n exp(−s x²) = h_n exp(−s x²), h_{n+1} = −2s (x h_n + n h_{n−1}).
    """
    highest = max(high for _, high, _ in ranges)
    roots, weights = roots_and_weights(highest // 2 + 1, rho * jnp.sum(x * x, axis=0))
    slope = -2.0 * rho * roots
    tilt = slope * x[:, None]

    def step(n: Array, table: Array) -> Array:
        return table.at[n + 1].set(tilt * table[n] + n * slope * table[n - 1])

    one = jnp.ones_like(slope)
    table = jnp.zeros((highest + 1, *tilt.shape)).at[0].set(jnp.stack([one, one, weights * strength]))
    # a loop, because XLA would repeat what it unrolls in every operation that uses the result
    table = jax.lax.fori_loop(0, highest, step, table)
    results, end = [], 0
    for low, high, length in ranges:
        i, j, k = powers(low, high).T
        part = table[..., end : end + length]
        results.append(jnp.sum(part[i, 0] * part[j, 1] * part[k, 2], axis=1))
        end += length
    return results
