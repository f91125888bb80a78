"""Orbitals on a block of points, and contractions of their derivatives, shell by shell, for XLA on a CPU.

Whatever is a vector over the points of the block is a `Row`. Loops run over the shells that reach the block;
their number is no part of a compiled program, nor is that of atoms and orbitals but for padding. XLA makes
fast loops of these programs because all components are separate rows and a shell is one entry of each array:
with stacked components, or an index into an index, they are five times slower.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from pyscf import gto

from jaxphys.dft.shells import Basis, Shells, count_shells, make_shells, pad_shells, solid_harmonics

NEGLIGIBLE = 1e-9
"""Orbital values (Bohr^-3/2) that are left out, where a whole shell is below it on a whole block."""

Row = Array  # (q,)
Vector = tuple[Row, ...]  # x, y, z
Table = Array  # (n, q), a row for each orbital
Term = tuple[Row | None, Table]  # a table, each row times one row if there is one


class Orbitals(NamedTuple):
    """The shells and nuclei of a molecule, padded such that similar molecules share compiled programs."""

    basis: Basis
    radii: list[Any]  # (s,) of each group of shells: where they become negligible, Bohr; negative for padding
    positions: Any  # (a, 3) Bohr


def padded_orbitals(mole: gto.Mole) -> Orbitals:
    """The orbitals of a molecule, as if their number were the next multiple of 32."""
    own, n = make_shells(mole), round_up(mole.nao, 32)
    basis = pad_shells(own, {key: round_up(count, 32) for key, count in count_shells([own]).items()}, n)
    positions = np.pad(mole.atom_coords(), [(0, -mole.natm % 32), (0, 0)])
    return Orbitals(basis, [_radii(shells) for shells in basis], positions)


def round_up(number: int, step: int) -> int:
    """The next multiple of step."""
    return -(-number // step) * step


def _radii(shells: Shells) -> np.ndarray:
    """Distances (s,) in Bohr beyond which shells are negligible; negative where they always are."""
    step = 0.125
    distance = step * np.arange(400)
    gaussians = np.exp(-shells.exponents[:, :, None] * distance**2)
    # one power more than the values have is for their derivatives
    size = np.einsum("sk,skr->sr", np.abs(shells.coefficients), gaussians) * (1 + distance) ** (shells.l + 1)
    reach = step * np.sum(size > NEGLIGIBLE, axis=1)
    return np.where(reach > 0, reach, -1.0)


class Group(NamedTuple):
    """Shells of one angular momentum and number of primitives, those that reach the block first."""

    l: int
    reached: Array  # how many
    atoms: Array  # (s,)
    first: Array  # (s,)
    centres: Array  # (s, 3) Bohr
    exponents: Array  # (s, k)
    coefficients: Array  # (s, k)


class Near(NamedTuple):
    """Shells that reach a block, its points (3, q), and the numbers of atoms and orbitals with padding."""

    groups: list[Group]
    points: Array
    atoms: int
    n: int


def near(orbitals: Orbitals, points: Array, n: int) -> Near:
    """The shells that reach into the box around the points (3, q), of n orbitals."""
    low, high = jnp.min(points, axis=1), jnp.max(points, axis=1)
    groups = []
    for shells, radii in zip(orbitals.basis, orbitals.radii, strict=True):
        centres = orbitals.positions[shells.centre]
        outside = jnp.maximum(jnp.maximum(low - centres, centres - high), 0.0)
        far = jnp.sqrt(jnp.sum(outside**2, axis=1)) > radii
        leaves = (shells.centre, shells.first, centres, shells.exponents, shells.coefficients)
        order = jnp.argsort(far)
        groups.append(Group(shells.l, jnp.sum(~far), *(leaf[order] for leaf in leaves)))
    return Near(groups, points, len(orbitals.positions), n)


class Shell(NamedTuple):
    """One shell: its atom, first orbital, exponents and coefficients, and the points from its centre."""

    l: int
    atom: Array
    first: Array
    exponents: list[Array]
    coefficients: list[Array]
    vector: Vector


def _visit(near: Near, visit: Callable[[Shell, Any], Any], carry: Any) -> Any:
    """carry = visit(shell, carry) for all shells that are near."""
    for group in near.groups:

        def step(i: Array, carry: Any, group: Group = group) -> Any:
            atom, first, centre, exponents, coefficients = (_at(leaf, i) for leaf in group[2:])
            vector = tuple(near.points[axis] - centre[axis] for axis in range(3))
            return visit(Shell(group.l, atom, first, list(exponents), list(coefficients), vector), carry)

        carry = jax.lax.fori_loop(0, group.reached, step, carry)
    return carry


def _at(table: Array, index: Array) -> Array:
    """table[index] for an index that is not negative."""
    return jax.lax.dynamic_index_in_dim(table, index, keepdims=False, allow_negative_indices=False)


def table(near: Near, rows: Callable[[Shell], list[Row]]) -> Table:
    """A table with the rows that each shell gives, zero where it is far."""

    def write(shell: Shell, filled: Table) -> Table:
        for k, row in enumerate(rows(shell)):
            where = (shell.first + k, jnp.zeros_like(shell.first))
            filled = jax.lax.dynamic_update_slice(filled, row[None], where, allow_negative_indices=False)
        return filled

    return _visit(near, write, jnp.zeros((near.n, near.points.shape[1])))


def values(shell: Shell) -> list[Row]:
    """The shell's orbitals φ."""
    (radial,) = _radial(shell, 0)
    return [radial * angular for angular in _angular(shell.l, shell.vector)]


