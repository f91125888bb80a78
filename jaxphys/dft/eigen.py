"""From a Fock matrix to its orbitals and density, with derivatives that stay exact under degeneracy."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero
from jaxtyping import Array, Float

from jaxphys.dft.system import KohnSham, check


def density(system: KohnSham, fock: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """Density matrix P = 2 C_occ C_occᵀ of a Fock matrix (Ha), (n, n).

    Its derivative uses occupied–virtual gaps only (hence exact for degenerate levels on either side), and
    diverges only where the gap between highest occupied and lowest virtual level closes.
    """
    transformation = system.orthonormaliser
    occupied = _orthonormal_density(_orthonormal_fock(system, fock), jnp.asarray(system.occupation))
    return transformation @ occupied @ transformation.T


def orbitals(system: KohnSham, fock: Float[Array, "n n"]) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    """Orbital energies in Ha, (n,), ascending, and coefficients, (n, n), one orbital a column: F C = S C ε.

    Padded and linearly dependent orbitals come last, with energies above all others and zero coefficients.
    Energies are differentiable, exactly so for sums over whole degenerate levels; single orbitals have no
    derivative under degeneracy, so differentiating coefficients raises TypeError: use `density`.
    """
    energies, vectors = _eigenpairs(_orthonormal_fock(system, fock))
    return energies, system.orthonormaliser @ vectors


def _orthonormal_fock(system: KohnSham, fock: Array) -> Array:
    """Xᵀ F X, with the columns that are not real moved above every real level."""
    check(system, fock=fock)
    projected = system.orthonormaliser.T @ (0.5 * (fock + fock.T)) @ system.orthonormaliser
    top = jax.lax.stop_gradient(1.0 + 2.0 * jnp.sqrt(jnp.sum(projected**2)))
    return projected + jnp.diag(jnp.where(system.orbital_mask, 0.0, top))


@jax.custom_vjp
def _orthonormal_density(fock: Array, occupation: Array) -> Array:
    return _density_forward(fock, occupation)[0]


def _density_forward(fock: Array, occupation: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    energies, vectors = jnp.linalg.eigh(fock)
    return (vectors * occupation) @ vectors.T, (energies, vectors, occupation)


def _density_backward(saved: tuple[Array, Array, Array], cotangent: Array) -> tuple[Array, None]:
    """Fock cotangent C (K ∘ Cᵀ Ḡ C) Cᵀ with K_pq = (n_p − n_q) / (ε_p − ε_q) between the two sides, 0 within.

    Source: divided difference of the occupation function; reference in Kasim, arXiv 2011.04366.
    """
    energies, vectors, occupation = saved
    difference = occupation[:, None] - occupation[None, :]
    across = difference != 0
    gaps = jnp.where(across, energies[:, None] - energies[None, :], 1.0)
    rotated = vectors.T @ (0.5 * (cotangent + cotangent.T)) @ vectors
    return vectors @ (jnp.where(across, difference / gaps, 0.0) * rotated) @ vectors.T, None


_orthonormal_density.defvjp(_density_forward, _density_backward)


@jax.custom_vjp
def _eigenpairs(fock: Array) -> tuple[Array, Array]:
    energies, vectors = jnp.linalg.eigh(fock)
    return energies, vectors


def _eigenpairs_forward(fock: CustomVJPPrimal) -> tuple[tuple[Array, Array], Array]:
    energies, vectors = jnp.linalg.eigh(fock.value)
    return (energies, vectors), vectors


def _eigenpairs_backward(vectors: Array, cotangents: tuple[Any, Any]) -> tuple[Array]:
    by_energy, by_vector = cotangents
    if not isinstance(by_vector, SymbolicZero):
        raise TypeError(
            "orbital coefficients are not differentiable (degenerate orbitals have none); "
            "differentiate dft.density instead"
        )
    return ((vectors * by_energy) @ vectors.T,)


_eigenpairs.defvjp(_eigenpairs_forward, _eigenpairs_backward, symbolic_zeros=True)
