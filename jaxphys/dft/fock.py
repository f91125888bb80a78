"""The Kohn–Sham energy as a function of the density matrix, and its derivative, the Fock matrix."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxphys.dft.functionals import Functional, functional
from jaxphys.dft.system import KohnSham, check

Matrix = Float[Array, "n n"]
Matrices = Float[Array, "*spin n n"]
Scalar = Float[Array, ""]


def energy_and_fock(system: KohnSham, density: Matrices) -> tuple[Scalar, Matrices]:
    """Total energy E in Ha, (), and Fock matrix F = ∂E/∂P in Ha, (n, n), of one density matrix, in one pass.

    E[P] = tr(h P) + ½ tr(J P) − ¼ a tr(K P) + E_xc + E_nuc; density-fitted J and K. Only the symmetric part
    of P counts. An open shell has a matrix for each spin, (2, n, n), and −½ a Σ_s tr(K_s P_s).
    """
    check(system, density=density)
    density = jnp.asarray(density, dtype=jnp.float64)
    density = 0.5 * (density + density.mT)
    exchange = [_exchange(fitting, density) for _, fitting in _exchange_parts(system)]
    return _assemble(system, density, exchange, functools.partial(_each, _density_on_grid, density))


def energy_and_fock_of_orbitals(
    system: KohnSham, orbitals: Float[Array, "*spin n o"]
) -> tuple[Scalar, Matrices]:
    """The same for P = O Oᵀ, where O are occupied orbitals times the root of their occupation.

    Exchange costs o / n of what a density matrix costs. Not meant to be differentiated.
    """
    exchange = [_exchange_of_orbitals(fitting, orbitals) for _, fitting in _exchange_parts(system)]
    density = orbitals @ orbitals.mT
    n, o = orbitals.shape[-2:]
    if 4 * o < n:  # values and three derivatives of each occupied orbital are fewer than all orbitals
        on_grid = functools.partial(_each, _orbitals_on_grid, orbitals)
    else:
        on_grid = functools.partial(_each, _density_on_grid, density)
    return _assemble(system, density, exchange, on_grid)


def _each(on_grid: Any, matrices: Array, kinetic: bool, values: Array) -> list[Array]:
    """What the functional needs on the grid, of a closed shell or of each spin."""
    return [on_grid(kinetic, values, one) for one in (matrices if matrices.ndim == 3 else [matrices])]


def fock(system: KohnSham, density: Matrices) -> Matrices:
    """Fock matrix F[P] in Ha, (n, n), of a density matrix P, (n, n); of both spins (2, n, n)."""
    return energy_and_fock(system, density)[1]


def energy(system: KohnSham, density: Matrices) -> Scalar:
    """Total energy E[P] in Ha, (), of a density matrix P, (n, n); of both spins (2, n, n)."""
    return energy_and_fock(system, density)[0]


def _assemble(
    system: KohnSham, density: Matrices, exchange: list[Matrices], on_grid: Any
) -> tuple[Scalar, Matrices]:
    total = density if density.ndim == 2 else density.sum(0)
    coulomb_energy, coulomb = _coulomb(system, total)
    xc_energy, xc_potential = _exchange_correlation(system, on_grid)
    energy = jnp.sum(system.core * total) + coulomb_energy + xc_energy + system.nuclear_repulsion
    fock = system.core + coulomb + xc_potential
    share = 0.5 if density.ndim == 2 else 1.0  # of a closed shell's P each spin has one half
    for (fraction, _), matrix in zip(_exchange_parts(system), exchange, strict=True):
        energy -= 0.5 * share * fraction * jnp.sum(matrix * density)
        fock -= share * fraction * matrix
    return energy, fock


def _coulomb(system: KohnSham, density: Matrix) -> tuple[Scalar, Matrix]:
    n = density.shape[-1]
    rows, columns = np.tril_indices(n)
    pairs = density[rows, columns] * np.where(rows == columns, 1.0, 2.0)
    charges = system.fitting @ pairs
    potential = charges @ system.fitting
    high, low = np.maximum.outer(np.arange(n), np.arange(n)), np.minimum.outer(np.arange(n), np.arange(n))
    return 0.5 * jnp.sum(charges**2), potential[high * (high + 1) // 2 + low]


def _exchange_parts(system: KohnSham) -> list[tuple[float, Array]]:
    """Fractions of exact exchange, each with the integrals of its interaction."""
    method, parts = functional(system.xc), []
    if method.exact_exchange:
        parts.append((method.exact_exchange, jnp.asarray(system.exchange_fitting)))
    if method.range_separation:
        long = method.range_separation.long - method.range_separation.short
        parts.append((long, jnp.asarray(system.long_range_fitting)))
    return parts


def _exchange(fitting: Float[Array, "n m n"], density: Matrices) -> Matrices:
    n = density.shape[-1]
    if density.ndim == 3:
        return jnp.stack([_exchange(fitting, one) for one in density])
    half = (fitting.reshape(-1, n) @ density).reshape(n, -1)
    return half @ fitting.reshape(n, -1).T


def _exchange_of_orbitals(fitting: Float[Array, "n m n"], orbitals: Float[Array, "*spin n o"]) -> Matrices:
    n = orbitals.shape[-2]
    if orbitals.ndim == 3:
        return jnp.stack([_exchange_of_orbitals(fitting, one) for one in orbitals])
    half = (fitting.reshape(-1, n) @ orbitals).reshape(n, -1)
    return half @ half.T


def _exchange_correlation(system: KohnSham, on_grid: Any) -> tuple[Scalar, Matrices]:
    """E_xc and its matrix by quadrature; on_grid(kinetic, values) are ρ, ∇ρ, τ for each spin.

    The density on the grid is linear in P, and the matrix is the transpose of that map applied to the
    functional's derivatives; the functional itself is evaluated between the two, for all points at once:
    inside their loops XLA would evaluate it anew for every orbital.
    """
    method = functional(system.xc)
    values, weights = jnp.asarray(system.orbital_values), jnp.asarray(system.grid_weights)

    def total(*variables: Array) -> Array:
        return jnp.sum(weights * _energy_density(method, system, variables))

    kinetic = method.needs_kinetic
    variables = on_grid(kinetic, values)
    energy, potentials = jax.value_and_grad(total, argnums=tuple(range(len(variables))))(*variables)
    matrices = [_matrix_from_grid(kinetic, values, one) for one in potentials]
    return energy, matrices[0] if len(matrices) == 1 else jnp.stack(matrices)


def _energy_density(method: Functional, system: KohnSham, spins: tuple[Array, ...]) -> Float[Array, "b q"]:
    """Exchange–correlation energy per volume from ρ, ∇ρ and τ of each spin, or of both together."""
    gradients = [variables[:, 1:4] for variables in spins]
    tau = [variables[:, 4] for variables in spins] if method.needs_kinetic else None
    if len(spins) == 1:
        sigma = jnp.sum(gradients[0] ** 2, axis=1)
        return method.energy(spins[0][:, 0], sigma, *(tau or ()))
    sigmas = [jnp.sum(gradients[i] * gradients[j], axis=1) for i, j in ((0, 0), (0, 1), (1, 1))]
    densities = jnp.stack([variables[:, 0] for variables in spins])
    return method.polarised_energy(densities, jnp.stack(sigmas), jnp.stack(tau) if tau else None)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _density_on_grid(
    kinetic: bool, values: Float[Array, "b k n q"], density: Matrix
) -> Float[Array, "b v q"]:
    """ρ, with gradients of the orbitals ∇ρ, and τ if asked for; by blocks of points that fit the cache."""

    return _each_block(functools.partial(_density_on_block, kinetic, density), values)


def _density_on_block(kinetic: bool, density: Matrix, values: Float[Array, "k n q"]) -> Float[Array, "v q"]:
    contracted = density @ values[0]
    rho = jnp.sum(values[0] * contracted, axis=0)
    variables = [rho[None], 2.0 * jnp.sum(values[1:] * contracted, axis=1)]
    if kinetic:
        tau = [jnp.sum(value * (density @ value), axis=0) for value in values[1:]]
        variables.append(0.5 * jnp.sum(jnp.stack(tau), axis=0)[None])
    return jnp.concatenate(variables)


def _orbitals_on_grid(
    kinetic: bool, values: Float[Array, "b k n q"], orbitals: Float[Array, "n o"]
) -> Float[Array, "b v q"]:
    """The same from occupied orbitals times the root of their occupation: fewer products, no derivatives."""

    def block(values: Array) -> Array:
        own, *gradient = (rows @ value for value in values)
        variables = [jnp.sum(own**2, axis=0), *(2.0 * jnp.sum(own * one, axis=0) for one in gradient)]
        if kinetic:
            variables.append(0.5 * jnp.sum(jnp.stack(gradient) ** 2, axis=(0, 1)))
        return jnp.stack(variables)

    # stored the way it is read: XLA's product of a transposed matrix takes twice the time
    rows = jax.lax.optimization_barrier(orbitals.T)
    return _each_block(block, values)


def _each_block(function: Any, *arrays: Array) -> Array:
    """The function of every block, one after the other; by its index, since a batch of values is not to be
    transposed."""
    return jax.lax.map(
        lambda index: function(*(array[index] for array in arrays)), jnp.arange(len(arrays[0]))
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _matrix_from_grid(
    kinetic: bool, values: Float[Array, "b k n q"], potentials: Float[Array, "b v q"]
) -> Matrix:
    """Matrix of the derivatives of an energy by ρ, ∇ρ and τ: the transpose of `_density_on_grid`."""

    def add(total: Array, index: Array) -> tuple[Array, None]:
        return total + _matrix_from_block(kinetic, potentials[index], values[index]), None

    n = values.shape[-2]
    half, _ = jax.lax.scan(add, jnp.zeros((n, n)), jnp.arange(len(values)))
    return half + half.T


def _matrix_from_block(
    kinetic: bool, potentials: Float[Array, "v q"], values: Float[Array, "k n q"]
) -> Matrix:
    """A block's part of one half of the matrix; the other half is its transpose."""
    # term by term: of a sum over an axis XLA would store every term first
    weighted = 0.5 * potentials[0] * values[0]
    for potential, value in zip(potentials[1:4], values[1:], strict=False):
        weighted += potential * value
    half = values[0] @ weighted.T
    if kinetic:
        half += sum(value @ (0.25 * potentials[4] * value).T for value in values[1:])
    return half


# Cotangents of the orbital values come block by block, too, compiled only where somebody asks for them.
def _density_backward(kinetic: bool, saved: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    values, density = saved

    def pull(values: Array, cotangent: Array) -> Array:
        return jax.vjp(functools.partial(_density_on_block, kinetic, density), values)[1](cotangent)[0]

    return _each_block(pull, values, cotangent), _matrix_from_grid(kinetic, values, cotangent)


def _matrix_backward(kinetic: bool, saved: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    values, potentials = saved
    twice = cotangent + cotangent.T

    def pull(values: Array, potentials: Array) -> Array:
        return jax.vjp(functools.partial(_matrix_from_block, kinetic, potentials), values)[1](twice)[0]

    return _each_block(pull, values, potentials), _density_on_grid(kinetic, values, 0.5 * twice)


# Each of the two maps is the other's transpose; autodiff would store every block's intermediates instead.
_density_on_grid.defvjp(lambda *a: (_density_on_grid(*a), a[1:]), _density_backward)
_matrix_from_grid.defvjp(lambda *a: (_matrix_from_grid(*a), a[1:]), _matrix_backward)
