"""Exchange energies per particle (Ha) and ratios to Slater's, for closed shells, with libxc's constants.

They take `cbrt_rho` = rho^(1/3) and `reduced` = sigma / rho^(8/3), the square of the dimensionless gradient.
Open shells need nothing else: the exchange of each spin is half that of a closed shell which holds it twice.
"""

import math

import jax.numpy as jnp
from jax.scipy.special import erf

from jaxphys.dft.points import Points, Unpolarised, not_negative

SLATER = -0.75 * (3 / math.pi) ** (1 / 3)


def slater(cbrt_rho: Points) -> Points:
    """Exchange energy per particle of the uniform electron gas, Ha. Source: Dirac (1930); libxc lda_x."""
    return SLATER * cbrt_rho


PBE_KAPPA = 0.8040
PBE_MU = 0.2195149727645171
S2 = 1 / (4 * (3 * math.pi**2) ** (2 / 3))  # s² = S2 reduced
PBE_MU_REDUCED = PBE_MU * S2


def pbe_enhancement(reduced: Points) -> Points:
    """PBE's exchange over Slater's. Source: Perdew, Burke, Ernzerhof, PRL 77, 3865 (1996), eq. 14."""
    return 1.0 + PBE_KAPPA * (1.0 - PBE_KAPPA / (PBE_KAPPA + PBE_MU_REDUCED * reduced))


X2 = 2 ** (2 / 3)  # x² = X2 reduced, with x = |∇rho_spin| / rho_spin^(4/3)
B88_BETA = 0.0042
B88_SLATER = 0.375 * (3 / math.pi) ** (1 / 3) * 4 ** (2 / 3)  # Slater's constant for one spin
B88_SERIES_BELOW = 1e-6


def b88_enhancement(reduced: Points) -> Points:
    """Becke's 1988 exchange over Slater's. Source: Becke, PRA 38, 3098 (1988), eq. 8, for two equal spins."""
    x2 = X2 * reduced
    # x asinh(x) is smooth in x² but its factors are not: a series takes over before derivatives lose digits
    small = x2 < B88_SERIES_BELOW
    safe = jnp.where(small, 1.0, x2)
    x = jnp.sqrt(safe)
    x_asinh_x = jnp.where(small, x2 - x2 * x2 / 6, x * jnp.log(x + jnp.sqrt(1.0 + safe)))
    return 1.0 + (B88_BETA / B88_SLATER) * x2 / (1.0 + 6 * B88_BETA * x_asinh_x)


ATTENUATION_SERIES_BELOW = 1.0
ATTENUATION_TERMS = 18


def attenuation(ratio: Points) -> Points:
    """What erfc(ω r) / r leaves of Slater's exchange, of ratio = k_F / ω.

    Source: Gill, Adamson, Pople, Mol. Phys. 88, 1005 (1996). With u = k_F / ω it is
    1 − (8/3) [√π erf(u) / 2u − 3/4u² + 1/4u⁴ + (1/2u² − 1/4u⁴) exp(−u²)], whose terms cancel for small u; its
    Taylor series there is 2 Σ (−1)^(k+1) u^(2k) / ((k + 2)! (2k + 1)) from k = 1 on.
    """
    square = ratio * ratio
    small = square < ATTENUATION_SERIES_BELOW
    u2 = jnp.where(small, square, 0.0)
    series = jnp.zeros_like(u2)
    for k in range(ATTENUATION_TERMS, 0, -1):
        series = u2 * (-2 * (-1) ** k / (math.factorial(k + 2) * (2 * k + 1)) + series)
    u = jnp.where(small, 1.0, ratio)
    q = 0.25 / (u * u)
    smooth = 0.5 * math.sqrt(math.pi) * erf(u) / u - 3 * q + 4 * q * q
    closed = 1.0 - (8 / 3) * (smooth + (2 * q - 4 * q * q) * jnp.exp(-u * u))
    return jnp.where(small, series, closed)


def b97_series(coefficients: tuple[float, ...], gamma: float, x2: Points) -> Points:
    """Σ c_i u^i with u = γ x² / (1 + γ x²). Source: Becke, JCP 107, 8554 (1997)."""
    u = gamma * x2 / (1.0 + gamma * x2)
    total = jnp.full_like(u, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = coefficient + u * total
    return total


WB97X_OMEGA = 0.3  # 1/Bohr
WB97X_EXCHANGE = (0.842294, 0.726479, 1.04760, -5.70635, 13.2794)
FERMI = (3 * math.pi**2) ** (1 / 3)  # k_F = FERMI rho^(1/3)


def wb97x_exchange(point: Unpolarised) -> Points:
    """Short-range semilocal exchange of wB97X, Ha per particle.

    Source: Chai, Head-Gordon, JCP 128, 084106 (2008); libxc hyb_gga_xc_wb97x.
    """
    gradient = b97_series(WB97X_EXCHANGE, 0.004, X2 * not_negative(point.reduced))
    return slater(point.cbrt_rho) * attenuation(FERMI / WB97X_OMEGA * point.cbrt_rho) * gradient
