"""Derivatives of the exchange–correlation energy by nuclei, quadrature points and weights, for a CPU.

Points are treated in blocks, one on each core. Derivatives of orbitals are never stored: what is needed of
them is contracted with the density while they are formed.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from pyscf import gto, lib

from jaxphys.dft.functionals import Functional
from jaxphys.dft.shell_loops import (
    Orbitals,
    Row,
    Table,
    Term,
    Vector,
    along,
    near,
    padded_orbitals,
    pull,
    round_up,
    table,
    values,
)

POINTS_PER_BLOCK = 1024
NEGLIGIBLE_WEIGHT = 1e-14
"""Quadrature weights (Bohr³) that are left out, with their points."""


@dataclass(frozen=True)
class GridGradient:
    """Derivatives of E_xc in Ha and Bohr. That by the weights is its energy density at the points."""

    nuclei: Float[np.ndarray, "a 3"]  # at fixed points and weights
    points: Float[np.ndarray, "g 3"]
    weights: Float[np.ndarray, " g"]


def grid_gradient(
    mole: gto.Mole,
    method: Functional,
    coefficients: Sequence[Float[np.ndarray, "n _"]],
    *,
    points: Float[np.ndarray, "g 3"],
    weights: Float[np.ndarray, " g"],
) -> GridGradient:
    """Derivatives of the semilocal energy on points in Bohr, of occupied orbitals (n, o) of each spin.

    One set of orbitals is a closed shell with two electrons in each, two sets are spin up and down.
    """
    kept = np.flatnonzero(np.abs(weights) > NEGLIGIBLE_WEIGHT)
    kept = kept[_compact_order(points[kept])]
    filling = -len(kept) % POINTS_PER_BLOCK
    rows = np.pad(points[kept], [(0, filling), (0, 0)], mode="edge").reshape(-1, POINTS_PER_BLOCK, 3)
    factors = np.pad(weights[kept], (0, filling)).reshape(-1, POINTS_PER_BLOCK)
    # XLA multiplies by a transposed matrix at half its speed
    padded = [(c, np.ascontiguousarray(c.T)) for c in map(_pad, coefficients)]
    molecule = jax.device_put((padded_orbitals(mole), padded))

    def evaluate(rows: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, ...]:
        with jax.enable_x64(True):  # set by a context manager, it does not reach other threads
            return jax.device_get(_block(method, *molecule, np.ascontiguousarray(rows.T), factors))

    # XLA keeps to one core within a block: its loops are too small for more
    with ThreadPoolExecutor(lib.num_threads()) as pool:
        by_atom, by_point, energy = map(np.stack, zip(*pool.map(evaluate, rows, factors), strict=True))
    by_points, by_weights = np.zeros(points.shape), np.zeros(weights.shape)
    by_points[kept] = by_point.swapaxes(1, 2).reshape(-1, 3)[: len(kept)]
    by_weights[kept] = energy.ravel()[: len(kept)]
    return GridGradient(-by_atom.sum(axis=0)[: mole.natm], by_points, by_weights)


def _compact_order(points: Float[np.ndarray, "g 3"]) -> np.ndarray:
    """An order of the points in which neighbours follow each other: Morton's curve through 32³ boxes."""
    spread = np.array([sum((box >> bit & 1) << 3 * bit for bit in range(5)) for box in range(32)], np.uint16)
    key = np.zeros(len(points), np.uint16)
    for axis, row in enumerate(points.T):
        low, high = row.min(), row.max()
        key |= spread[((row - low) * (32 / (high - low + 1e-6))).astype(np.uint8)] << axis
    return np.argsort(key, kind="stable")


def _pad(coefficients: np.ndarray) -> np.ndarray:
    n, o = coefficients.shape
    return np.pad(coefficients, [(0, round_up(n, 32) - n), (0, round_up(o, 8) - o)])


