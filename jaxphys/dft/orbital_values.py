"""Values and derivatives of Gaussian orbitals at points, in closed form and pure JAX."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations_with_replacement

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxphys.dft.shells import Basis, Shells, solid_harmonics

PAIRS = tuple(combinations_with_replacement(range(3), 2))
"""The second derivatives in PySCF's order: xx, xy, xz, yy, yz, zz."""


def orbital_values(
    basis: Basis,
    positions: Float[Array, "a 3"],
    points: Float[Array, "g 3"],
    n: int,
    *,
    derivatives: int = 0,
) -> Float[Array, "k g n"]:
    """Orbitals at points (g, 3) in Bohr, nuclei at positions (a, 3) in Bohr: (k, g, n), k = 1, 4 or 10.

    derivatives: 0 for the values, 1 for also ∂/∂x, ∂/∂y, ∂/∂z, 2 for also xx, xy, xz, yy, yz, zz, in
    Bohr^(−3/2 − order). n: the number of orbitals, padding included, whose columns are zero.

    All temporary arrays grow with g: map over blocks of some 1000 points. Points are the fastest axis inside:
    a matrix product takes up the final transpose for free, while storing the values pays for it.

    With f(r²) = Σ_k c_k exp(−α_k r²), g = 2 df/dr², h = 2 dg/dr² and a solid harmonic Y, the derivatives of
    f Y are f ∂_a Y + g a Y and f ∂_ab Y + g (a ∂_b Y + b ∂_a Y + δ_ab Y) + h a b Y.
    """
    if derivatives not in (0, 1, 2):
        raise ValueError(f"derivatives must be 0, 1 or 2, got {derivatives!r}")
    # per derivative, a list of rows: the points are contiguous, and reordering orbitals copies whole rows
    groups = [_shell_values(shells, positions, points, derivatives) for shells in basis]
    rows = _rows(basis, n)
    nothing = jnp.zeros((1, len(points)), points.dtype)
    values = [
        jnp.concatenate([*parts, nothing]).at[rows].get(mode="promise_in_bounds")
        for parts in zip(*groups, strict=True)
    ]
    return jnp.stack(values).swapaxes(1, 2)


def _rows(basis: Basis, n: int) -> Int[Array, " n"]:
    """Where each orbital of the molecule is among the groups' functions; past them where there is none."""
    targets = [(jnp.arange(2 * shells.l + 1)[:, None] + shells.first).ravel() for shells in basis]
    target = jnp.concatenate(targets)
    return jnp.full(n, len(target)).at[target].set(jnp.arange(len(target)), mode="drop")


def _shell_values(
    shells: Shells, positions: Float[Array, "a 3"], points: Float[Array, "g 3"], derivatives: int
) -> list[Float[Array, "f g"]]:
    """The functions of one group of shells, f = (2l+1) s rows with m before shells, for each derivative."""
    centres = positions[jnp.asarray(shells.centre)]
    x, y, z = vector = [points[:, axis] - centres[:, axis, None] for axis in range(3)]
    radial = _radial(shells, x * x + y * y + z * z, derivatives)
    angular = [_angular(shells.l, vector, order) for order in range(derivatives + 1)]
    values = [radial[0] * angular[0][0]]
    if derivatives > 0:
        values += [radial[0] * angular[1][a] + radial[1] * vector[a] * angular[0][0] for a in range(3)]
    if derivatives > 1:
        for index, (a, b) in enumerate(PAIRS):
            mixed = vector[a] * angular[1][b] + vector[b] * angular[1][a] + (a == b) * angular[0][0]
            product = vector[a] * vector[b] * angular[0][0]
            values.append(radial[0] * angular[2][index] + radial[1] * mixed + radial[2] * product)
    return [value.reshape(-1, len(points)) for value in values]


def _radial(shells: Shells, squared: Float[Array, "s g"], derivatives: int) -> list[Float[Array, "s g"]]:
    """f, g, h: Σ_k c_k (−2 α_k)^t exp(−α_k r²) for t = 0 … derivatives."""
    exponents, factors = jnp.asarray(shells.exponents).T, jnp.asarray(shells.coefficients).T
    gaussians = jnp.exp(-exponents[:, :, None] * squared)
    radial = []
    for _ in range(derivatives + 1):
        radial.append(jnp.sum(factors[:, :, None] * gaussians, axis=0))
        factors = -2.0 * exponents * factors
    return radial


def _angular(l: int, vector: list[Float[Array, "s g"]], order: int) -> list[Float[Array, "m s g"]]:
    """The solid harmonics' derivatives of one order, for each of 1, 3 or 6 components."""
    tables = _derivative_tables(l, order)
    if order > l:
        return [jnp.zeros((2 * l + 1, *vector[0].shape), vector[0].dtype) for _ in tables]
    powers = [[jnp.ones_like(x)] for x in vector]
    for x, row in zip(vector, powers, strict=True):
        for _ in range(l - order):
            row.append(row[-1] * x)
    monomials = [powers[0][i] * powers[1][j] * powers[2][k] for i, j, k in _cartesians(l - order)]
    return [
        sum(
            coefficients[:, None, None] * monomial
            for coefficients, monomial in zip(table, monomials, strict=True)
        )
        for table in tables
    ]


def _cartesians(degree: int) -> list[tuple[int, ...]]:
    """Powers of x, y, z in PySCF's order; none for a negative degree."""
    return [(i, j, degree - i - j) for i in range(degree, -1, -1) for j in range(degree - i, -1, -1)]


@lru_cache(maxsize=64)
def _derivative_tables(l: int, order: int) -> tuple[np.ndarray, ...]:
    """Coefficients of the monomials of degree l − order in the derivatives of solid harmonics, (c, 2l+1)."""
    components = {0: ((),), 1: ((0,), (1,), (2,)), 2: PAIRS}[order]
    return tuple(_differentiate(solid_harmonics(l), l, axes) for axes in components)


def _differentiate(table: np.ndarray, degree: int, axes: tuple[int, ...]) -> np.ndarray:
    """The table of the derivative along the axes, one after the other, of polynomials of one degree."""
    for axis in axes:
        lower = _cartesians(degree - 1)
        result = np.zeros((len(lower), table.shape[1]))
        for row, powers in zip(table, _cartesians(degree), strict=True):
            if powers[axis]:
                left = tuple(power - (axis == other) for other, power in enumerate(powers))
                result[lower.index(left)] += powers[axis] * row
        table, degree = result, degree - 1
    return table
