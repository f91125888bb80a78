"""Energies and forces by OpenMM itself, of many geometries of one system."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from jaxphys.energies.openmm_values import openmm
from jaxphys.units import KJ_PER_MOL_IN_EV

SHORTEST_BONDS = 0.3
"""Å, in the middle of a frame's bonds: molecules have 1 to 1.5, which in nm is 0.1 to 0.15."""


def openmm_labels(
    system: Any, positions: Any, *, platform: str = "CPU"
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "k n 3"]]:
    """Energies in eV, (k,), and forces in eV/Å, (k, n, 3), of an openmm.System with any forces.

    positions: (k, n, 3) in Å, or an openmm Quantity in any unit of length. platform: "CPU" rounds to single
    precision, 1e-5 of a force; "Reference" does not, and is ten times slower. Host function.
    Raises ValueError for other shapes, positions that are not finite or look like nm, an unknown platform,
    and energies and forces that are not finite, naming the frame; ModuleNotFoundError without OpenMM.
    """
    mm = openmm()
    known = [mm.Platform.getPlatform(i).getName() for i in range(mm.Platform.getNumPlatforms())]
    if platform not in known:
        raise ValueError(f"platform must be one of {', '.join(known)}, got {platform!r}")
    place = _in_angstrom(positions)
    _check_positions(place, system)
    context = mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName(platform))
    energies, forces = np.empty(len(place)), np.empty(place.shape)
    for i, frame in enumerate(place):
        context.setPositions(frame / 10)
        state = context.getState(energy=True, forces=True)
        energies[i] = state.getPotentialEnergy().value_in_unit_system(mm.unit.md_unit_system)
        forces[i] = state.getForces(asNumpy=True).value_in_unit_system(mm.unit.md_unit_system)
    finite = np.isfinite(energies) & np.isfinite(forces).all(axis=(1, 2))
    if not finite.all():
        i = int(np.argmin(finite))
        raise ValueError(f"frame {i}: OpenMM's energy is {energies[i]} kJ/mol, or a force is not finite")
    return KJ_PER_MOL_IN_EV * energies, KJ_PER_MOL_IN_EV / 10 * forces


def _in_angstrom(positions: Any) -> np.ndarray:
    unit = openmm().unit
    if unit.is_quantity(positions):
        if not positions.unit.is_compatible(unit.angstrom):
            raise ValueError(f"positions must be lengths, got a quantity in {positions.unit}")
        positions = positions.value_in_unit(unit.angstrom)
    return np.asarray(positions, dtype=np.float64)


def _check_positions(positions: np.ndarray, system: Any) -> None:
    n_atoms = system.getNumParticles()
    if positions.ndim != 3 or positions.shape[1:] != (n_atoms, 3):
        raise ValueError(f"positions must be (frames, {n_atoms}, 3), as the system is, got {positions.shape}")
    wrong = np.argwhere(~np.isfinite(positions).all(axis=-1))
    if len(wrong):
        frame, atom = (int(index) for index in wrong[0])
        raise ValueError(
            f"frame {frame}, atom {atom}: positions must be finite, got {positions[frame, atom].tolist()}"
        )
    i, j = _bonded_pairs(system)
    if not (len(i) and len(positions)):
        return
    typical = np.median(np.linalg.norm(positions[:, i] - positions[:, j], axis=-1), axis=1)
    if (typical < SHORTEST_BONDS).any():
        frame = int(np.argmin(typical))
        raise ValueError(
            f"frame {frame}: bonds are {typical[frame]:.3g} Å long in the middle, molecules have 1 to 1.5; "
            "these look like nm: multiply by 10, or give an openmm Quantity"
        )


def _bonded_pairs(system: Any) -> tuple[np.ndarray, np.ndarray]:
    """Atoms that a harmonic bond or a constraint joins."""
    pairs = [system.getConstraintParameters(i)[:2] for i in range(system.getNumConstraints())]
    for force in system.getForces():
        if type(force).__name__ == "HarmonicBondForce":
            pairs += [force.getBondParameters(i)[:2] for i in range(force.getNumBonds())]
    first, second = np.array(pairs, dtype=int).reshape(-1, 2).T
    return first, second
