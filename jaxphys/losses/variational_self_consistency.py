"""Self-consistency without its soft directions: the energy moves the density, the residual carries Ĥ along."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxphys.dft import KohnSham, energy_and_fock
from jaxphys.dft import density as density_of
from jaxphys.losses.ground_state_energy import first_order
from jaxphys.losses.self_consistency import elements


def variational_self_consistency(
    system: KohnSham, fock: Float[Array, "n n"], *, energy_weight: float = 1.0
) -> Float[Array, ""]:
    """RMS(Ĥ − F[P̂]) + w (E_KS[P̂] − E_KS[P̂]₀) in Ha, (), with P̂ = P(Ĥ); its value is that of the first term.

    system: one molecule; fock: Ĥ, (n, n) in Ha. Detached: F[P̂] in the residual, and the energy's own value
    E₀, which differs between molecules and means nothing here. The energy's gradient, tr(F dP̂), needs
    no derivative of F, so that a step costs one Fock build. Zero value and gradient exactly at a solution.
    Source: this project; the residual of a displaced charge nearly cancels, its energy does not.
    """
    density = density_of(system, fock)
    derivative = jax.lax.stop_gradient(energy_and_fock(system, jax.lax.stop_gradient(density))[1])
    mean_square = jnp.sum((fock - derivative) ** 2) / elements(system)
    # the root's slope is infinite at zero, where the gradient of a norm is rightly zero
    residual = jnp.where(mean_square > 0, jnp.sqrt(jnp.where(mean_square > 0, mean_square, 1.0)), 0.0)
    return residual + energy_weight * first_order(derivative, density)
