"""Differences and sums over lists of atoms, as products with matrices of zeros and ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

LARGEST_DENSE = 64
"""Atoms up to which products are faster than indices, forwards and, by far, in the derivative."""


def differences(
    start: Int[np.ndarray, " k"], end: Int[np.ndarray, " k"], n_atoms: int
) -> Callable[[Float[Array, "n dim"]], Float[Array, "dim k"]]:
    """Vectors from the atoms `start` to the atoms `end`, a function of positions (n, dim); one axis a row."""
    if n_atoms > LARGEST_DENSE:
        return lambda positions: (positions[end] - positions[start]).T
    matrix = _one_hot(end, n_atoms) - _one_hot(start, n_atoms)
    return lambda positions: _product(positions.T, matrix)


def at_atoms(
    atoms: Int[np.ndarray, " k"], n_atoms: int
) -> Callable[[Float[Array, " n"]], Float[Array, " k"]]:
    """The values of these atoms, a function of those of all, (n,)."""
    if n_atoms > LARGEST_DENSE:
        return lambda values: values[atoms]
    matrix = _one_hot(atoms, n_atoms)
    return lambda values: _product(values, matrix)


def sum_by_atom(
    atoms: Int[np.ndarray, " k"], n_atoms: int
) -> Callable[[Float[Array, " k"]], Float[Array, " n"]]:
    """Sums (n,) of what belongs to each atom, a function of the values (k,)."""
    if n_atoms > LARGEST_DENSE:
        return lambda values: jnp.zeros(n_atoms, values.dtype).at[atoms].add(values)
    matrix = _one_hot(atoms, n_atoms).T
    return lambda values: _product(values, matrix)


def _one_hot(atoms: Int[np.ndarray, " k"], n_atoms: int) -> Float[np.ndarray, "n k"]:
    return np.equal(np.arange(n_atoms)[:, None], atoms).astype(np.float64)


def _product(values: Float[Array, "*rows m"], matrix: Float[np.ndarray, "m k"]) -> Float[Any, "*rows k"]:
    # Positions must not be rounded: an accelerator's default has three digits.
    return jnp.matmul(values, jnp.asarray(matrix, values.dtype), precision=jax.lax.Precision.HIGHEST)
