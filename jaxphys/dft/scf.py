"""The self-consistent field: DIIS in one compiled loop, which `jax.vmap` runs over stacked molecules."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxphys.dft.eigen import occupied_orbitals, orbitals
from jaxphys.dft.fock import energy_and_fock, energy_and_fock_of_orbitals
from jaxphys.dft.implicit import implicit_solution
from jaxphys.dft.system import KohnSham, Leaf, check

DIIS_SPACE = 8

COARSE_TOLERANCE = 1e-4
"""Orbital gradient, in Ha, at which the coarse grid has done its part: its own error is about a tenth."""

PATIENCE = 25
"""Cycles that extrapolation is given before a descent with raised virtual levels, and the other way round."""

LEAST_SHIFT = 0.1  # Ha


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SCFResult:
    """A Kohn–Sham solution; a batch adds a leading axis to each array, an open shell one for the spins."""

    energy: Leaf  # () total energy in Ha
    fock: Leaf  # (n, n) F[P] in Ha
    density: Leaf  # (n, n) P
    orbital_energies: Leaf  # (n,) in Ha
    coefficients: Leaf  # (n, n) one orbital a column
    converged: Leaf  # () bool
    cycles: Leaf  # () Fock builds spent


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Point:
    energy: Any
    fock: Any  # (s, n, n)
    density: Any  # (s, n, n)
    error_matrix: Any  # (s, n, n) orbital gradient
    error: Any  # () its largest element


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _State:
    last: _Point
    best: _Point  # the lowest energy so far
    history: Any  # (DIIS_SPACE, 2, s, n, n): Fock matrices and their errors, a ring buffer
    error: Any  # () of the last point
    shift: Any  # () Ha by which virtual levels are raised while descending
    descending: Any  # () bool
    descents: Any  # () how often extrapolation has been given up
    since: Any  # () Fock builds in the present way of going on
    cycles: Any


def scf(
    system: KohnSham,
    *,
    guess: str | Float[Array, "*spin n n"] = "minao",
    tolerance: float = 1e-8,
    max_cycles: int = 100,
) -> SCFResult:
    """Self-consistent solution of one system; under `jax.vmap` each molecule converges on its own.

    guess: "minao" (superposition of atomic densities), "core" (no electron repulsion) or a Fock matrix
    (n, n) in Ha, such as a model's prediction. tolerance: largest element of the orbital gradient
    Xᵀ(FPS − SPF)X in Ha; the energy's error is of its square. A molecule that does not converge
    says so in `converged`, and gives the lowest energy that it met. Where DIIS has not converged after 25
    cycles, the best density so far goes downhill with raised virtual levels (Saunders and Hillier, IJQC 7,
    699 (1973)), then DIIS takes over again.

    Everything in the result but the coefficients is differentiable by every array of the system, by one
    linear solve (`dft.implicit`); the guess has no influence. Derivatives of what did not converge are NaN.
    """
    constant = jax.lax.stop_gradient(system)
    coarse = _on_coarse_grid(constant) if system.coarse_weights.shape[-2] else constant
    first, spent = _first_fock(coarse, guess)

    def solve(system: KohnSham) -> tuple[Array, ...]:
        start, cycles = first, jnp.asarray(spent)
        if system.coarse_weights.shape[-2]:
            coarse = _on_coarse_grid(system)
            state = _iterate(coarse, start, cycles, max(tolerance, COARSE_TOLERANCE), max_cycles // 2)
            start, cycles = state.last.fock, cycles + state.cycles
        state = _iterate(system, start, cycles, tolerance, max_cycles)
        converged = state.error <= tolerance
        found = jax.tree.map(lambda last, best: jnp.where(converged, last, best), state.last, state.best)
        return found.energy, found.fock, found.density, converged, state.cycles + cycles

    energy, fock, density, converged, cycles = implicit_solution(solve, system)
    energies, coefficients = orbitals(system, fock)
    return SCFResult(energy, fock, density, energies, coefficients, converged, cycles)


def guess_fock(system: KohnSham) -> Float[Array, "*spin n n"]:
    """Fock matrix of the superposition of atomic densities in Ha, (n, n): one Fock build."""
    density = jnp.asarray(system.guess_density)
    if jnp.ndim(system.occupation) == 2:
        electrons = jnp.sum(jnp.asarray(system.occupation), axis=1)
        density = density * (electrons / jnp.sum(electrons))[:, None, None]
    return energy_and_fock(system, density)[1]


def _first_fock(system: KohnSham, guess: str | Array) -> tuple[Array, int]:
    """The Fock matrix to begin with, and the Fock builds spent on it.

    The superposed density itself would not do: its occupations are not 0 and 2, so that its orbital
    gradient may vanish far from the solution, in a minimal basis by symmetry alone.
    """
    if not isinstance(guess, str):
        check(system, fock=guess)
        return jax.lax.stop_gradient(jnp.asarray(guess, jnp.float64)), 0
    if guess == "core":
        return jnp.broadcast_to(jnp.asarray(system.core), matrix_shape(system)), 0
    if guess == "minao":
        return guess_fock(system), 1
    raise ValueError(f"guess must be 'minao', 'core' or a Fock matrix, got {guess!r}")


def matrix_shape(system: KohnSham) -> tuple[int, ...]:
    """Shape of a density or Fock matrix: (n, n), or (2, n, n) for an open shell."""
    return (*jnp.shape(system.occupation)[:-1], *jnp.shape(system.core))


def _on_coarse_grid(system: KohnSham) -> KohnSham:
    return replace(system, grid_weights=system.coarse_weights, orbital_values=system.coarse_values)


def _iterate(system: KohnSham, first: Array, spent: Array, tolerance: float, max_cycles: int) -> _State:
    start = _start(system, first)

    def unfinished(state: _State) -> Array:
        return (state.error > tolerance) & (state.cycles + spent < max_cycles)

    return jax.lax.while_loop(unfinished, lambda state: _advance(system, state), start)


def _start(system: KohnSham, first: Array) -> _State:
    point = _build(system, first)
    history = jnp.zeros((DIIS_SPACE, 2, *first.shape)).at[0].set(jnp.stack([point.fock, point.error_matrix]))
    zero, one = jnp.asarray(0), jnp.asarray(1)
    return _State(point, point, history, point.error, jnp.asarray(0.0), jnp.asarray(False), zero, one, one)


def _advance(system: KohnSham, state: _State) -> _State:
    """One Fock build: by extrapolation or, where that has failed, by a step that has to go down."""
    best = state.best
    shifted = best.fock + state.shift * _virtual_projector(system, best.density)
    extrapolated = _extrapolate(state.history, state.cycles, state.since)
    point = _build(system, jnp.where(state.descending, shifted, extrapolated))
    down = point.energy < best.energy
    best = jax.tree.map(lambda new, old: jnp.where(down, new, old), point, best)
    shift = jnp.where(down, 0.5 * state.shift, jnp.maximum(2.0 * state.shift, LEAST_SHIFT))
    shift = jnp.where(state.descending, shift, LEAST_SHIFT)
    goal = 10.0 ** -(1.0 + state.descents)
    arrived = state.descending & ((down & (point.error < goal)) | (state.since >= PATIENCE))
    stuck = ~state.descending & (state.since >= PATIENCE)
    stored = jnp.stack([point.fock, point.error_matrix])
    return _State(
        last=point,
        best=best,
        history=state.history.at[state.cycles % DIIS_SPACE].set(stored),
        error=point.error,
        shift=shift,
        descending=jnp.where(arrived, False, state.descending | stuck),
        descents=state.descents + stuck,
        since=jnp.where(arrived | stuck, 1, state.since + 1),
        cycles=state.cycles + 1,
    )


def _virtual_projector(system: KohnSham, density: Array) -> Array:
    """S − S P S / n: adding a multiple of it to F raises the virtual levels of P, and changes no other."""
    overlap = jnp.asarray(system.overlap)
    occupancy = 2.0 if density.ndim == 2 else 1.0
    return overlap - overlap @ density @ overlap / occupancy


def _build(system: KohnSham, fock: Array) -> _Point:
    """The Fock build of the density of `fock`."""
    occupied = occupied_orbitals(system, fock)
    energy, fock = energy_and_fock_of_orbitals(system, occupied)
    density = occupied @ occupied.mT
    gradient = fock @ density @ system.overlap
    error = system.orthonormaliser.T @ (gradient - gradient.mT) @ system.orthonormaliser
    return _Point(energy, fock, density, error, jnp.max(jnp.abs(error)))


def _extrapolate(history: Array, cycles: Array, stored: Array) -> Array:
    """Combination of the latest Fock matrices whose error is smallest (Pulay, CPL 73, 393 (1980))."""
    errors = history[:, 1].reshape(DIIS_SPACE, -1)
    age = (cycles - 1 - jnp.arange(DIIS_SPACE)) % DIIS_SPACE  # 0 for the newest
    used = age < stored
    products = errors @ errors.T
    products = products / jnp.maximum(jnp.max(jnp.where(used, jnp.diag(products), 0.0)), 1e-300)
    matrix = jnp.zeros((DIIS_SPACE + 1, DIIS_SPACE + 1))
    matrix = matrix.at[1:, 1:].set(jnp.where(used[:, None] & used[None, :], products, jnp.diag(~used * 1.0)))
    matrix = matrix.at[0, 1:].set(used * 1.0).at[1:, 0].set(used * 1.0)
    values, vectors = jnp.linalg.eigh(matrix)
    # nearly equal errors give null directions
    inverse = jnp.where(jnp.abs(values) > 1e-14, 1.0 / values, 0.0)
    weights = (vectors @ (inverse * vectors[0]))[1:] * used
    return jnp.tensordot(weights, history[:, 0], axes=1)
