"""Closed-shell exchange-correlation functionals, with libxc's constants: svwn, pbe, b3lyp5 and b3lypg.

A functional gives the energy per volume (Ha/Bohr³) at every grid point from the total density `rho` (1/Bohr³)
and `sigma` = |∇rho|² (1/Bohr⁸). All are elementwise, so the potential is their gradient:

    xc = functional("pbe")
    vrho, vsigma = jax.grad(lambda rho, sigma: xc.energy(rho, sigma).sum(), argnums=(0, 1))(rho, sigma)

Value, first and second derivatives agree with libxc 7 to 1e-10 and are finite at zero density, at zero
gradient and in the far tail, where sigma / rho^(8/3) explodes.

The parts below are energies per particle (Ha) or ratios to Slater's exchange, of `cbrt_rho` = rho^(1/3) and
`reduced` = sigma / rho^(8/3), the square of the dimensionless gradient. Roots and logarithms take nearly all
the time, so none is taken twice.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

Points = Float[Array, "*points"]

# Points with a density (1/Bohr³) at or below this give zero, as in libxc, whose threshold is 1e-15 in all
# parts but PBE correlation (1e-12). Not larger: diffuse orbitals still live where the density is 1e-12, and
# there v_xc is 1e-4 Ha. Not smaller: it keeps rho^(-8/3) and its derivatives far from overflow.
DENSITY_THRESHOLD = 1e-15


@dataclass(frozen=True)
class Functional:
    """A closed-shell functional: its energy density, and what else a Fock matrix has to know of it.

    `energy(rho, sigma)` takes the total density (1/Bohr³) and |∇rho|² (1/Bohr⁸), both of any one shape, and
    gives the semilocal energy per volume (Ha/Bohr³) in that shape. Without `needs_gradient`, sigma is ignored
    and may be None. `exact_exchange` is the fraction of Hartree–Fock exchange to add; `pyscf_name` is PySCF's
    name for the same functional.
    """

    name: str
    energy: Callable[..., Array]
    exact_exchange: float
    needs_gradient: bool
    pyscf_name: str


RS = (3 / (4 * math.pi)) ** (1 / 3)  # the Wigner–Seitz radius is RS / rho^(1/3), Bohr


def _root_rs(cbrt_rho: Points) -> Points:
    """√rs, the square root of the Wigner–Seitz radius in Bohr."""
    return jnp.sqrt(RS / cbrt_rho)


def _reduced_gradient(rho: Points, sigma: Points, cbrt_rho: Points) -> Points:
    """sigma / rho^(8/3), without a unit."""
    rho_four_thirds = rho * cbrt_rho
    return sigma / (rho_four_thirds * rho_four_thirds)


SLATER = -0.75 * (3 / math.pi) ** (1 / 3)


def _slater(cbrt_rho: Points) -> Points:
    """Exchange energy per particle of the uniform electron gas, Ha. Source: Dirac (1930); libxc lda_x."""
    return SLATER * cbrt_rho


PBE_KAPPA = 0.8040
PBE_MU = 0.2195149727645171
PBE_MU_REDUCED = PBE_MU / (4 * (3 * math.pi**2) ** (2 / 3))  # s² = reduced / (4 (3π²)^(2/3))


def _pbe_enhancement(reduced: Points) -> Points:
    """PBE's exchange over Slater's. Source: Perdew, Burke, Ernzerhof, PRL 77, 3865 (1996), eq. 14."""
    return 1.0 + PBE_KAPPA * (1.0 - PBE_KAPPA / (PBE_KAPPA + PBE_MU_REDUCED * reduced))


B88_BETA = 0.0042
B88_SLATER = 0.375 * (3 / math.pi) ** (1 / 3) * 4 ** (2 / 3)  # Slater's constant for one spin
B88_SERIES_BELOW = 1e-6


def _b88_enhancement(reduced: Points) -> Points:
    """Becke's 1988 exchange over Slater's. Source: Becke, PRA 38, 3098 (1988), eq. 8, for two equal spins."""
    x2 = 2 ** (2 / 3) * reduced  # x = |∇rho_spin| / rho_spin^(4/3)
    # x asinh(x) is smooth in x² but its factors are not: a series takes over before derivatives lose digits
    small = x2 < B88_SERIES_BELOW
    safe = jnp.where(small, 1.0, x2)
    x = jnp.sqrt(safe)
    x_asinh_x = jnp.where(small, x2 - x2 * x2 / 6, x * jnp.log(x + jnp.sqrt(1.0 + safe)))
    return 1.0 + (B88_BETA / B88_SLATER) * x2 / (1.0 + 6 * B88_BETA * x_asinh_x)


class VWN(NamedTuple):
    """Parameters of Vosko, Wilk and Nusair's fit for the unpolarised gas: a in Ha, others for rs in Bohr."""

    a: float
    b: float
    c: float
    x0: float


