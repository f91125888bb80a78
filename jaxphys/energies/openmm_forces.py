"""The forces of an OpenMM System as arrays in Å and eV; what is not understood is refused by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jaxphys.energies.generalised_born import BornAtoms
from jaxphys.energies.openmm_born import read_custom_born, read_gbsa_obc
from jaxphys.energies.openmm_values import check_no_cutoff, openmm, table
from jaxphys.units import COULOMB_IN_KJ_NM_PER_MOL, KJ_PER_MOL_IN_EV

KNOWN = (
    "HarmonicBondForce, HarmonicAngleForce, PeriodicTorsionForce, NonbondedForce, GBSAOBCForce, "
    "CustomGBForce of implicit/obc1.xml and implicit/obc2.xml, and CMMotionRemover"
)


@dataclass(frozen=True, eq=False)
class Bonds:
    """½ k (r − r°)²: atoms (k, 2), lengths r° in Å, stiffness in eV/Å²."""

    atoms: Int[np.ndarray, "k 2"]
    lengths: Float[np.ndarray, " k"]
    stiffness: Float[np.ndarray, " k"]


@dataclass(frozen=True, eq=False)
class Angles:
    """½ k (θ − θ°)²: atoms (k, 3), the vertex in the middle, angles θ° in rad, stiffness in eV/rad²."""

    atoms: Int[np.ndarray, "k 3"]
    angles: Float[np.ndarray, " k"]
    stiffness: Float[np.ndarray, " k"]


@dataclass(frozen=True, eq=False)
class Torsions:
    """constant + Σ_n (c_n cos nφ + s_n sin nφ), n from 1, in eV: atoms (k, 4), each four once."""

    atoms: Int[np.ndarray, "k 4"]
    cosines: Float[np.ndarray, "periods k"]
    sines: Float[np.ndarray, "periods k"]
    constant: float


@dataclass(frozen=True, eq=False)
class Pairs:
    """a / r¹² − b / r⁶ + q / r of all pairs i < j, in the order of np.triu_indices(n, 1), in eV and Å."""

    repulsion: Float[np.ndarray, " pairs"]
    attraction: Float[np.ndarray, " pairs"]
    charge: Float[np.ndarray, " pairs"]


Part = Bonds | Angles | Torsions | Pairs | BornAtoms


def read_system(system: Any) -> list[Part]:
    """The parts of the energy of an openmm.System.

    Raises ValueError for constraints, virtual sites, periodic forces and cutoffs, and unknown forces.
    """
    openmm()
    if system.getNumConstraints():
        raise ValueError(
            f"the system has {system.getNumConstraints()} constraints, whose energy is not defined off them: "
            "make it with createSystem(..., constraints=None, rigidWater=False)"
        )
    sites = [i for i in range(system.getNumParticles()) if system.isVirtualSite(i)]
    if sites:
        raise ValueError(f"particle {sites[0]} is a virtual site; every particle must be an atom")
    parts = [_read_force(force) for force in system.getForces()]
    return [part for part in parts if part is not None]


def _read_force(force: Any) -> Part | None:
    kind = type(force).__name__
    if kind == "CMMotionRemover":
        return None
    readers: dict[str, Callable[[Any], Part]] = {
        "HarmonicBondForce": _read_bonds,
        "HarmonicAngleForce": _read_angles,
        "PeriodicTorsionForce": _read_torsions,
        "NonbondedForce": _read_pairs,
        "GBSAOBCForce": read_gbsa_obc,
        "CustomGBForce": read_custom_born,
    }
    if kind not in readers:
        raise ValueError(f"{kind} {force.getName()!r} is not translated; these are: {KNOWN}")
    if kind != "NonbondedForce" and force.usesPeriodicBoundaryConditions():
        raise ValueError(
            f"{kind} {force.getName()!r} is periodic; only molecules in open space are translated"
        )
    return readers[kind](force)


def _read_bonds(force: Any) -> Bonds:
    rows = table([force.getBondParameters(i) for i in range(force.getNumBonds())], 4)
    return Bonds(rows[:, :2].astype(int), 10 * rows[:, 2], KJ_PER_MOL_IN_EV / 100 * rows[:, 3])


def _read_angles(force: Any) -> Angles:
    rows = table([force.getAngleParameters(i) for i in range(force.getNumAngles())], 5)
    return Angles(rows[:, :3].astype(int), rows[:, 3], KJ_PER_MOL_IN_EV * rows[:, 4])


def _read_torsions(force: Any) -> Torsions:
    rows = table([force.getTorsionParameters(i) for i in range(force.getNumTorsions())], 7)
    # A torsion of several periods is as many entries: their sum is one series in the same angle.
    atoms, places = np.unique(rows[:, :4].astype(int), axis=0, return_inverse=True)
    periods, phases, heights = rows[:, 4].astype(int), rows[:, 5], KJ_PER_MOL_IN_EV * rows[:, 6]
    if (periods < 1).any():
        raise ValueError(f"the periodicity of a torsion is at least 1, got {periods.min()}")
    cosines = np.zeros((periods.max(initial=0), len(atoms)))
    sines = np.zeros_like(cosines)
    np.add.at(cosines, (periods - 1, places.ravel()), heights * np.cos(phases))
    np.add.at(sines, (periods - 1, places.ravel()), heights * np.sin(phases))
    return Torsions(atoms, cosines, sines, float(heights.sum()))


def _read_pairs(force: Any) -> Pairs:
    check_no_cutoff(force)
    if force.getNumParticleParameterOffsets() + force.getNumExceptionParameterOffsets():
        raise ValueError(f"{force.getName()} has parameter offsets, which are not translated")
    rows = [force.getParticleParameters(i) for i in range(force.getNumParticles())]
    charges, sigmas, epsilons = table(rows, 3).T
    charge = charges[:, None] * charges
    sigma, epsilon = (sigmas[:, None] + sigmas) / 2, np.sqrt(epsilons[:, None] * epsilons)
    exceptions = table([force.getExceptionParameters(i) for i in range(force.getNumExceptions())], 5)
    i, j = exceptions[:, :2].astype(int).T
    for array, column in ((charge, 2), (sigma, 3), (epsilon, 4)):
        array[i, j] = array[j, i] = exceptions[:, column]
    each = np.triu_indices(len(charges), 1)
    sixth = (10 * sigma[each]) ** 6
    attraction = 4 * KJ_PER_MOL_IN_EV * epsilon[each] * sixth
    coulomb = 10 * KJ_PER_MOL_IN_EV * COULOMB_IN_KJ_NM_PER_MOL
    return Pairs(attraction * sixth, attraction, coulomb * charge[each])
