"""Correlation energies per particle, Ha, for closed shells and for two spins, with libxc's constants.

The closed-shell forms take x = √rs or `cbrt_rho` = rho^(1/3), and `reduced` = sigma / rho^(8/3), the square
of the dimensionless gradient; the polarised ones take `points.Polarised`, and equal them at ζ = 0.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp

from jaxphys.dft.exchange import X2, b97_series
from jaxphys.dft.points import RS, Points, Polarised, Unpolarised, not_negative, root_rs


def spin_interpolation(point: Polarised) -> Points:
    """f(ζ), from 0 to 1 at full polarisation. Source: von Barth, Hedin, J. Phys. C 5, 1629 (1972)."""
    return (jnp.sum(point.cbrt_share**4, axis=0) - 2) / (2 ** (4 / 3) - 2)


def spin_scaling(point: Polarised) -> Points:
    """φ(ζ) = ½ Σ (1 ± ζ)^(2/3), which scales gradients in PBE's correlation and r2SCAN's."""
    return 0.5 * jnp.sum(point.cbrt_share**2, axis=0)


class VWN(NamedTuple):
    """Parameters of Vosko, Wilk and Nusair's fits: a in Ha, others for rs in Bohr."""

    a: float
    b: float
    c: float
    x0: float


VWN5 = VWN(0.0310907, 3.72744, 12.9352, -0.10498)
VWN5_FERROMAGNETIC = VWN(0.01554535, 7.06042, 18.0578, -0.32500)
VWN5_STIFFNESS = VWN(-1 / (6 * math.pi**2), 1.13107, 13.0045, -0.0047584)
VWN_RPA = VWN(0.0310907, 13.0720, 42.7198, -0.409286)
VWN_RPA_FERROMAGNETIC = VWN(0.01554535, 20.1231, 101.578, -0.743294)
VWN_CURVATURE = 4 / (9 * (2 ** (1 / 3) - 1))  # f''(0)


def vwn(x: Points, p: VWN) -> Points:
    """Correlation energy per particle of the uniform gas, Ha, or its spin stiffness, with x = √rs.

    Source: Vosko, Wilk, Nusair, Can. J. Phys. 58, 1200 (1980), eq. 4.4; libxc lda_c_vwn and lda_c_vwn_rpa.
    """
    q = math.sqrt(4 * p.c - p.b**2)
    f = p.b * p.x0 / (p.x0**2 + p.b * p.x0 + p.c)
    g = 2 * (p.b - f * (2 * p.x0 + p.b)) / q
    polynomial = x * x + p.b * x + p.c
    shifted = x - p.x0
    logs = jnp.log(x * x / polynomial) - f * jnp.log(shifted * shifted / polynomial)
    return p.a * (logs + g * jnp.arctan2(q, 2 * x + p.b))


def vwn5_polarised(point: Polarised) -> Points:
    """VWN5 between ζ = 0 and 1, by way of the spin stiffness. Source: the same; libxc lda_c_vwn."""
    x, f, zeta4 = root_rs(point.total.cbrt_rho), spin_interpolation(point), point.zeta**4
    para, ferro, stiffness = (vwn(x, p) for p in (VWN5, VWN5_FERROMAGNETIC, VWN5_STIFFNESS))
    return para + f * (stiffness * (1 - zeta4) / VWN_CURVATURE + (ferro - para) * zeta4)


def vwn_rpa_polarised(point: Polarised) -> Points:
    """VWN's fit to the RPA between ζ = 0 and 1; libxc lda_c_vwn_rpa interpolates with f(ζ) alone."""
    x = root_rs(point.total.cbrt_rho)
    para, ferro = vwn(x, VWN_RPA), vwn(x, VWN_RPA_FERROMAGNETIC)
    return para + spin_interpolation(point) * (ferro - para)


LYP_A, LYP_B, LYP_C, LYP_D = 0.04918, 0.132, 0.2533, 0.349
LYP_KINETIC = 0.3 * (3 * math.pi**2) ** (2 / 3)


