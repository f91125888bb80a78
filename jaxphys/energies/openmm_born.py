"""OpenMM's forces of water as a continuum, as what `generalised_born` needs."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxphys.energies.generalised_born import OBC1, OBC2, OFFSET, BornAtoms
from jaxphys.energies.openmm_values import check_no_cutoff, table
from jaxphys.units import COULOMB_IN_KJ_NM_PER_MOL, KJ_PER_MOL_IN_EV

_INTEGRAL = (
    "select(step(r+sr2-or1),0.5*(1/L-1/U+0.25*(r-sr2^2/r)*(1/(U^2)-1/(L^2))+0.5*log(L/U)/r),0)",
    "U=r+sr2",
    "L=max(or1,D)",
    "D=abs(r-sr2)",
)
_RADII = {
    "1/(1/or-tanh(0.8*psi+2.909125*psi^3)/radius)": OBC1,
    "1/(1/or-tanh(psi-0.8*psi^2+4.85*psi^3)/radius)": OBC2,
}
_RADIUS = ("psi=I*or", "radius=or+offset")
_OWN = ("-0.5*138.935485*(1/soluteDielectric-1/solventDielectric)*charge^2/B",)
_PAIR = (
    "-138.935485*(1/soluteDielectric-1/solventDielectric)*charge1*charge2/f",
    "f=sqrt(r^2+B1*B2*exp(-r^2/(4*B1*B2)))",
)
_SURFACE = ("28.3919551*(radius+0.14)^2*(radius/B)^6", "radius=or+offset")
_COULOMB, _TENSION = 138.935485, 28.3919551  # of the expressions above; kJ nm/mol/e² and kJ/mol/nm²


def read_gbsa_obc(force: Any) -> BornAtoms:
    """The atoms of an openmm.GBSAOBCForce, which is OBC2. Raises ValueError unless it is without cutoff."""
    check_no_cutoff(force)
    rows = [force.getParticleParameters(i) for i in range(force.getNumParticles())]
    charges, radii, scales = table(rows, 3).T
    tension = 4 * np.pi * float(table([[force.getSurfaceAreaEnergy()]], 1)[0, 0])
    dielectric = 1 / force.getSoluteDielectric() - 1 / force.getSolventDielectric()
    spheres = radii - OFFSET / 10
    return _born_atoms(
        np.stack([charges, spheres, scales * spheres]),
        OFFSET / 10,
        OBC2,
        COULOMB_IN_KJ_NM_PER_MOL * dielectric,
        tension,
    )


def read_custom_born(force: Any) -> BornAtoms:
    """The atoms of the openmm.CustomGBForce that implicit/obc1.xml and implicit/obc2.xml make.

    Raises ValueError unless every expression in it is one of these models, without salt and cutoff.
    """
    check_no_cutoff(force)
    names = [force.getPerParticleParameterName(i) for i in range(force.getNumPerParticleParameters())]
    extras = force.getNumGlobalParameters() + force.getNumTabulatedFunctions() + force.getNumExclusions()
    if names != ["charge", "or", "sr"] or extras:
        raise _unknown(force, f"parameters {', '.join(names)} and {extras} tables, exclusions or global ones")
    curve, offset = _read_radii(force)
    numbers, has_surface = _read_terms(force)
    if numbers["offset"] != offset:
        raise _unknown(force, f"two offsets, {offset:g} and {numbers['offset']:g}")
    dielectric = 1 / numbers["soluteDielectric"] - 1 / numbers["solventDielectric"]
    columns = table([force.getParticleParameters(i) for i in range(force.getNumParticles())], 3).T
    return _born_atoms(columns, offset, curve, _COULOMB * dielectric, _TENSION if has_surface else 0.0)


def _read_radii(force: Any) -> tuple[tuple[float, float, float], float]:
    """The curve that bends Born radii, and the offset in nm."""
    values = [force.getComputedValueParameters(i) for i in range(force.getNumComputedValues())]
    kinds = [("I", force.ParticlePairNoExclusions), ("B", force.SingleParticle)]
    if [(name, kind) for name, _, kind in values] != kinds:
        raise _unknown(force, f"computed values {', '.join(value[0] for value in values)}")
    integral, _ = _split(values[0][1])
    (head, *rest), numbers = _split(values[1][1])
    if integral != _INTEGRAL:
        raise _unknown(force, values[0][1])
    if head not in _RADII or tuple(rest) != _RADIUS or list(numbers) != ["offset"]:
        raise _unknown(force, values[1][1])
    return _RADII[head], numbers["offset"]


def _read_terms(force: Any) -> tuple[dict[str, float], bool]:
    """The numbers that all terms of the energy share, by their names, and whether there is a surface."""
    single, pair = force.SingleParticle, force.ParticlePairNoExclusions
    terms = [force.getEnergyTermParameters(i) for i in range(force.getNumEnergyTerms())]
    known = [(_OWN, single), (_PAIR, pair), (_SURFACE, single)]
    found = [(_split(text)[0], kind) for text, kind in terms]
    for (text, _), term in zip(terms, found, strict=True):
        if term not in known or found.count(term) > 1:
            raise _unknown(force, f"the term {text}")
    numbers = [_split(text)[1] for text, _ in terms]
    missing = {"soluteDielectric", "solventDielectric", "offset"} - set(numbers[0] if numbers else ())
    if missing or not {known[0], known[1]} <= set(found) or any(other != numbers[0] for other in numbers):
        raise _unknown(force, f"the terms {[text for text, _ in terms]}")
    return numbers[0], known[2] in found


def _born_atoms(
    columns: Float[np.ndarray, "3 n"],
    offset: float,
    curve: tuple[float, float, float],
    coulomb: float,
    tension: float,
) -> BornAtoms:
    """Charges, spheres and screened spheres in nm and kJ/mol, in the units of this module."""
    charges, spheres, screened = columns
    return BornAtoms(
        charges,
        10 * (spheres + offset),
        10 * spheres,
        10 * screened,
        curve,
        float(10 * KJ_PER_MOL_IN_EV * coulomb),
        float(KJ_PER_MOL_IN_EV / 100 * tension),
    )


def _split(text: str) -> tuple[tuple[str, ...], dict[str, float]]:
    """The parts of an expression, and the numbers that it ends in by their names."""
    parts, numbers = [], {}
    for part in re.sub(r"\s", "", text).strip(";").split(";"):
        name, _, value = part.partition("=")
        if re.fullmatch(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?", value):
            numbers[name] = float(value)
        else:
            parts.append(part)
    return tuple(parts), numbers


def _unknown(force: Any, what: str) -> ValueError:
    return ValueError(
        f"{force.getName()} is none of the solvents that are translated, those of implicit/obc1.xml and "
        f"implicit/obc2.xml without salt: it has {what}"
    )