VWN5 = VWN(0.0310907, 3.72744, 12.9352, -0.10498)
VWN_RPA = VWN(0.0310907, 13.0720, 42.7198, -0.409286)


def _vwn(x: Points, p: VWN) -> Points:
    """Correlation energy per particle of the uniform gas, Ha, with x = √rs.

    Source: Vosko, Wilk, Nusair, Can. J. Phys. 58, 1200 (1980), eq. 4.4; libxc lda_c_vwn and lda_c_vwn_rpa.
    """
    q = math.sqrt(4 * p.c - p.b**2)
    f = p.b * p.x0 / (p.x0**2 + p.b * p.x0 + p.c)
    g = 2 * (p.b - f * (2 * p.x0 + p.b)) / q
    polynomial = x * x + p.b * x + p.c
    shifted = x - p.x0
    logs = jnp.log(x * x / polynomial) - f * jnp.log(shifted * shifted / polynomial)
    return p.a * (logs + g * jnp.arctan2(q, 2 * x + p.b))


LYP_A, LYP_B, LYP_C, LYP_D = 0.04918, 0.132, 0.2533, 0.349
LYP_KINETIC = 0.3 * (3 * math.pi**2) ** (2 / 3)


def _lyp(cbrt_rho: Points, reduced: Points) -> Points:
    """Lee, Yang and Parr's correlation energy per particle, Ha, for two equal spins.

    Source: Miehlich, Savin, Stoll, Preuss, CPL 157, 200 (1989), where equal spins cancel most terms.
    """
    length = 1.0 / cbrt_rho
    damping = 1.0 / (1.0 + LYP_D * length)
    delta = length * (LYP_C + LYP_D * damping)
    gradient = reduced * (3.0 + 7.0 * delta) / 72.0
    return LYP_A * damping * (LYP_B * jnp.exp(-LYP_C * length) * (gradient - LYP_KINETIC) - 1.0)


def _pw92(x: Points) -> Points:
    """Correlation energy per particle of the uniform gas, Ha, with x = √rs.

    Source: Perdew, Wang, PRB 45, 13244 (1992), eq. 10, with the digits of libxc's lda_c_pw_mod.
    """
    a, alpha = 0.0310907, 0.21370
    series = x * (7.5957 + x * (3.5876 + x * (1.6382 + x * 0.49294)))
    return -2 * a * (1.0 + alpha * x * x) * jnp.log1p(1.0 / (2 * a * series))


PBE_BETA = 0.06672455060314922
PBE_GAMMA = (1 - math.log(2)) / math.pi**2
PBE_T2 = 1 / (16 * 2 ** (2 / 3) * RS)  # t² = PBE_T2 reduced rho^(1/3)


def _pbe_correlation(cbrt_rho: Points, reduced: Points) -> Points:
    """PBE correlation energy per particle, Ha.

    Source: Perdew, Burke, Ernzerhof, PRL 77, 3865 (1996), eqs. 3, 7 and 8. With w = exp(ε/γ) − 1 and
    y = A t², the sum of the uniform gas's ε and the paper's H is γ log(1 + w / (1 + y + y²)), where nothing
    cancels at large gradients.
    """
    w = jnp.expm1(_pw92(_root_rs(cbrt_rho)) / PBE_GAMMA)
    y = -(PBE_BETA / PBE_GAMMA * PBE_T2) * reduced * cbrt_rho * (1.0 + w) / w
    return PBE_GAMMA * jnp.log1p(w / (1.0 + y + y * y))


