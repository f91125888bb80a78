"""From a Fock matrix to its orbitals and density, with derivatives that stay exact under degeneracy."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero
from jaxtyping import Array, Float

from jaxphys.dft.system import KohnSham, check

Matrix = Float[Array, "n n"]
Matrices = Float[Array, "*spin n n"]


def density(system: KohnSham, fock: Matrices) -> Matrices:
    """Density matrix P = C n Cᵀ of a Fock matrix (Ha), (n, n); of both spins (2, n, n) for an open shell.

    Its derivative by F and by the overlap uses occupied–virtual gaps only (hence exact for degenerate levels
    on either side), and diverges only where the gap between highest occupied and lowest virtual level closes.
    """
    check(system, fock=fock)
    mask, transformation = jnp.asarray(system.orbital_mask), jnp.asarray(system.orthonormaliser)
    overlap = jnp.asarray(system.overlap)

    def one(fock: Array, occupation: Array) -> Array:
        return _density(fock, overlap, transformation, mask, occupation)

    return each_spin(one, jnp.asarray(fock, jnp.float64), jnp.asarray(system.occupation))


def orbitals(system: KohnSham, fock: Matrices) -> tuple[Float[Array, "*spin n"], Matrices]:
    """Orbital energies in Ha, (n,), ascending, and coefficients, (n, n), one orbital a column: F C = S C ε.

    Padded and linearly dependent orbitals come last, with energies above all others and zero coefficients.
    Energies are differentiable, exactly so for sums over whole degenerate levels; single orbitals have no
    derivative under degeneracy, so differentiating coefficients raises TypeError: use `density`.
    Of an open shell both have a leading axis for the spins.
    """
    check(system, fock=fock)
    mask, transformation = jnp.asarray(system.orbital_mask), jnp.asarray(system.orthonormaliser)
    overlap = jnp.asarray(system.overlap)
    fock = jnp.asarray(fock, jnp.float64)
    return each_spin(lambda fock: _eigenpairs(fock, overlap, transformation, mask), fock)


def occupied_orbitals(system: KohnSham, fock: Matrices) -> Float[Array, "*spin n o"]:
    """Occupied orbitals times the root of their occupation, (n, o): O with P = O Oᵀ; not differentiable."""
    check(system, fock=fock)
    mask, transformation = jnp.asarray(system.orbital_mask), jnp.asarray(system.orthonormaliser)
    occupation = jnp.asarray(system.occupation)
    _, coefficients = each_spin(lambda fock: _solve(fock, transformation, mask), fock)
    return (coefficients * jnp.sqrt(occupation)[..., None, :])[..., : system.occupied]


def each_spin(function: Any, matrices: Array, *others: Array) -> Any:
    """A function of one spin's matrix applied to a matrix, or to each of the two of an open shell."""
    if matrices.ndim == 2:
        return function(matrices, *others)
    results = [function(*(a[spin] for a in (matrices, *others))) for spin in range(2)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)


def _solve(fock: Array, transformation: Array, mask: Array) -> tuple[Array, Array]:
    """Energies and coefficients of one spin, with the columns that are not real above every real level."""
    projected = transformation.T @ (0.5 * (fock + fock.T)) @ transformation
    top = 1.0 + 2.0 * jnp.sqrt(jnp.sum(projected**2))
    energies, vectors = jnp.linalg.eigh(projected + jnp.diag(jnp.where(mask, 0.0, top)))
    return energies, transformation @ vectors


@jax.custom_vjp
def _density(fock: Array, overlap: Array, transformation: Array, mask: Array, occupation: Array) -> Array:
    _, coefficients = _solve(fock, transformation, mask)
    return (coefficients * occupation) @ coefficients.T


def _density_forward(
    fock: Array, overlap: Array, transformation: Array, mask: Array, occupation: Array
) -> tuple[Array, tuple[Array, Array, Array]]:
    energies, coefficients = _solve(fock, transformation, mask)
    return (coefficients * occupation) @ coefficients.T, (energies, coefficients, occupation)


def _density_backward(saved: tuple[Array, Array, Array], cotangent: Array) -> tuple[Any, ...]:
    """Cotangents C (K ∘ Cᵀ Ḡ C) Cᵀ of F and −C (L ∘ Cᵀ Ḡ C) Cᵀ of S.

    K_pq = (n_p − n_q) / (ε_p − ε_q) and L_pq = (n_p ε_p − n_q ε_q) / (ε_p − ε_q) between levels of different
    occupation; among those of equal occupation n their limits 0 and n.
    Source: divided differences of the occupation function; Kasim, arXiv 2011.04366.
    """
    energies, coefficients, occupation = saved
    across = occupation[:, None] != occupation[None, :]
    gaps = jnp.where(across, energies[:, None] - energies[None, :], 1.0)
    weighted = occupation * energies
    by_fock = jnp.where(across, (occupation[:, None] - occupation[None, :]) / gaps, 0.0)
    by_overlap = jnp.where(across, (weighted[:, None] - weighted[None, :]) / gaps, occupation[:, None])
    rotated = coefficients.T @ (0.5 * (cotangent + cotangent.T)) @ coefficients
    fock = coefficients @ (by_fock * rotated) @ coefficients.T
    return fock, -coefficients @ (by_overlap * rotated) @ coefficients.T, None, None, None


_density.defvjp(_density_forward, _density_backward)


@jax.custom_vjp
def _eigenpairs(fock: Array, overlap: Array, transformation: Array, mask: Array) -> tuple[Array, Array]:
    return _solve(fock, transformation, mask)


def _eigenpairs_forward(
    fock: CustomVJPPrimal, overlap: CustomVJPPrimal, transformation: CustomVJPPrimal, mask: CustomVJPPrimal
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    energies, coefficients = _solve(fock.value, transformation.value, mask.value)
    return (energies, coefficients), (energies, coefficients)


def _eigenpairs_backward(saved: tuple[Array, Array], cotangents: tuple[Any, Any]) -> tuple[Any, ...]:
    energies, coefficients = saved
    by_energy, by_vector = cotangents
    if not isinstance(by_vector, SymbolicZero):
        raise TypeError(
            "orbital coefficients are not differentiable (degenerate orbitals have none); "
            "differentiate dft.density instead"
        )
    fock = (coefficients * by_energy) @ coefficients.T
    return fock, -(coefficients * (by_energy * energies)) @ coefficients.T, None, None


_eigenpairs.defvjp(_eigenpairs_forward, _eigenpairs_backward, symbolic_zeros=True)
