"""The Kohn–Sham energy as a function of the density matrix, and its derivative, the Fock matrix."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxphys.dft.functionals import functional
from jaxphys.dft.system import KohnSham

Matrix = Float[Array, "n n"]
Scalar = Float[Array, ""]


def energy_and_fock(system: KohnSham, density: Float[Array, "n n"]) -> tuple[Scalar, Matrix]:
    """Total energy in Ha, (), and Fock matrix F = ∂E/∂P in Ha, (n, n), of a symmetric density, in one pass.

    E[P] = tr(h P) + ½ tr(J P) − ¼ a tr(K P) + E_xc + E_nuc; closed shell, density-fitted J and K.
    """
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
    """Fock matrix F[P] in Ha, (n, n), of a symmetric density matrix P, (n, n)."""
    return energy_and_fock(system, density)[1]


def energy(system: KohnSham, density: Float[Array, "n n"]) -> Scalar:
    """Total energy E[P] in Ha, (), of a symmetric density matrix P, (n, n)."""
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
    """E_xc and its matrix, summed over blocks of grid points that fit into the cache."""

    def add(total: tuple[Array, Array], block: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        energy, half = _quadrature(system.xc, *block, density)
        return (total[0] + energy, total[1] + half), None

    start = (jnp.zeros(()), jnp.zeros_like(density))
    (energy, half), _ = jax.lax.scan(add, start, (system.orbital_values, system.grid_weights))
    return energy, half + half.T


def _quadrature(xc: str, values: Array, weights: Array, density: Matrix) -> tuple[Scalar, Matrix]:
    """One block's share of E_xc, and of half its matrix; one product with the density serves ρ and ∇ρ."""
    method = functional(xc)
    contracted = values[0] @ density
    rho = jnp.sum(values[0] * contracted, axis=-1)
    gradient = 2.0 * jnp.sum(values[1:] * contracted, axis=-1)  # empty for an LDA
    sigma = jnp.sum(gradient**2, axis=0)

    def total(rho: Array, sigma: Array) -> Array:
        return jnp.sum(weights * method.energy(rho, sigma))

    energy, (by_rho, by_sigma) = jax.value_and_grad(total, argnums=(0, 1))(rho, sigma)
    factors = jnp.concatenate([0.5 * by_rho[None], 2.0 * by_sigma * gradient])
    return energy, values[0].T @ jnp.sum(factors[:, :, None] * values, axis=0)