def _screen(rho: Points, sigma: Points) -> tuple[Points, Points, Bool[Array, "*points"]]:
    """rho and sigma with harmless values in place of empty points, and the mask of those points.

    The caller masks its result as well: only both together keep NaN out of the derivatives. A density that is
    already NaN is not empty, so it stays visible.
    """
    empty = rho <= DENSITY_THRESHOLD
    return jnp.where(empty, 1.0, rho), jnp.where(empty, 0.0, sigma), empty


def _svwn(rho: Points, sigma: Points | None = None) -> Points:
    """Slater exchange and VWN5 correlation, Ha/Bohr³."""
    rho, _, empty = _screen(rho, rho)
    cbrt_rho = jnp.cbrt(rho)
    per_particle = _slater(cbrt_rho) + _vwn(_root_rs(cbrt_rho), VWN5)
    return jnp.where(empty, 0.0, rho * per_particle)


def _pbe(rho: Points, sigma: Points) -> Points:
    """PBE exchange and correlation, Ha/Bohr³."""
    rho, sigma, empty = _screen(rho, sigma)
    cbrt_rho = jnp.cbrt(rho)
    reduced = _reduced_gradient(rho, sigma, cbrt_rho)
    per_particle = _slater(cbrt_rho) * _pbe_enhancement(reduced) + _pbe_correlation(cbrt_rho, reduced)
    return jnp.where(empty, 0.0, rho * per_particle)


def _b3lyp(rho: Points, sigma: Points, vwn: VWN) -> Points:
    """B3LYP without its exact exchange, Ha/Bohr³: 0.08 Slater + 0.72 B88 + 0.19 VWN + 0.81 LYP.

    Source: Stephens, Devlin, Chabalowski, Frisch, J. Phys. Chem. 98, 11623 (1994).
    """
    rho, sigma, empty = _screen(rho, sigma)
    cbrt_rho = jnp.cbrt(rho)
    reduced = _reduced_gradient(rho, sigma, cbrt_rho)
    exchange = _slater(cbrt_rho) * (0.08 + 0.72 * _b88_enhancement(reduced))
    correlation = 0.19 * _vwn(_root_rs(cbrt_rho), vwn) + 0.81 * _lyp(cbrt_rho, reduced)
    return jnp.where(empty, 0.0, rho * (exchange + correlation))


def _b3lyp5(rho: Points, sigma: Points) -> Points:
    """The semilocal part of B3LYP with VWN5, Ha/Bohr³."""
    return _b3lyp(rho, sigma, VWN5)


def _b3lypg(rho: Points, sigma: Points) -> Points:
    """The semilocal part of B3LYP with VWN's fit to the RPA, as in Gaussian, Ha/Bohr³."""
    return _b3lyp(rho, sigma, VWN_RPA)


FUNCTIONALS = {
    "svwn": Functional("svwn", _svwn, 0.0, False, "svwn"),
    "pbe": Functional("pbe", _pbe, 0.0, True, "pbe"),
    "b3lyp5": Functional("b3lyp5", _b3lyp5, 0.2, True, "b3lyp5"),
    "b3lypg": Functional("b3lypg", _b3lypg, 0.2, True, "b3lypg"),
}


def functional(name: str) -> Functional:
    """The functional called `name`, in upper or lower case: svwn, pbe, b3lyp5 or b3lypg.

    Raises ValueError for other names, and for plain "b3lyp", whose meaning depends on the program.
    """
    key = str(name).lower()
    if key == "b3lyp":
        raise ValueError(
            "'b3lyp' is ambiguous, its meaning changed in PySCF 2.3: say 'b3lyp5' for the VWN5 form (PySCF "
            "before 2.3, ORCA, QH9-stable) or 'b3lypg' for the VWN-RPA form (Gaussian, PySCF since 2.3)"
        )
    if key not in FUNCTIONALS:
        raise ValueError(f"unknown functional {name!r}; known are {', '.join(FUNCTIONALS)}")
    return FUNCTIONALS[key]
