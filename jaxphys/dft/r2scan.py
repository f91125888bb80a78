"""The meta-GGA r2SCAN: exchange and correlation energies per particle, Ha, with libxc's constants.

Source, unless said otherwise: Furness, Kaplan, Ning, Perdew, Sun, J. Phys. Chem. Lett. 11, 8208 (2020), with
its correction in 11, 9248; equations numbered S are those of its supporting information.

p = s² is the square of the usual reduced gradient; α compares tau with that of a single orbital and that of
the uniform gas: 0 in a bond of two electrons, 1 where the density is slow, large between closed shells.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxphys.dft.correlation import (
    PBE_BETA,
    PBE_GAMMA,
    PBE_T2,
    PW92_MODIFIED,
    pw92,
    pw92_polarised,
    spin_interpolation,
    spin_scaling,
)
from jaxphys.dft.exchange import S2, slater
from jaxphys.dft.points import Points, Polarised, Unpolarised, not_negative, root_rs

ETA = 0.001
UNIFORM_KINETIC = 0.3 * (3 * math.pi**2) ** (2 / 3)  # tau of the uniform gas / rho^(5/3)
DAMPING = 1 / 0.361**4


class Switch(NamedTuple):
    """Parameters of f(α): exp(−c1 α / (1 − α)) below 0, a polynomial to 2.5, −d exp(c2 / (1 − α)) above."""

    c1: float
    c2: float
    d: float
    polynomial: tuple[float, ...]  # from the constant upwards

    @property
    def slope_at_one(self) -> float:
        """f'(1)."""
        return sum(i * c for i, c in enumerate(self.polynomial))


SWITCH_EXCHANGE = Switch(
    c1=0.667,
    c2=0.8,
    d=1.24,
    polynomial=(
        1.0, -0.667, -0.4445555, -0.663086601049, 1.451297044490, -0.887998041597, 0.234528941479,
        -0.023185843322,
    ),
)  # fmt: skip
SWITCH_CORRELATION = Switch(
    c1=0.64,
    c2=1.5,
    d=0.7,
    polynomial=(
        1.0, -0.64, -0.4352, -1.535685604549, 3.061560252175, -1.915710236206, 0.516884468372,
        -0.051848879792,
    ),
)  # fmt: skip


def alpha(reduced: Points, kinetic: Points, uniform: Points | float) -> Points:
    """α = (tau − tau_W) / (tau_uniform + η tau_W), all by rho^(5/3), with tau_W = sigma / 8 rho; eq. S6."""
    weizsaecker = 0.125 * reduced
    return (kinetic - weizsaecker) / (uniform + ETA * weizsaecker)


def switch(alpha: Points, p: Switch) -> Points:
    """f(α), from 1 at α = 0 through 0 at 1 to −d; eqs. S7 and S26. One exponential serves both ends."""
    low, high = alpha < 0, alpha > 2.5
    outside = low | high
    inner, outer = jnp.where(outside, 1.0, alpha), jnp.where(outside, alpha, -1.0)
    polynomial = jnp.full_like(inner, p.polynomial[-1])
    for coefficient in p.polynomial[-2::-1]:
        polynomial = coefficient + inner * polynomial
    exponential = jnp.exp(jnp.where(high, p.c2, -p.c1 * outer) / (1.0 - outer))
    return jnp.where(low, exponential, jnp.where(high, -p.d * exponential, polynomial))


def damped(p: Points) -> Points:
    """p exp(−p² / d⁴), which confines the corrections of the gradient expansion to small p."""
    return p * jnp.exp(-DAMPING * p * p)


H0_EXCHANGE = 1.174
K1 = 0.065
MU = 10 / 81
# eqs. S11 and S12; libxc adds f(1), which is 1e-12 instead of zero in the digits given
EXPANSION = (
    (20 / 27 + ETA * 5 / 3)
    * (SWITCH_EXCHANGE.slope_at_one + sum(SWITCH_EXCHANGE.polynomial))
    * (H0_EXCHANGE - 1)
)
DECAY = 4.9479
DECAY_FROM = 6e-6


