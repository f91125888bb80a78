"""Self-consistency without soft directions: the energy moves the density, the residual carries Ĥ along."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxphys.dft import KohnSham, energy_and_fock_of_orbitals, occupied_orbitals, orbitals
from jaxphys.dft import density as density_of
from jaxphys.losses.ground_state_energy import first_order
from jaxphys.losses.self_consistency import elements, safe_root


def variational_self_consistency(
    system: KohnSham,
    fock: Float[Array, "n n"],
    *,
    energy_weight: float = 1.0,
    orbital_weight: float = 0.3,
    virtuals: int = 4,
) -> Float[Array, ""]:
    """RMS(R) + v RMS(Ĉᵀ R Ĉ) + w (E_KS[P̂] − E_KS[P̂]₀) in Ha, (), with R = Ĥ − F[P̂] and P̂ = P(Ĥ).

    system: one molecule; fock: Ĥ, (n, n) in Ha. Detached: F[P̂] and the predicted orbitals Ĉ in the residuals,
    and the energy's own value E₀, which differs between molecules and means nothing here; the value is
    that of the residuals. The energy's gradient, tr(F dP̂), needs no derivative of F, so that a step costs
    one Fock build. The energy moves the occupied orbitals, the residual carries the whole matrix along;
    its second form, in the occupied and the lowest `virtuals` orbitals, does not lose the frontier levels
    among thousands of matrix elements (v = orbital_weight, w = energy_weight).
    Value and gradient are zero at a solution, and only there. Where `virtuals` cuts a degenerate level,
    the orbital term depends on the eigensolver's choice within it.
    Source: this project. The residual of a displaced charge nearly cancels, its energy does not.
    """
    predicted = jax.lax.stop_gradient(fock)
    occupied = occupied_orbitals(system, predicted)
    derivative = jax.lax.stop_gradient(energy_and_fock_of_orbitals(system, occupied)[1])
    residual = fock - derivative
    loss = safe_root(jnp.sum(residual**2) / elements(system))
    if orbital_weight:
        _, coefficients = orbitals(system, predicted)
        chosen = jnp.arange(len(fock)) < jnp.sum(system.occupation > 0) + virtuals
        chosen &= system.orbital_mask
        coefficients = jnp.where(chosen, coefficients, 0.0)
        between = coefficients.T @ residual @ coefficients
        loss += orbital_weight * safe_root(jnp.sum(between**2) / jnp.sum(chosen) ** 2)
    return loss + energy_weight * first_order(derivative, density_of(system, fock))
