"""The self-consistency of the Kohn–Sham equations as a loss: the residual of a predicted Fock matrix."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxphys.dft import KohnSham
from jaxphys.dft import density as density_of
from jaxphys.dft import fock as fock_of


def self_consistency(system: KohnSham, fock: Float[Array, "n n"]) -> Float[Array, ""]:
    """Mean squared residual of a predicted Fock matrix Ĥ in Ha², (): ‖Ĥ − F[P(Ĥ)]‖_F² / n².

    system: one molecule; fock: (n, n) in Ha, zero in padded rows and columns. Zero exactly at a
    self-consistent solution. Nothing is detached: gradients pass through the eigensolver and the Fock
    build. n counts the molecule's own orbitals, so that sizes weigh alike.
    Source: Zhang et al., ICML 2024 (arXiv 2403.09560), the loss L_selfcon, here per matrix element.
    """
    residual = fock - fock_of(system, density_of(system, fock))
    return jnp.sum(residual**2) / elements(system)


def elements(system: KohnSham) -> Float[Array, ""]:
    """Number of matrix elements that are not padding, ()."""
    return jnp.sum(jnp.diagonal(system.overlap) > 0).astype(jnp.float64) ** 2


def safe_root(square: Array) -> Array:
    """Square root with slope zero at zero, where a norm has its minimum and the root's slope is infinite."""
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