def exchange(point: Unpolarised) -> Points:
    """Exchange energy per particle, Ha; eqs. S6 to S12."""
    reduced = not_negative(point.reduced)
    p = S2 * reduced
    # exp(−DECAY p^(-1/4)) is below 1e-43 up to here, and its factors have infinite derivatives at zero
    tiny = p < DECAY_FROM
    fourth_root = jnp.sqrt(jnp.sqrt(jnp.where(tiny, 1.0, p)))
    # not −expm1, whose derivative JAX forms as expm1 + 1, of which no digit is left near −1
    decay = jnp.where(tiny, 1.0, 1.0 - jnp.exp(-DECAY / fourth_root))
    h1 = 1.0 + K1 * (1.0 - K1 / (K1 + EXPANSION * damped(p) + MU * p))
    f = switch(alpha(reduced, point.kinetic, UNIFORM_KINETIC), SWITCH_EXCHANGE)
    return slater(point.cbrt_rho) * (h1 + f * (H0_EXCHANGE - h1)) * decay


B1, B2, B3 = 0.0285764, 0.0889, 0.125541
CHI = 0.12802585262625815
G_ZETA = 2.363 * (2 ** (1 / 3) - 1)


class Spin(NamedTuple):
    """Functions of the polarisation alone; for closed shells 0, 0, 1, 1 and 1."""

    zeta: Points | float
    interpolation: Points | float  # f(ζ)
    scaling: Points | float  # φ(ζ)
    kinetic: Points | float  # d(ζ) = ½ Σ (1 ± ζ)^(5/3), eq. S28
    single: Points | float  # G(ζ), which scales the energy at α = 0, zero for a single spin


def low_density(x: Points) -> Points:
    """Correlation energy per particle at α = 0 without gradient, Ha, with x = √rs."""
    return -B1 / (1.0 + x * (B2 + x * B3))


def correlation(point: Unpolarised) -> Points:
    """Correlation energy per particle of equal spins, Ha."""
    x, one = root_rs(point.cbrt_rho), jnp.ones_like(point.rho)
    uniform = jax.jvp(lambda x: pw92(x, PW92_MODIFIED.para), (x,), (one,))
    return _correlation(point, x, uniform, Spin(0.0, 0.0, 1.0, 1.0, 1.0))


def correlation_polarised(point: Polarised) -> Points:
    """Correlation energy per particle of two spins, Ha."""
    x, one = root_rs(point.total.cbrt_rho), jnp.ones_like(point.total.rho)
    f = spin_interpolation(point)
    spin = Spin(
        zeta=point.zeta,
        interpolation=f,
        scaling=spin_scaling(point),
        kinetic=0.5 * jnp.sum(point.cbrt_share**5, axis=0),
        single=(1.0 - G_ZETA * f) * (1.0 - point.zeta**12),
    )
    uniform = jax.jvp(lambda x: pw92_polarised(x, point.zeta, f, PW92_MODIFIED), (x,), (one,))
    return _correlation(point.total, x, uniform, spin)


def _correlation(point: Unpolarised, x: Points, uniform: tuple[Points, Points], spin: Spin) -> Points:
    """Correlation energy per particle, Ha, between its limits at α = 1 and α = 0; eq. S24.

    x = √rs; `uniform` is Perdew and Wang's energy and its derivative by x. As in PBE, with w = exp(ε/γ) − 1
    the sum of ε and H is γ log(1 + w g), where nothing cancels at large gradients.
    """
    reduced = not_negative(point.reduced)
    p = S2 * reduced
    single, single_slope = jax.jvp(low_density, (x,), (jnp.ones_like(x),))
    g0 = 1.0 / jnp.sqrt(jnp.sqrt(1.0 + 4 * CHI * p))
    zero = spin.single * B1 * jnp.log1p(jnp.expm1(single / B1) * g0)

    gamma = PBE_GAMMA * spin.scaling**3
    w = jnp.expm1(uniform[0] / gamma)
    inverse = -(1.0 + w) / w  # of the paper's w1
    beta = PBE_BETA * (1.0 + 0.1 * x * x) / (1.0 + 0.1778 * x * x)
    y = beta / PBE_GAMMA * inverse * PBE_T2 * reduced * point.cbrt_rho / spin.scaling**2
    # rs ∂/∂rs is ½ x ∂/∂x; eq. S34
    difference = spin.single * single - uniform[0]
    slope = 0.5 * x * (spin.single * single_slope - uniform[1])
    factor = SWITCH_CORRELATION.slope_at_one / 27 * inverse / (gamma * spin.kinetic)
    correction = factor * (20 * slope - 45 * ETA * difference) * damped(p)
    g1 = 1.0 / jnp.sqrt(jnp.sqrt(1.0 + 4 * (y - correction)))
    one = gamma * jnp.log1p(w * g1)

    f = switch(alpha(reduced, point.kinetic, UNIFORM_KINETIC * spin.kinetic), SWITCH_CORRELATION)
    return one + f * (zero - one)
