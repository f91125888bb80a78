"""Exchange–correlation functionals for closed and open shells, with libxc's constants.

svwn, blyp, pbe, b3lyp5, b3lypg, pbe0, r2scan, and the semilocal part of wb97x. A functional gives the energy
per volume (Ha/Bohr³) at every grid point from the density `rho` (1/Bohr³), `sigma` = |∇rho|² (1/Bohr⁸) and,
for r2scan, the kinetic energy density `tau` = ½ Σ |∇φ|² of the occupied orbitals (1/Bohr⁵). All are
elementwise, so the potential is their gradient:

    xc = functional("pbe")
    vrho, vsigma = jax.grad(lambda rho, sigma: xc.energy(rho, sigma).sum(), argnums=(0, 1))(rho, sigma)

Value, first and second derivatives agree with libxc 7 to 1e-10 and are finite at zero density, at zero
gradient, where one spin is missing, and in the far tail, where sigma / rho^(8/3) explodes.

The parts, in `exchange`, `correlation` and `r2scan`, are energies per particle of the variables in `points`.
Roots and logarithms take nearly all the time, so none is taken twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from jaxphys.dft import correlation as c
from jaxphys.dft import exchange as x
from jaxphys.dft import r2scan
from jaxphys.dft.points import (
    DENSITY_THRESHOLD,
    Points,
    Polarised,
    SpinPairs,
    Spins,
    Unpolarised,
    polarised,
    root_rs,
    unpolarised,
)

__all__ = ["DENSITY_THRESHOLD", "FUNCTIONALS", "Functional", "RangeSeparation", "functional"]


class RangeSeparation(NamedTuple):
    """Exact exchange that depends on distance: a fraction `short` of erfc(ωr)/r and `long` of erf(ωr)/r.

    The same in other words: `short` of 1/r, which is the functional's `exact_exchange`, and `long − short` of
    erf(ωr)/r. In PySCF's terms ω, long and short are omega, alpha and hyb; `libxc.rsh_coeff` gives (omega,
    alpha, hyb − alpha).
    """

    omega: float  # 1/Bohr
    short: float
    long: float


@dataclass(frozen=True)
class Functional:
    """A functional: its energy density, and what else a Fock matrix has to know of it.

    `energy(rho, sigma, tau)` takes the total density (1/Bohr³), |∇rho|² (1/Bohr⁸) and tau (1/Bohr⁵), all of
    any one shape, and gives the semilocal energy per volume (Ha/Bohr³) of closed shells in that shape.
    `polarised_energy` takes rho of both spins, (2, *points), sigma up-up, up-down and down-down,
    (3, *points), and tau of both spins, (2, *points), and gives (*points). Without `needs_gradient` sigma is
    ignored and may be None or left out; so is tau without `needs_kinetic`. `exact_exchange` is the fraction
    of Hartree–Fock exchange to add, and with a `range_separation` only that part of it that does not depend
    on distance; `pyscf_name` is PySCF's name for the same functional.
    """

    name: str
    energy: Callable[..., Array]
    polarised_energy: Callable[..., Array]
    exact_exchange: float
    needs_gradient: bool
    needs_kinetic: bool
    range_separation: RangeSeparation | None
    pyscf_name: str


Exchange = Callable[[Unpolarised], Points]


class Correlation(NamedTuple):
    """A correlation energy per particle, Ha, for closed shells and for two spins."""

    unpolarised: Callable[[Unpolarised], Points]
    polarised: Callable[[Polarised], Points]


def _slater(point: Unpolarised) -> Points:
    return x.slater(point.cbrt_rho)


def _b88(point: Unpolarised) -> Points:
    return x.slater(point.cbrt_rho) * x.b88_enhancement(point.reduced)


def _b3lyp_exchange(point: Unpolarised) -> Points:
    """0.08 Slater + 0.72 B88. Source: Stephens, Devlin, Chabalowski, Frisch, JPC 98, 11623 (1994)."""
    return x.slater(point.cbrt_rho) * (0.08 + 0.72 * x.b88_enhancement(point.reduced))


def _pbe_exchange(point: Unpolarised) -> Points:
    return x.slater(point.cbrt_rho) * x.pbe_enhancement(point.reduced)


def _pbe0_exchange(point: Unpolarised) -> Points:
    """Three quarters of PBE's. Source: Adamo, Barone, JCP 110, 6158 (1999)."""
    return x.slater(point.cbrt_rho) * (0.75 * x.pbe_enhancement(point.reduced))