def lyp(cbrt_rho: Points, reduced: Points) -> Points:
    """Lee, Yang and Parr's correlation energy per particle, Ha, for two equal spins.

    Source: Miehlich, Savin, Stoll, Preuss, CPL 157, 200 (1989), where equal spins cancel most terms.
    """
    length = 1.0 / cbrt_rho
    damping = 1.0 / (1.0 + LYP_D * length)
    delta = length * (LYP_C + LYP_D * damping)
    gradient = reduced * (3.0 + 7.0 * delta) / 72.0
    return LYP_A * damping * (LYP_B * jnp.exp(-LYP_C * length) * (gradient - LYP_KINETIC) - 1.0)


def lyp_polarised(point: Polarised) -> Points:
    """Lee, Yang and Parr's correlation energy per particle, Ha; zero for a single spin.

    Source: Miehlich et al., divided by rho, with a and b the fractions of the two spins; libxc gga_c_lyp.
    """
    length = 1.0 / point.total.cbrt_rho
    damping = 1.0 / (1.0 + LYP_D * length)
    delta = length * (LYP_C + LYP_D * damping)
    a, b = 0.5 * point.share
    s_aa, s_ab, s_bb = point.reduced
    kinetic = 2 * LYP_KINETIC * jnp.sum(point.cbrt_share**8, axis=0)  # 2^(11/3) C_F (a^(8/3) + b^(8/3))
    pair = kinetic + (47 - 7 * delta) / 18 * (s_aa + 2 * s_ab + s_bb) - (2.5 - delta / 18) * (s_aa + s_bb)
    pair -= (delta - 11) / 9 * (a * s_aa + b * s_bb)
    rest = 4 / 3 * s_ab + a * a * s_bb + b * b * s_aa
    return -LYP_A * damping * (4 * a * b + LYP_B * jnp.exp(-LYP_C * length) * (a * b * pair - rest))


class PW92(NamedTuple):
    """Parameters of Perdew and Wang's fits, for rs in Bohr."""

    a: float
    alpha: float
    beta: tuple[float, float, float, float]


class UniformGas(NamedTuple):
    """Perdew and Wang's fits without and with full polarisation, minus the stiffness, and f''(0)."""

    para: PW92
    ferro: PW92
    stiffness: PW92
    curvature: float


_PARA = PW92(0.0310907, 0.21370, (7.5957, 3.5876, 1.6382, 0.49294))
_FERRO = PW92(0.01554535, 0.20548, (14.1189, 6.1977, 3.3662, 0.62517))
_STIFFNESS = PW92(0.0168869, 0.11125, (10.357, 3.6231, 0.88026, 0.49671))
# the digits of libxc's lda_c_pw_mod, which PBE and r2SCAN take, and those of the paper, which wB97X takes
PW92_MODIFIED = UniformGas(_PARA, _FERRO, _STIFFNESS, VWN_CURVATURE)
PW92_PAPER = UniformGas(
    _PARA._replace(a=0.031091), _FERRO._replace(a=0.015545), _STIFFNESS._replace(a=0.016887), 1.709921
)


def pw92(x: Points, p: PW92) -> Points:
    """Correlation energy per particle of the uniform gas, Ha, with x = √rs.

    Source: Perdew, Wang, PRB 45, 13244 (1992), eq. 10.
    """
    b1, b2, b3, b4 = p.beta
    series = x * (b1 + x * (b2 + x * (b3 + x * b4)))
    return -2 * p.a * (1.0 + p.alpha * x * x) * jnp.log1p(1.0 / (2 * p.a * series))


def pw92_polarised(x: Points, zeta: Points, f: Points, gas: UniformGas) -> Points:
    """The same between ζ = 0 and 1, with f = f(ζ). Source: the same, eq. 8."""
    zeta4 = zeta**4
    para, ferro, minus_stiffness = (pw92(x, p) for p in gas[:3])
    return para + f * (zeta4 * (ferro - para) - (1 - zeta4) * minus_stiffness / gas.curvature)


