"""Integrals over Gaussian shells as functions of the positions, in JAX: overlap and the like, and Coulomb's.

Coulomb integrals are sums over Hermite Gaussians (McMurchie, Davidson, J. Comput. Phys. 26, 218 (1978)) whose
potentials come from Rys quadrature on arrays. A program depends on angular momenta and numbers of shells:
new positions, exponents or elements compile nothing. All in atomic units and float64. Work goes in tiles, so
that memory stays bounded, also in reverse mode; on a GPU, tiles should be larger than the default.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxphys.dft.hermite import coulomb, expansion, harmonic_derivatives, powers
from jaxphys.dft.primitives import (
    Index,
    Positions,
    Primitives,
    primitives,
    sum_over_pairs,
    sum_over_singles,
)
from jaxphys.dft.shells import Basis, solid_harmonics

TILE = 4096
"""Combinations of primitives (of both sides of an integral, where it has two) that are treated together."""

HIGHEST_ORBITAL, HIGHEST_AUXILIARY = 4, 6
"""Angular momenta that were compared with libcint; nothing else limits them."""


def overlap_kinetic_dipole(
    basis: Basis, positions: Positions, n: int, *, tile: int = TILE
) -> tuple[Float[Array, "{n} {n}"], Float[Array, "{n} {n}"], Float[Array, "3 {n} {n}"]]:
    """Overlap, kinetic energy and dipole (r, about the origin) of n orbitals; positions: (a, 3) in Bohr."""
    packed = sum_over_pairs(primitives(basis, n, HIGHEST_ORBITAL), positions, n, 5, tile, _moments)
    full = jnp.moveaxis(_unpack(packed, n), -1, 0)
    return full[0], full[1], full[2:]


def nuclear_attraction(
    basis: Basis, positions: Positions, charges: Float[Array, " a"], n: int, *, tile: int = TILE
) -> Float[Array, "{n} {n}"]:
    """−Σ_C Z_C (i|1/|r − C||j) in Ha; positions: (a, 3) in Bohr; charges: (a,) in e, zero for padding."""
    groups, tile = primitives(basis, n, HIGHEST_ORBITAL), tile // len(positions)
    values = functools.partial(_attraction, charges)
    return _unpack(sum_over_pairs(groups, positions, n, 1, tile, values), n)[..., 0]


def three_centre(
    basis: Basis, auxiliary: Basis, positions: Positions, n: int, m: int, *, tile: int = TILE
) -> Float[Array, "{m} {n}*({n}+1)//2"]:
    """(Q|ij) in Ha: m auxiliary functions, pairs i ≥ j of n orbitals by rows; positions: (a, 3) in Bohr."""
    groups, kets = primitives(basis, n, HIGHEST_ORBITAL), primitives(auxiliary, m, HIGHEST_AUXILIARY)

    def values(a: Primitives, b: Primitives, positions: Positions, index: Index) -> Array:
        return _coulomb(_pair(a, b, positions, index), kets, positions)

    tile = tile // sum(map(len, kets))
    return _sort(sum_over_pairs(groups, positions, n, _width(kets), tile, values), kets, m)


def two_centre(
    auxiliary: Basis, positions: Positions, m: int, *, tile: int = TILE
) -> Float[Array, "{m} {m}"]:
    """(P|Q) in Ha of m auxiliary functions; positions: (a, 3) in Bohr."""
    kets = primitives(auxiliary, m, HIGHEST_AUXILIARY)

    def values(a: Primitives, positions: Positions, index: Index) -> Array:
        return _coulomb(_single(a, positions, index), kets, positions)

    tile = tile // sum(map(len, kets))
    return _sort(sum_over_singles(kets, positions, m, _width(kets), tile, values), kets, m)


@dataclass(frozen=True)
class Bra:
    """Functions f on the left of Coulomb integrals, as sums of Hermite Gaussians of degree low … high."""

    exponent: Float[Array, " t"]
    centre: Float[Array, "3 t"]
    matrix: Float[Array, "t f h"]
    low: int
    high: int


def _product(
    a: Primitives, b: Primitives, positions: Positions, index: Index
) -> tuple[Array, Array, Array, Array, Array]:
    """Exponents p (t,) and centres P (3, t) of products of Gaussians, P − A, P − B, and coefficients (t,)."""
    i, j = index.T
    alpha, beta = a.exponent[i], b.exponent[j]
    exponent = alpha + beta
    start, way = positions[a.centre[i]].T, (positions[b.centre[j]] - positions[a.centre[i]]).T
    decay = jnp.exp(-alpha * beta / exponent * jnp.sum(way * way, axis=0))
    from_a, from_b = beta / exponent * way, -alpha / exponent * way
    return exponent, start + from_a, from_a, from_b, a.coefficient[i] * b.coefficient[j] * decay


def _pair(a: Primitives, b: Primitives, positions: Positions, index: Index) -> Bra:
    """Products of two primitives."""
    exponent, centre, from_a, from_b, coefficient = _product(a, b, positions, index)
    table = expansion(a.l, b.l, exponent, from_a, from_b)
    i, j, h = powers(a.l, a.l)[:, None, None], powers(b.l, b.l)[:, None], powers(0, a.l + b.l)
    x, y, z = (table[i[..., d], j[..., d], h[..., d], d] for d in range(3))
    return Bra(exponent, centre, _spherical(a.l, b.l, x * y * (z * coefficient)), 0, a.l + b.l)


def _single(a: Primitives, positions: Positions, index: Index) -> Bra:
    """Primitives alone: a solid harmonic times a Gaussian is a derivative of the Gaussian, up to a factor."""
    exponent = a.exponent[index]
    factor = a.coefficient[index] * (0.5 / exponent) ** a.l
    return Bra(
        exponent, positions[a.centre[index]].T, factor[:, None, None] * solid_harmonics(a.l).T, a.l, a.l
    )


def _spherical(la: int, lb: int, cartesian: Float[Array, "i j h t"]) -> Float[Array, "t f h"]:
    """Pairs of Cartesian monomials to pairs of solid harmonics."""
    spherical = jnp.einsum("ijht,ia,jb->tabh", cartesian, solid_harmonics(la), solid_harmonics(lb))
    return spherical.reshape(len(spherical), -1, spherical.shape[-1])


def _moments(a: Primitives, b: Primitives, positions: Positions, index: Index) -> Float[Array, "t f 5"]:
    """Overlap, kinetic energy and dipole of pairs of primitives, products of integrals along x, y and z.

    Helgaker, Jørgensen, Olsen, Molecular Electronic-Structure Theory (2000), section 9.3.
    """
    exponent, centre, from_a, from_b, coefficient = _product(a, b, positions, index)
    table = expansion(a.l, b.l + 2, exponent, from_a, from_b)
    beta, j = b.exponent[index[:, 1]], jnp.arange(b.l + 1.0)[:, None, None]
    overlap, higher = table[:, : b.l + 1, 0], table[:, 2:, 0]
    lower = jnp.pad(overlap, ((0, 0), (2, 0), (0, 0), (0, 0)))[:, : b.l + 1]
    kinetic = beta * (2 * j + 1) * overlap - 2 * beta**2 * higher - 0.5 * j * (j - 1) * lower
    dipole = table[:, : b.l + 1, 1] + centre * overlap
    along = jnp.stack([overlap, kinetic, dipole]) * jnp.sqrt(jnp.pi / exponent)
    kinds = np.concatenate([np.zeros((1, 3), int), np.eye(3, dtype=int), 2 * np.eye(3, dtype=int)])
    row, column = powers(a.l, a.l)[:, None, None], powers(b.l, b.l)[:, None]
    x, y, z = (along[kinds[:, d], row[..., d], column[..., d], d] for d in range(3))
    values = _spherical(a.l, b.l, x * y * (z * coefficient))
    return jnp.concatenate(
        [values[..., :1], values[..., 1:4].sum(-1, keepdims=True), values[..., 4:]], axis=-1
    )


def _attraction(
    charges: Float[Array, " a"], a: Primitives, b: Primitives, positions: Positions, index: Index
) -> Float[Array, "t f 1"]:
    """Attraction of pairs of primitives by all nuclei."""
    bra = _pair(a, b, positions, index)
    x = bra.centre[:, :, None] - positions.T[:, None]
    exponent = jnp.broadcast_to(bra.exponent[:, None], x.shape[1:])
    (potential,) = coulomb(((0, bra.high, len(positions)),))(exponent, -2.0 * jnp.pi / exponent, x)
    return jnp.einsum("tfh,ht->tf", bra.matrix, potential @ charges)[..., None]


def _coulomb(bra: Bra, kets: list[Primitives], positions: Positions) -> Float[Array, "t f w"]:
    """Coulomb integrals of the bra's functions with all functions of the kets, in the order (l, m, shell)."""
    exponent = jnp.concatenate([ket.exponent[:-1] for ket in kets])
    centre = positions[jnp.concatenate([ket.centre[:-1] for ket in kets])].T
    # a solid harmonic times a Gaussian is a derivative of the Gaussian by −x, up to a factor
    factor = jnp.concatenate([ket.coefficient[:-1] * (-0.5 / ket.exponent[:-1]) ** ket.l for ket in kets])
    total, product = bra.exponent[:, None] + exponent, bra.exponent[:, None] * exponent
    strength = 2.0 * jnp.pi**2.5 * factor / (product * jnp.sqrt(total))
    ranges = tuple((bra.low + ket.l, bra.high + ket.l, len(ket)) for ket in kets)
    potentials = coulomb(ranges)(product / total, strength, bra.centre[:, :, None] - centre[:, None])
    joined = [
        _join(bra, ket.l, _contract(potential, ket.blocks))
        for ket, potential in zip(kets, potentials, strict=True)
    ]
    return jnp.concatenate(joined, axis=-1)