VWN5 = Correlation(lambda point: c.vwn(root_rs(point.cbrt_rho), c.VWN5), c.vwn5_polarised)
VWN_RPA = Correlation(lambda point: c.vwn(root_rs(point.cbrt_rho), c.VWN_RPA), c.vwn_rpa_polarised)
LYP = Correlation(lambda point: c.lyp(point.cbrt_rho, point.reduced), c.lyp_polarised)
PBE = Correlation(lambda point: c.pbe_correlation(point.cbrt_rho, point.reduced), c.pbe_correlation_polarised)
R2SCAN = Correlation(r2scan.correlation, r2scan.correlation_polarised)
WB97X = Correlation(c.wb97x_correlation, c.wb97x_correlation_polarised)


def _b3lyp_correlation(vwn: Correlation) -> Correlation:
    """0.19 VWN + 0.81 LYP. Source: as for the exchange."""
    return Correlation(
        lambda point: 0.19 * vwn.unpolarised(point) + 0.81 * LYP.unpolarised(point),
        lambda point: 0.19 * vwn.polarised(point) + 0.81 * LYP.polarised(point),
    )


def _functional(
    name: str,
    exchange: Exchange,
    correlation: Correlation,
    *,
    exact_exchange: float = 0.0,
    needs_gradient: bool = True,
    needs_kinetic: bool = False,
    range_separation: RangeSeparation | None = None,
) -> Functional:
    """The functional of an exchange and a correlation energy per particle, Ha."""

    def energy(rho: Points, sigma: Points | None = None, tau: Points | None = None) -> Points:
        point = unpolarised(rho, sigma if needs_gradient else None, tau if needs_kinetic else None)
        per_particle = exchange(point) + correlation.unpolarised(point)
        return jnp.where(point.empty, 0.0, point.rho * per_particle)

    def polarised_energy(rho: Spins, sigma: SpinPairs | None = None, tau: Spins | None = None) -> Points:
        point = polarised(rho, sigma if needs_gradient else None, tau if needs_kinetic else None)
        total, doubled = point.total, point.doubled
        each = jnp.where(doubled.empty, 0.0, 0.5 * doubled.rho * exchange(doubled))
        return jnp.where(total.empty, 0.0, jnp.sum(each, axis=0) + total.rho * correlation.polarised(point))

    return Functional(
        name=name,
        energy=energy,
        polarised_energy=polarised_energy,
        exact_exchange=exact_exchange,
        needs_gradient=needs_gradient,
        needs_kinetic=needs_kinetic,
        range_separation=range_separation,
        pyscf_name=name,
    )


WB97X_RANGES = RangeSeparation(omega=x.WB97X_OMEGA, short=0.157706, long=1.0)

FUNCTIONALS = {
    method.name: method
    for method in (
        _functional("svwn", _slater, VWN5, needs_gradient=False),
        _functional("pbe", _pbe_exchange, PBE),
        _functional("b3lyp5", _b3lyp_exchange, _b3lyp_correlation(VWN5), exact_exchange=0.2),
        _functional("b3lypg", _b3lyp_exchange, _b3lyp_correlation(VWN_RPA), exact_exchange=0.2),
        _functional("blyp", _b88, LYP),
        _functional("pbe0", _pbe0_exchange, PBE, exact_exchange=0.25),
        _functional("r2scan", r2scan.exchange, R2SCAN, needs_kinetic=True),
        _functional(
            "wb97x",
            x.wb97x_exchange,
            WB97X,
            exact_exchange=WB97X_RANGES.short,
            range_separation=WB97X_RANGES,
        ),
    )
}


def functional(name: str) -> Functional:
    """The functional called `name`, in upper or lower case: a key of `FUNCTIONALS`.

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
