"""A force field's energy in JAX, from the System that OpenMM makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxphys.energies import openmm_forces
from jaxphys.energies.generalised_born import BornAtoms, born_energy
from jaxphys.energies.incidence import differences
from jaxphys.energies.openmm_forces import Angles, Bonds, Pairs, Torsions
from jaxphys.molecule import CLOSEST_ATOMS
from jaxphys.roles import EnergyFunction

UNDEFINED = 1e-12
"""Å⁴ or Å⁸, of products of squared vectors: angles between shorter ones are noise."""

Bonded = Callable[[Float[Array, "n 3"]], Float[Array, ""]]
Nonbonded = Callable[[Float[Array, " pairs"]], Float[Array, ""]]


def openmm_energy(system: Any) -> EnergyFunction:
    """Energy of an openmm.System in eV, a function of positions (n, 3) in Å; in the precision of these.

    Translated: HarmonicBondForce, HarmonicAngleForce, PeriodicTorsionForce, NonbondedForce without cutoff,
    and water as a continuum, OBC1 or OBC2, as GBSAOBCForce or as what implicit/obc1.xml and obc2.xml make.
    CMMotionRemover has no energy. Every pair of atoms counts: made for hundreds of copies of a small molecule
    at once, by `jax.vmap`.

    Atoms closer than 0.1 Å count as 0.1 Å apart in what is not bonded, and angles and dihedrals that are
    undefined as constant: energies and gradients are finite everywhere. Source: the energies that the OpenMM
    user guide gives of these forces (Eastman et al., J. Phys. Chem. B 128, 109 (2024)).
    Raises ValueError for constraints, virtual sites, cutoffs, and any other force, each by its name;
    ModuleNotFoundError without OpenMM.
    """
    n_atoms = system.getNumParticles()
    parts = openmm_forces.read_system(system)
    bonded = [_bonded_energy(part, n_atoms) for part in parts if isinstance(part, Bonds | Angles | Torsions)]
    nonbonded = [
        _pair_energy(part) if isinstance(part, Pairs) else born_energy(part)
        for part in parts
        if isinstance(part, Pairs | BornAtoms)
    ]
    pairs = differences(*np.triu_indices(n_atoms, 1), n_atoms)

    def energy(positions: Float[Any, "n 3"]) -> Float[Array, ""]:
        positions = jnp.asarray(positions)
        if positions.shape != (n_atoms, 3):
            raise ValueError(f"positions must be ({n_atoms}, 3) as the system is, got {positions.shape}")
        total = sum((term(positions) for term in bonded), jnp.zeros((), positions.dtype))
        apart = pairs(positions)
        square = jnp.maximum(_dot(apart, apart), CLOSEST_ATOMS**2)
        return sum((term(square) for term in nonbonded), total)

    return energy


def _bonded_energy(part: Bonds | Angles | Torsions, n_atoms: int) -> Bonded:
    if isinstance(part, Bonds):
        return _bond_energy(part, n_atoms)
    return _angle_energy(part, n_atoms) if isinstance(part, Angles) else _torsion_energy(part, n_atoms)


def _bond_energy(bonds: Bonds, n_atoms: int) -> Bonded:
    difference = differences(bonds.atoms[:, 0], bonds.atoms[:, 1], n_atoms)

    def energy(positions: Float[Array, "n 3"]) -> Float[Array, ""]:
        length = _norm(difference(positions))
        strain = length - jnp.asarray(bonds.lengths, length.dtype)
        return 0.5 * jnp.sum(jnp.asarray(bonds.stiffness, length.dtype) * strain**2)

    return energy


def _angle_energy(angles: Angles, n_atoms: int) -> Bonded:
    first = differences(angles.atoms[:, 1], angles.atoms[:, 0], n_atoms)
    second = differences(angles.atoms[:, 1], angles.atoms[:, 2], n_atoms)

    def energy(positions: Float[Array, "n 3"]) -> Float[Array, ""]:
        one, other = first(positions), second(positions)
        defined = _dot(one, one) * _dot(other, other) > UNDEFINED
        angle = jnp.arctan2(_norm(_cross(one, other)), jnp.where(defined, _dot(one, other), 1))
        strain = angle - jnp.asarray(angles.angles, angle.dtype)
        return 0.5 * jnp.sum(jnp.asarray(angles.stiffness, angle.dtype) * strain**2)

    return energy


def _torsion_energy(torsions: Torsions, n_atoms: int) -> Bonded:
    steps = [differences(torsions.atoms[:, i], torsions.atoms[:, i + 1], n_atoms) for i in range(3)]

    def energy(positions: Float[Array, "n 3"]) -> Float[Array, ""]:
        cosine, sine = _dihedral(*(step(positions) for step in steps))
        even, odd = (jnp.asarray(part, cosine.dtype) for part in (torsions.cosines, torsions.sines))
        # cos nφ and sin nφ follow from those of φ: no angle, and so no branch cut.
        c, s = cosine, sine
        total = jnp.asarray(torsions.constant, cosine.dtype)
        for n in range(len(even)):
            total = total + jnp.sum(even[n] * c + odd[n] * s)
            c, s = c * cosine - s * sine, s * cosine + c * sine
        return total

    return energy


def _pair_energy(pairs: Pairs) -> Nonbonded:
    def energy(square: Float[Array, " pairs"]) -> Float[Array, ""]:
        repulsion, attraction, charge = (
            jnp.asarray(part, square.dtype) for part in (pairs.repulsion, pairs.attraction, pairs.charge)
        )
        inverse = 1 / square
        sixth = inverse**3
        return jnp.sum((repulsion * sixth - attraction) * sixth + charge / jnp.sqrt(square))

    return energy


def _dot(a: Float[Array, "3 k"], b: Float[Array, "3 k"]) -> Float[Array, " k"]:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _cross(a: Float[Array, "3 k"], b: Float[Array, "3 k"]) -> Float[Array, "3 k"]:
    return jnp.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def _norm(vector: Float[Array, "3 k"]) -> Float[Array, " k"]:
    """Zero, without a gradient, for the zero vector."""
    square = _dot(vector, vector)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def _dihedral(
    a: Float[Array, "3 k"], b: Float[Array, "3 k"], c: Float[Array, "3 k"]
) -> tuple[Float[Array, " k"], Float[Array, " k"]]:
    """Cosine and sine of the angle about b, IUPAC's sign; both zero where three atoms are in line."""
    left, right = _cross(a, b), _cross(b, c)
    cosine, sine = _dot(left, right), _norm(b) * _dot(a, right)
    square = _dot(left, left) * _dot(right, right)
    defined = square > UNDEFINED
    scale = jnp.where(defined, 1 / jnp.sqrt(jnp.where(defined, square, 1)), 0)
    return cosine * scale, sine * scale