PBE_BETA = 0.06672455060314922
PBE_GAMMA = (1 - math.log(2)) / math.pi**2
PBE_T2 = 1 / (16 * 2 ** (2 / 3) * RS)  # t² = PBE_T2 reduced rho^(1/3) at ζ = 0


def pbe_correlation(cbrt_rho: Points, reduced: Points) -> Points:
    """PBE correlation energy per particle, Ha.

    Source: Perdew, Burke, Ernzerhof, PRL 77, 3865 (1996), eqs. 3, 7 and 8. With w = exp(ε/γ) − 1 and
    y = A t², the sum of the uniform gas's ε and the paper's H is γ log(1 + w / (1 + y + y²)), where nothing
    cancels at large gradients.
    """
    w = jnp.expm1(pw92(root_rs(cbrt_rho), PW92_MODIFIED.para) / PBE_GAMMA)
    y = -(PBE_BETA / PBE_GAMMA * PBE_T2) * reduced * cbrt_rho * (1.0 + w) / w
    return PBE_GAMMA * jnp.log1p(w / (1.0 + y + y * y))


def pbe_correlation_polarised(point: Polarised) -> Points:
    """PBE correlation energy per particle, Ha: the same with γ φ³ for γ and t² / φ² for t²."""
    cbrt_rho, phi = point.total.cbrt_rho, spin_scaling(point)
    uniform = pw92_polarised(root_rs(cbrt_rho), point.zeta, spin_interpolation(point), PW92_MODIFIED)
    gamma = PBE_GAMMA * phi**3
    w = jnp.expm1(uniform / gamma)
    t2 = PBE_T2 * point.total.reduced * cbrt_rho / (phi * phi)
    y = -(PBE_BETA / PBE_GAMMA) * t2 * (1.0 + w) / w
    return gamma * jnp.log1p(w / (1.0 + y + y * y))


WB97X_SAME_SPIN = (1.0, -4.33879, 18.2308, -31.7430, 17.2901)
WB97X_OPPOSITE_SPIN = (1.0, 2.37031, -11.3995, 6.58405, -3.78132)
ROOT_RS_OF_HALF = 2 ** (1 / 6)  # √rs of half the density, by that of the density


def wb97x_correlation(point: Unpolarised) -> Points:
    """Correlation of wB97X, Ha per particle, for two equal spins.

    Source: Chai, Head-Gordon, JCP 128, 084106 (2008), who part the uniform gas into equal and opposite spins
    as Stoll, Pavlidou, Preuss, Theor. Chim. Acta 49, 143 (1978), do; libxc hyb_gga_xc_wb97x.
    """
    x, x2 = root_rs(point.cbrt_rho), X2 * not_negative(point.reduced)
    same = pw92(ROOT_RS_OF_HALF * x, PW92_PAPER.ferro)
    opposite = pw92(x, PW92_PAPER.para) - same
    return same * b97_series(WB97X_SAME_SPIN, 0.2, x2) + opposite * b97_series(WB97X_OPPOSITE_SPIN, 0.006, x2)


def wb97x_correlation_polarised(point: Polarised) -> Points:
    """Correlation of wB97X, Ha per particle. Source: as for the closed-shell form."""
    x2 = X2 * not_negative(point.doubled.reduced)
    alone = pw92(ROOT_RS_OF_HALF * root_rs(point.doubled.cbrt_rho), PW92_PAPER.ferro)
    same = jnp.where(point.doubled.empty, 0.0, 0.5 * point.share * alone)
    x, f = root_rs(point.total.cbrt_rho), spin_interpolation(point)
    opposite = pw92_polarised(x, point.zeta, f, PW92_PAPER) - jnp.sum(same, axis=0)
    gradient = b97_series(WB97X_OPPOSITE_SPIN, 0.006, 0.5 * jnp.sum(x2, axis=0))
    return jnp.sum(same * b97_series(WB97X_SAME_SPIN, 0.2, x2), axis=0) + opposite * gradient
