"""Derivatives of a self-consistent solution by everything that enters it, from one linear solve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxphys.dft.eigen import density as density_of
from jaxphys.dft.eigen import orbitals
from jaxphys.dft.fock import energy_and_fock, fock
from jaxphys.dft.system import KohnSham

RESPONSE_TOLERANCE = 1e-10
"""Residual of the response equations, relative to the cotangent of the density."""

MAX_RESPONSE_CYCLES = 100


def implicit_solution(solve: Callable[[KohnSham], tuple[Array, ...]], system: KohnSham) -> tuple[Array, ...]:
    """`solve(system)`: energy, F and P of a solution, then what has no derivative; differentiable.

    The solution is a fixed point P = D(F[P, system], S). With F̄ and P̄ the cotangents of F and P, the total
    cotangent of the Fock matrix Z solves Z = D_F (P̄ + F_P Z), where D_F and F_P, the derivatives of density
    and Fock matrix, are symmetric (the coupled-perturbed equations; Pople et al., IJQC S13, 225 (1979)). The
    cotangents of the system are then those of F and D at the solution. For the energy alone Z vanishes.
    """
    arrays, others = _split(system)

    @jax.custom_vjp
    def solution(arrays: list[Array]) -> tuple[Array, ...]:
        return solve(_join(system, arrays, others))

    def forward(arrays: list[Array]) -> tuple[tuple[Array, ...], Any]:
        found = solution(arrays)
        return found, (arrays, *found[:4])

    def backward(saved: Any, cotangents: tuple[Array, ...]) -> tuple[list[Array]]:
        arrays, _, converged_fock, density, converged = saved
        system_ = _join(system, arrays, others)
        _, pull = jax.vjp(lambda a, p: energy_and_fock(_join(system, a, others), p), arrays, density)
        direct, by_density = pull(tuple(cotangents[:2]))
        by_density = _symmetric(by_density + cotangents[2])
        response, solved = _respond(system_, converged_fock, density, by_density)
        _, pull_fock = jax.vjp(lambda a, p: fock(_join(system, a, others), p), arrays, density)
        through_fock, onto_density = pull_fock(response)
        _, pull_density = jax.vjp(lambda a: density_of(_join(system, a, others), converged_fock), arrays)
        (through_overlap,) = pull_density(by_density + _symmetric(onto_density))
        valid = jnp.where(solved & converged, 1.0, jnp.nan)
        total = jax.tree.map(lambda *parts: valid * sum(parts), direct, through_fock, through_overlap)
        return (total,)

    solution.defvjp(forward, backward)
    return solution(arrays)


def _respond(system: KohnSham, fock_: Array, density: Array, by_density: Array) -> tuple[Array, Array]:
    """Z = D_F (P̄ + F_P Z) by conjugate gradients in the occupied–virtual rotations, and whether it is solved.

    With Z = C Y Cᵀ and A Y = −g Y / Δn − Cᵀ F_P[C Y Cᵀ] C, where g are gaps and Δn differences of occupation
    between the two sides, the equation is A Y = Cᵀ P̄ C: symmetric, and positive at a minimum.
    """
    energies, coefficients = orbitals(system, fock_)
    occupation = jnp.asarray(system.occupation)
    difference = occupation[..., :, None] - occupation[..., None, :]
    across = (difference != 0) & system.orbital_mask[:, None] & system.orbital_mask[None, :]
    gaps = energies[..., :, None] - energies[..., None, :]
    # negative: a positive occupation difference goes with a negative one of the levels
    curvature = jnp.where(across, -gaps / jnp.where(across, difference, 1.0), 1.0)
    _, pull = jax.vjp(lambda p: fock(system, p), density)

    def into(matrix: Array) -> Array:
        return jnp.where(across, coefficients.mT @ matrix @ coefficients, 0.0)

    def back(rotation: Array) -> Array:
        return coefficients @ rotation @ coefficients.mT

    def apply(rotation: Array) -> Array:
        (potential,) = pull(back(rotation))
        return curvature * rotation + into(_symmetric(potential))

    goal = RESPONSE_TOLERANCE * jnp.sqrt(jnp.sum((coefficients.mT @ by_density @ coefficients) ** 2))
    solution, solved = _conjugate_gradients(apply, -into(by_density), 1.0 / curvature, goal)
    return back(solution), solved


def _conjugate_gradients(
    apply: Callable[[Array], Array], right: Array, inverse: Array, goal: Array
) -> tuple[Array, Array]:
    """Solution of a symmetric positive system with a diagonal preconditioner, and whether its residual's norm
    came below the goal."""

    def unfinished(state: Any) -> Array:
        _, residual, _, _, cycles = state
        return (jnp.sqrt(jnp.sum(residual**2)) > goal) & (cycles < MAX_RESPONSE_CYCLES)

    def advance(state: Any) -> Any:
        x, residual, direction, product, cycles = state
        image = apply(direction)
        step = product / jnp.sum(direction * image)
        x, residual = x + step * direction, residual - step * image
        new = jnp.sum(residual * inverse * residual)
        return x, residual, inverse * residual + (new / product) * direction, new, cycles + 1

    first = inverse * right
    start = (jnp.zeros_like(right), right, first, jnp.sum(right * first), jnp.asarray(0))
    x, residual, *_ = jax.lax.while_loop(unfinished, advance, start)
    return x, jnp.sqrt(jnp.sum(residual**2)) <= goal


def _symmetric(matrix: Array) -> Array:
    return 0.5 * (matrix + matrix.mT)


def _split(system: KohnSham) -> tuple[list[Array], list[Any]]:
    """The system's float arrays, by which one can differentiate, and all others."""
    leaves = jax.tree.leaves(system)
    floating = [jnp.issubdtype(jnp.result_type(leaf), np.floating) for leaf in leaves]
    arrays = [jnp.asarray(leaf) for leaf, kept in zip(leaves, floating, strict=True) if kept]
    return arrays, [None if kept else leaf for leaf, kept in zip(leaves, floating, strict=True)]


def _join(system: KohnSham, arrays: list[Array], others: list[Any]) -> KohnSham:
    remaining = iter(arrays)
    leaves = [next(remaining) if leaf is None else leaf for leaf in others]
    return jax.tree.unflatten(jax.tree.structure(system), leaves)