@functools.partial(jax.jit, static_argnums=0)
def _block(
    method: Functional,
    orbitals: Orbitals,
    coefficients: list[tuple[Array, Array]],
    points: Float[Array, "3 q"],
    weights: Float[Array, " q"],
) -> tuple[Float[Array, "a 3"], Float[Array, "3 q"], Float[Array, " q"]]:
    """One block's E_xc derived by where orbitals are centred (sign reversed), by its points and its weights.

    With the occupied orbitals ψ and Y = P φ, ρ is Σ f ψ², ∇ρ is 2 Y·∇φ and τ is ½ Σ f |∇ψ|². Their cotangents
    a, b and t give those of φ, 2 a Y + P (2 b·∇φ), and of ∇φ, 2 b Y + t P ∇φ.
    """
    here = near(orbitals, points, len(coefficients[0][0]))
    densities, rho = _densities(coefficients, table(here, values))
    axes, gradient, tau = _axes(jnp.ones_like(weights)), None, None
    flows: list[list[Table]] = []
    if method.needs_gradient:
        gradient = 2.0 * jnp.stack([jnp.stack(pull(here, [(None, y)], [])[0]) for y in densities])
    if method.needs_kinetic:
        moved = [_densities(coefficients, table(here, along(axis))) for axis in axes]
        flows, tau = [flow for flow, _ in moved], 0.5 * sum(squares for _, squares in moved)
    energy, backward = jax.vjp(functools.partial(_energy, method), rho, gradient, tau)
    a, b, t = backward(weights)

    by_value: list[Term] = [(2.0 * a[s], y) for s, y in enumerate(densities)]
    by_slope: list[tuple[Vector, list[Term]]] = []
    for k, flow in enumerate(flows):
        by_value += [(2.0 * b[s, k], y) for s, y in enumerate(flow)]
        terms = [(2.0 * b[s, k], y) for s, y in enumerate(densities)]
        by_slope.append((axes[k], terms + [(t[s], y) for s, y in enumerate(flow)]))
    if method.needs_gradient and not method.needs_kinetic:
        for s, density in enumerate(densities):
            direction = tuple(2.0 * b[s])
            changed, _ = _densities(coefficients, table(here, along(direction)))
            by_value.append((None, changed[s]))
            by_slope.append((direction, [(None, density)]))
    by_point, by_atom = pull(here, by_value, by_slope)
    return by_atom, jnp.stack(by_point), energy


def _densities(coefficients: list[tuple[Array, Array]], rows: Table) -> tuple[list[Table], Array]:
    """P times a table of φ or of a derivative, for each spin, and Σ f ψ² of the occupied orbitals, (s, q)."""
    occupation = 2.0 if len(coefficients) == 1 else 1.0
    occupied = [transposed @ rows for _, transposed in coefficients]
    squares = jnp.stack([occupation * jnp.sum(psi**2, axis=0) for psi in occupied])
    return [c @ (occupation * psi) for (c, _), psi in zip(coefficients, occupied, strict=True)], squares


def _axes(row: Row) -> list[Vector]:
    """Vectors along x, y and z of the length that the row gives."""
    zero = jnp.zeros_like(row)
    return [(row, zero, zero), (zero, row, zero), (zero, zero, row)]


def _energy(method: Functional, rho: Array, gradient: Array | None, tau: Array | None) -> Row:
    """Energy per volume, (q,), of ρ (s, q), ∇ρ (s, 3, q) and τ (s, q); one spin stands for a closed shell."""
    closed = len(rho) == 1
    variables = [rho[0] if closed else rho]
    if gradient is not None:
        pairs = [(0, 0)] if closed else [(0, 0), (0, 1), (1, 1)]
        sigma = [jnp.sum(gradient[i] * gradient[j], axis=0) for i, j in pairs]
        variables.append(sigma[0] if closed else jnp.stack(sigma))
    if tau is not None:
        variables.append(tau[0] if closed else tau)
    return (method.energy if closed else method.polarised_energy)(*variables)
