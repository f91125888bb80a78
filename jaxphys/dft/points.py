"""Density variables at grid points, as the parts of a functional want them: screened, scaled, by spin.

Everything is elementwise over points of any shape. Cube roots and powers of the density are taken here, once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Points = Float[Array, "*points"]
Spins = Float[Array, "2 *points"]  # up, down
SpinPairs = Float[Array, "3 *points"]  # up-up, up-down, down-down

# Points with a density (1/Bohr³) at or below this give zero, as in libxc, whose threshold is 1e-15 in most
# parts (1e-14 in wB97X, 1e-12 in PBE correlation, 1e-11 in r2SCAN exchange). Not larger: diffuse orbitals
# still live where the density is 1e-12, and there v_xc is 1e-4 Ha. Not smaller: it keeps rho^(-8/3) and its
# derivatives far from overflow.
DENSITY_THRESHOLD = 1e-15

RS = (3 / (4 * math.pi)) ** (1 / 3)  # the Wigner–Seitz radius is RS / rho^(1/3), Bohr


@dataclass(frozen=True)
class Unpolarised:
    """Variables of closed shells, with harmless values in place of empty points.

    Whoever uses them masks the result by `empty` as well: only both together keep NaN out of derivatives.
    """

    rho: Points  # total density, 1/Bohr³
    cbrt_rho: Points  # rho^(1/3)
    reduced: Points  # sigma / rho^(8/3), the square of the dimensionless gradient
    kinetic: Points  # tau / rho^(5/3), without a unit
    empty: Bool[Array, "*points"]


@dataclass(frozen=True)
class Polarised:
    """Variables of open shells: those of the total, those of each spin, and the polarisation.

    `share` is 1 ± ζ, the density of each spin by half the total; its cube root is zero for a spin that is
    empty, where powers of 1 ± ζ would have infinite derivatives.
    """

    total: Unpolarised  # (*points)
    doubled: Unpolarised  # (2, *points): closed shells that hold each spin twice
    zeta: Points  # (rho_up − rho_down) / rho
    share: Spins
    cbrt_share: Spins
    reduced: SpinPairs  # sigma / rho^(8/3), with the total density


def unpolarised(rho: Points, sigma: Points | None = None, tau: Points | None = None) -> Unpolarised:
    """Variables of the density rho (1/Bohr³), sigma = |∇rho|² (1/Bohr⁸) and tau (1/Bohr⁵), all of one shape.

    A density that is NaN is not empty, so it stays visible.
    """
    empty = rho <= DENSITY_THRESHOLD
    rho = jnp.where(empty, 1.0, rho)
    cbrt_rho = jnp.cbrt(rho)
    four_thirds = rho * cbrt_rho
    zero = jnp.zeros_like(rho)
    return Unpolarised(
        rho=rho,
        cbrt_rho=cbrt_rho,
        reduced=zero if sigma is None else jnp.where(empty, 0.0, sigma) / (four_thirds * four_thirds),
        kinetic=zero if tau is None else jnp.where(empty, 0.0, tau) / (four_thirds * cbrt_rho),
        empty=empty,
    )


def polarised(rho: Spins, sigma: SpinPairs | None = None, tau: Spins | None = None) -> Polarised:
    """Variables of the two spin densities, the three products of their gradients, and tau of each spin."""
    gradients = jnp.zeros((3, *rho.shape[1:])) if sigma is None else sigma
    total = unpolarised(
        rho[0] + rho[1],
        gradients[0] + 2 * gradients[1] + gradients[2],
        None if tau is None else tau[0] + tau[1],
    )
    # where all is empty the total counts one electron, so do the spins
    rho = jnp.where(total.empty, 0.5, rho)
    doubled = unpolarised(2 * rho, 4 * gradients[::2], None if tau is None else 2 * tau)
    four_thirds = total.rho * total.cbrt_rho
    return Polarised(
        total=total,
        doubled=doubled,
        zeta=(rho[0] - rho[1]) / total.rho,
        share=2 * rho / total.rho,
        cbrt_share=jnp.where(doubled.empty, 0.0, doubled.cbrt_rho / total.cbrt_rho),
        reduced=jnp.where(total.empty, 0.0, gradients) / (four_thirds * four_thirds),
    )


def root_rs(cbrt_rho: Points) -> Points:
    """√rs, the square root of the Wigner–Seitz radius in Bohr."""
    return jnp.sqrt(RS / cbrt_rho)


def not_negative(reduced: Points) -> Points:
    """The same, with zero for what rounding left below zero; at zero the derivative is that from above."""
    return jnp.where(reduced < 0, 0.0, reduced)
