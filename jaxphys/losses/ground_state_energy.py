"""The Kohn–Sham energy of a predicted Fock matrix's density: least at the ground state."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxphys.dft import KohnSham, energy_and_fock
from jaxphys.dft import density as density_of


def ground_state_energy(system: KohnSham, fock: Float[Array, "n n"]) -> Float[Array, ""]:
    """Total energy E_KS[P(Ĥ)] in Ha, (), of the density of a predicted Fock matrix.

    system: one molecule; fock: (n, n) in Ha. Nothing is detached, but the gradient, tr(F dP), takes F from
    the same pass that gives E, so it costs one Fock build in all. Not to be confused with tr(Ĥ P), which
    is not variational. Source: Hohenberg–Kohn–Sham variational principle.
    """
    density = density_of(system, fock)
    energy, derivative = energy_and_fock(system, jax.lax.stop_gradient(density))
    return energy + first_order(derivative, density)


def first_order(derivative: Float[Array, "n n"], density: Float[Array, "n n"]) -> Float[Array, ""]:
    """tr(F (P − P₀)) with P₀ = P in value and constant: zero, with the energy's derivative, ()."""
    return jnp.sum(jax.lax.stop_gradient(derivative) * (density - jax.lax.stop_gradient(density)))
