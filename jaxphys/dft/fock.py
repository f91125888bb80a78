"""The Kohn–Sham energy as a function of the density matrix, and its derivative, the Fock matrix."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxphys.dft.functionals import functional
from jaxphys.dft.system import KohnSham, check

Matrix = Float[Array, "n n"]
Scalar = Float[Array, ""]


def energy_and_fock(system: KohnSham, density: Float[Array, "n n"]) -> tuple[Scalar, Matrix]:
    """Total energy in Ha, (), and Fock matrix F = ∂E/∂P in Ha, (n, n), of one density matrix, in one pass.

    E[P] = tr(h P) + ½ tr(J P) − ¼ a tr(K P) + E_xc + E_nuc; closed shell, density-fitted J and K. Only the
    symmetric part of P counts.
    """
    check(system, density=density)
    density = jnp.asarray(density, dtype=jnp.float64)
    density = 0.5 * (density + density.T)
    coulomb_energy, coulomb = _coulomb(system, density)
    xc_energy, xc_potential = _exchange_correlation(system, density)
    energy = jnp.sum(system.core * density) + coulomb_energy + xc_energy + system.nuclear_repulsion
    fock = system.core + coulomb + xc_potential
    fraction = functional(system.xc).exact_exchange
    if fraction:
        exchange = _exchange(system, density)
        energy -= 0.25 * fraction * jnp.sum(exchange * density)
        fock -= 0.5 * fraction * exchange
    return energy, fock


def fock(system: KohnSham, density: Float[Array, "n n"]) -> Matrix:
    """Fock matrix F[P] in Ha, (n, n), of a density matrix P, (n, n)."""
    return energy_and_fock(system, density)[1]


def energy(system: KohnSham, density: Float[Array, "n n"]) -> Scalar:
    """Total energy E[P] in Ha, (), of a density matrix P, (n, n)."""
    return energy_and_fock(system, density)[0]


def _coulomb(system: KohnSham, density: Matrix) -> tuple[Scalar, Matrix]:
    n = density.shape[-1]
    rows, columns = np.tril_indices(n)
    pairs = density[rows, columns] * np.where(rows == columns, 1.0, 2.0)
    charges = system.fitting @ pairs
    potential = charges @ system.fitting
    high, low = np.maximum.outer(np.arange(n), np.arange(n)), np.minimum.outer(np.arange(n), np.arange(n))
    return 0.5 * jnp.sum(charges**2), potential[high * (high + 1) // 2 + low]


def _exchange(system: KohnSham, density: Matrix) -> Matrix:
    n = density.shape[-1]
    fitting = system.exchange_fitting
    half = (fitting.reshape(-1, n) @ density).reshape(n, -1)
    return half @ fitting.reshape(n, -1).T


def _exchange_correlation(system: KohnSham, density: Matrix) -> tuple[Scalar, Matrix]:
    """E_xc and its matrix by quadrature.

    The density on the grid is linear in P, and the matrix is the transpose of that map applied to the
    functional's derivatives; the functional itself is evaluated between the two, for all points at once:
    inside their loops XLA would evaluate it anew for every orbital.
    """
    method = functional(system.xc)
    values, weights = jnp.asarray(system.orbital_values), jnp.asarray(system.grid_weights)

    def total(variables: Array) -> Array:
        sigma = jnp.sum(variables[:, 1:] ** 2, axis=1)
        return jnp.sum(weights * method.energy(variables[:, 0], sigma))

    energy, potentials = jax.value_and_grad(total)(_density_on_grid(values, density))
    return energy, _matrix_from_grid(values, potentials)


@jax.custom_vjp
def _density_on_grid(values: Float[Array, "b k q n"], density: Matrix) -> Float[Array, "b k q"]:
    """ρ, and where the gradients of the orbitals are given ∇ρ, by blocks of points that fit the cache."""

    def block(values: Array) -> Array:
        contracted = values[0] @ density
        rho = jnp.sum(values[0] * contracted, axis=-1)
        return jnp.concatenate([rho[None], 2.0 * jnp.sum(values[1:] * contracted, axis=-1)])

    return jax.lax.map(block, values)


@jax.custom_vjp
def _matrix_from_grid(values: Float[Array, "b k q n"], potentials: Float[Array, "b k q"]) -> Matrix:
    """Matrix of the derivatives of an energy by ρ and ∇ρ: the transpose of `_density_on_grid`."""

    def add(total: Array, block: tuple[Array, Array]) -> tuple[Array, None]:
        values, potentials = block
        factors = jnp.concatenate([0.5 * potentials[:1], potentials[1:]])
        return total + values[0].T @ jnp.sum(factors[:, :, None] * values, axis=0), None

    n = values.shape[-1]
    half, _ = jax.lax.scan(add, jnp.zeros((n, n)), (values, potentials))
    return half + half.T


def _pull_values(function: jax.custom_vjp, values: Array, other: Array, cotangent: Array) -> Array:
    """Cotangent of the orbital values by autodiff; compiled only where somebody asks for it."""
    return jax.vjp(lambda v: function.fun(v, other), values)[1](cotangent)[0]


def _density_backward(saved: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    values, density = saved
    by_values = _pull_values(_density_on_grid, values, density, cotangent)
    return by_values, _matrix_from_grid(values, cotangent)


def _matrix_backward(saved: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    values, potentials = saved
    by_values = _pull_values(_matrix_from_grid, values, potentials, cotangent)
    return by_values, _density_on_grid(values, 0.5 * (cotangent + cotangent.T))


# Each of the two maps is the other's transpose; autodiff would store every block's intermediates instead.
_density_on_grid.defvjp(lambda *a: (_density_on_grid(*a), a), _density_backward)
_matrix_from_grid.defvjp(lambda *a: (_matrix_from_grid(*a), a), _matrix_backward)