def along(direction: Vector) -> Callable[[Shell], list[Row]]:
    """The derivatives b·∇φ of a shell's orbitals along a direction at each point."""

    def rows(shell: Shell) -> list[Row]:
        radial, slope = _radial(shell, 1)
        outward = slope * _inner(direction, shell.vector)
        if shell.l == 0:
            return [outward * _angular(0, shell.vector)[0]]
        angular, turned = jax.jvp(functools.partial(_angular, shell.l), (shell.vector,), (tuple(direction),))
        return [outward * y + radial * dy for y, dy in zip(angular, turned, strict=True)]

    return rows


def pull(near: Near, by_value: list[Term], by_slope: list[tuple[Vector, list[Term]]]) -> tuple[Vector, Array]:
    """Σ_μ u_μ ∇φ_μ + Σ_μ v_μ ∇(b·∇φ_μ): by points, three rows, and summed over points by atoms, (a, 3).

    by_value are the terms of u; by_slope has pairs of a direction b and the terms of v that goes with it.
    """

    def add(shell: Shell, carry: tuple[Vector, Array]) -> tuple[Vector, Array]:
        by_point, by_atom = carry
        radial = _radial(shell, 2 if by_slope else 1)
        own = _first_order(shell, radial, _rows(shell, by_value))
        for direction, terms in by_slope:
            own = _plus(own, _second_order(shell, radial, direction, _rows(shell, terms)))
        ones = jnp.ones_like(own[0])
        summed = jnp.stack([jnp.dot(row, ones) for row in own])
        return _plus(by_point, own), by_atom.at[shell.atom].add(summed)

    nothing = tuple(jnp.zeros_like(near.points))
    return _visit(near, add, (nothing, jnp.zeros((near.atoms, 3))))


def _rows(shell: Shell, terms: list[Term]) -> list[Row]:
    """The shell's rows of the sum of some tables."""
    rows = []
    for k in range(2 * shell.l + 1):
        found = [(factor, _at(table, shell.first + k)) for factor, table in terms]
        summands = [row if factor is None else factor * row for factor, row in found]
        rows.append(functools.reduce(jnp.add, summands))
    return rows


def _plus(left: Vector, right: Vector) -> Vector:
    return tuple(x + y for x, y in zip(left, right, strict=True))


def _first_order(shell: Shell, radial: list[Row], u: list[Row]) -> Vector:
    """∇(f p) for the polynomial p = Σ_m u_m Y_m, with ∇f = g r: g p r + f ∇p."""
    f, g = radial[:2]
    if shell.l == 0:
        return tuple(g * u[0] * _angular(0, shell.vector)[0] * x for x in shell.vector)
    p, gradient = _polynomial(shell.l, u, shell.vector)
    return tuple(g * p * x + f * dp for x, dp in zip(shell.vector, gradient, strict=True))


def _second_order(shell: Shell, radial: list[Row], b: Vector, v: list[Row]) -> Vector:
    """∇(b·∇(f q)) for the polynomial q = Σ_m v_m Y_m, with ∇f = g r and ∇g = h r."""
    f, g, h = radial
    distance = _inner(b, shell.vector)
    if shell.l == 0:
        q = v[0] * _angular(0, shell.vector)[0]
        return tuple(h * distance * q * x + g * q * y for x, y in zip(shell.vector, b, strict=True))
    polynomial = functools.partial(_polynomial, shell.l, v)
    (q, gradient), (dq, moved) = jax.jvp(polynomial, (shell.vector,), (b,))
    outward, sideways, inward = h * distance * q + g * dq, g * q, g * distance
    rows = zip(shell.vector, b, gradient, moved, strict=True)
    return tuple(outward * x + sideways * y + inward * slope + f * change for x, y, slope, change in rows)


def _inner(left: Vector, right: Vector) -> Row:
    return sum(x * y for x, y in zip(left[1:], right[1:], strict=True)) + left[0] * right[0]


def _radial(shell: Shell, order: int) -> list[Row]:
    """Σ_k c_k (−2 α_k)^t exp(−α_k r²) for t = 0 … order; the gradient of one is the next times r."""
    squared = _inner(shell.vector, shell.vector)
    rows = [jnp.zeros_like(squared)] * (order + 1)
    for exponent, coefficient in zip(shell.exponents, shell.coefficients, strict=True):
        term = coefficient * jnp.exp(-exponent * squared)
        for t in range(order + 1):
            rows[t] = rows[t] + term
            term = term * (-2.0 * exponent)
    return rows


def _polynomial(l: int, weights: list[Row], vector: Vector) -> tuple[Row, Vector]:
    """A combination of solid harmonics with weights of each point, and its gradient."""

    def value(vector: Vector) -> Row:
        return functools.reduce(jnp.add, map(jnp.multiply, weights, _angular(l, vector)))

    combined, backward = jax.vjp(value, vector)
    return combined, backward(jnp.ones_like(combined))[0]


def _angular(l: int, vector: Vector) -> list[Row]:
    """The real solid harmonics of a vector, in PySCF's order."""
    powers = [[jnp.ones_like(x), x] for x in vector]
    for x, known in zip(vector, powers, strict=True):
        for _ in range(l - 1):
            known.append(known[-1] * x)
    cartesians = [(i, j, l - i - j) for i in range(l, -1, -1) for j in range(l - i, -1, -1)]
    rows = []
    for column in solid_harmonics(l).T:
        row = jnp.zeros_like(vector[0])
        for factor, exponents in zip(column, cartesians, strict=True):
            if factor:
                monomial = [powers[axis][power] for axis, power in enumerate(exponents) if power]
                row = row + functools.reduce(lambda left, right: left * right, monomial, factor)
        rows.append(row)
    return rows
