"""The self-consistent field: DIIS in one compiled loop, which `jax.vmap` runs over stacked molecules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxphys.dft.eigen import density as density_of
from jaxphys.dft.eigen import orbitals
from jaxphys.dft.fock import energy_and_fock
from jaxphys.dft.system import KohnSham, Leaf

DIIS_SPACE = 8


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SCFResult:
    """A Kohn–Sham solution; a batch adds a leading axis to each array."""

    energy: Leaf  # () total energy in Ha
    fock: Leaf  # (n, n) F[P] in Ha
    density: Leaf  # (n, n) P
    orbital_energies: Leaf  # (n,) in Ha
    coefficients: Leaf  # (n, n) one orbital a column
    converged: Leaf  # () bool
    cycles: Leaf  # () Fock builds spent


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _State:
    energy: Any
    fock: Any
    density: Any
    history: Any  # (DIIS_SPACE, 2, n, n): Fock matrices and their errors, a ring buffer
    error: Any  # () largest element of the orbital gradient
    cycles: Any


def scf(
    system: KohnSham,
    *,
    guess: str | Float[Array, "n n"] = "minao",
    tolerance: float = 1e-8,
    max_cycles: int = 50,
) -> SCFResult:
    """Self-consistent solution of one system; under `jax.vmap` each molecule converges on its own.

    guess: "minao" (superposition of atomic densities), "core" (no electron repulsion) or a Fock matrix
    (n, n) in Ha, such as a model's prediction. tolerance: largest element of the orbital gradient
    Xᵀ(FPS − SPF)X in Ha; the energy's error is of its square. A molecule that does not converge
    says so in `converged`.
    """
    first, spent = _first_fock(system, guess)
    history = jnp.zeros((DIIS_SPACE, 2, *system.core.shape))
    start = _build(system, density_of(system, first), history, jnp.asarray(0))

    def unfinished(state: _State) -> Array:
        return (state.error > tolerance) & (state.cycles + spent < max_cycles)

    state = jax.lax.while_loop(unfinished, lambda state: _advance(system, state), start)
    energies, coefficients = orbitals(system, state.fock)
    return SCFResult(
        energy=state.energy,
        fock=state.fock,
        density=state.density,
        orbital_energies=energies,
        coefficients=coefficients,
        converged=state.error <= tolerance,
        cycles=state.cycles + spent,
    )


def guess_fock(system: KohnSham) -> Float[Array, "n n"]:
    """Fock matrix of the superposition of atomic densities in Ha, (n, n): one Fock build."""
    return energy_and_fock(system, jnp.asarray(system.guess_density))[1]


def _first_fock(system: KohnSham, guess: str | Array) -> tuple[Array, int]:
    """The Fock matrix to begin with, and the Fock builds spent on it.

    The superposed density itself would not do: its occupations are not 0 and 2, so that its orbital
    gradient may vanish far from the solution, in a minimal basis by symmetry alone.
    """
    if not isinstance(guess, str):
        return guess, 0
    if guess == "core":
        return jnp.asarray(system.core), 0
    if guess == "minao":
        return guess_fock(system), 1
    raise ValueError(f"guess must be 'minao', 'core' or a Fock matrix, got {guess!r}")


def _advance(system: KohnSham, state: _State) -> _State:
    fock = _extrapolate(state.history, state.cycles)
    return _build(system, density_of(system, fock), state.history, state.cycles)


def _build(system: KohnSham, density: Array, history: Array, cycles: Array) -> _State:
    energy, fock = energy_and_fock(system, density)
    gradient = fock @ density @ system.overlap
    error = system.orthonormaliser.T @ (gradient - gradient.T) @ system.orthonormaliser
    history = history.at[cycles % DIIS_SPACE].set(jnp.stack([fock, error]))
    return _State(energy, fock, density, history, jnp.max(jnp.abs(error)), cycles + 1)


def _extrapolate(history: Array, filled: Array) -> Array:
    """Combination of the stored Fock matrices whose error is smallest (Pulay, CPL 73, 393 (1980))."""
    errors = history[:, 1].reshape(DIIS_SPACE, -1)
    used = jnp.arange(DIIS_SPACE) < filled
    products = errors @ errors.T
    products = products / jnp.maximum(jnp.max(jnp.diag(products)), 1e-300)
    matrix = jnp.zeros((DIIS_SPACE + 1, DIIS_SPACE + 1))
    matrix = matrix.at[1:, 1:].set(jnp.where(used[:, None] & used[None, :], products, jnp.diag(~used * 1.0)))
    matrix = matrix.at[0, 1:].set(used * 1.0).at[1:, 0].set(used * 1.0)
    values, vectors = jnp.linalg.eigh(matrix)
    # nearly equal errors give null directions
    inverse = jnp.where(jnp.abs(values) > 1e-14, 1.0 / values, 0.0)
    weights = (vectors @ (inverse * vectors[0]))[1:] * used
    return jnp.tensordot(weights, history[:, 0], axes=1)
