"""Spins that couple in pairs: the energy of any graph of bonds, and of a square lattice."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import ArrayLike

from jaxphys.roles import SpinEnergy


def ising(
    couplings: Float[Any, " bonds"], senders: Int[Any, " bonds"], receivers: Int[Any, " bonds"]
) -> SpinEnergy:
    """E = −Σ_bonds J_ij s_i s_j in units of J, a function of spins (n,).

    couplings: J of each bond, listed once; positive ones align. senders, receivers: the two spins of a bond,
    from 0. Spins may be anything in [−1, 1]: E is linear in each, so that of independent spins with means m
    the mean energy is E(m). Bonds with J = 0, and spins without bonds, are inert: padding is made of them.
    A symmetric matrix has each bond twice: `bonds_of_matrix` lists it once.
    """

    def energy(spins: Float[Any, " n"]) -> Float[Array, ""]:
        spins = jnp.asarray(spins)
        return -jnp.sum(jnp.asarray(couplings) * spins[senders] * spins[receivers])

    return energy


def ising_lattice(right: Float[Any, "rows columns"], down: Float[Any, "rows columns"]) -> SpinEnergy:
    """The same of a square lattice with open boundaries, a function of spins (rows, columns).

    right: J of spin (i, j) with (i, j + 1), its last column without effect; down: with (i + 1, j), its last
    row without effect.
    """

    def energy(spins: Float[Any, "rows columns"]) -> Float[Array, ""]:
        spins = jnp.asarray(spins)
        along = jnp.sum(jnp.asarray(right)[:, :-1] * spins[:, :-1] * spins[:, 1:])
        return -along - jnp.sum(jnp.asarray(down)[:-1] * spins[:-1] * spins[1:])

    return energy


def bonds_of_matrix(
    matrix: ArrayLike,
) -> tuple[Float[np.ndarray, " bonds"], Int[np.ndarray, " bonds"], Int[np.ndarray, " bonds"]]:
    """Couplings, senders and receivers of a matrix J (n, n), each bond once; host function.

    Raises ValueError for a matrix that is not square, symmetric, finite, and zero on its diagonal.
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"couplings must be a square matrix, got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        i, j = np.argwhere(~np.isfinite(matrix))[0]
        raise ValueError(f"couplings must be finite, got J[{i}, {j}] = {matrix[i, j]}")
    if (matrix != matrix.T).any():
        i, j = np.argwhere(matrix != matrix.T)[0]
        raise ValueError(
            f"couplings must be symmetric, J[{i}, {j}] = {matrix[i, j]:g} but J[{j}, {i}] = {matrix[j, i]:g}"
        )
    if np.diagonal(matrix).any():
        i = int(np.flatnonzero(np.diagonal(matrix))[0])
        raise ValueError(f"a spin does not couple to itself, got J[{i}, {i}] = {matrix[i, i]:g}")
    senders, receivers = np.nonzero(np.triu(matrix))
    return matrix[senders, receivers], senders, receivers


def check_spins(spins: Any) -> np.ndarray:
    """The spins as an array. Raises ValueError unless each is +1 or −1; host function."""
    spins = np.asarray(spins)
    wrong = np.argwhere(np.abs(spins) != 1)
    if len(wrong):
        place = tuple(int(i) for i in wrong[0])
        raise ValueError(
            f"spins must be +1 or -1, got {spins[place]} at {place[0] if len(place) == 1 else place}"
        )
    return spins