def _contract(values: Float[Array, "h t p"], blocks: tuple[tuple[int, int], ...]) -> Float[Array, "h t s"]:
    """Sum primitives into shells."""
    sums, end = [], 0
    for count, k in blocks:
        block = values[..., end : end + count * k]
        sums.append(block.reshape(*values.shape[:2], k, count).sum(2))
        end += count * k
    return jnp.concatenate(sums, axis=-1)


def _join(bra: Bra, l: int, potential: Float[Array, "k t s"]) -> Float[Array, "t f w"]:
    """From derivatives of the potential to integrals: harmonics of the ket, then the bra's expansion."""
    parts, end = [], 0
    for degree in range(bra.low, bra.high + 1):
        matrix = harmonic_derivatives(l, degree)
        parts.append(jnp.tensordot(matrix, potential[end : end + matrix.shape[1]], 1))
        end += matrix.shape[1]
    t, s = potential.shape[1:]
    hermite = jnp.concatenate(parts).reshape(-1, 2 * l + 1, t, s)
    return jnp.einsum("tfh,hmts->tfms", bra.matrix, hermite).reshape(t, -1, (2 * l + 1) * s)


def _width(kets: list[Primitives]) -> int:
    return sum(len(ket.first) * (2 * ket.l + 1) for ket in kets)


def _sort(rows: Float[Array, "r w"], kets: list[Primitives], m: int) -> Float[Array, "{m} r"]:
    """Columns in the order of `_coulomb` to rows in the order of the m functions; those missing are zero."""
    order = jnp.concatenate([(ket.first + jnp.arange(2 * ket.l + 1)[:, None]).ravel() for ket in kets])
    column = jnp.full(m, len(order)).at[order].set(jnp.arange(len(order)), mode="drop")
    return rows.T.at[column].get(mode="fill", fill_value=0.0)


def _unpack(packed: Float[Array, "p w"], n: int) -> Float[Array, "{n} {n} w"]:
    high, low = np.maximum.outer(np.arange(n), np.arange(n)), np.minimum.outer(np.arange(n), np.arange(n))
    return packed[high * (high + 1) // 2 + low]
