"""A Gō protein: a chain of Cα beads whose energy knows its native structure, contact by contact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxphys.roles import EnergyFunction
from jaxphys.units import KCAL_PER_MOL_IN_EV

CONTACT = 0.275 * KCAL_PER_MOL_IN_EV
"""ε in eV, the depth of a native contact and the unit of the other terms: the villin headpiece, with contacts
up to 12 Å, folds at about 298 K."""
BONDS, ANGLES, DIHEDRALS, TRIPLE_DIHEDRALS = 100.0, 20.0, 1.0, 0.5  # ε/Å², ε/rad², ε, ε
EXCLUDED = 4.0  # Å, where two beads that are no contact repel each other by ε
_CLOSEST = 0.1  # Å, below which the repulsion grows no more: finite in single precision

ContactTerms = Callable[[Any], Any]


def go_protein(
    native: Float[Any, "n 3"],
    contacts: Int[Any, "c 2"],
    strengths: Float[Any, " c"] | None = None,
    *,
    contact: float = CONTACT,
) -> EnergyFunction:
    """V = Σ bonds, angles, dihedrals, excluded volume + Σ_c s_c V_c in eV, of positions (n, 3) in Å.

    native: (n, 3) in Å, a chain of at least four Cα atoms in order; contacts: (c, 2) pairs of beads, as
    `go_contacts`; strengths: s_c in eV, (c,), all `contact` if None: others are a mutant, whose other
    terms are the wild type's. contact: ε in eV, the unit of the other terms. V_c is that of `contact_terms`.
    The rest is 100 ε/Å² (d − d°)², 20 ε/rad² (θ − θ°)², ε (1 − cos Δφ) + ε/2 (1 − cos 3Δφ), and
    ε (4 Å / d)¹² for pairs four or more apart that are no contact. It knows left from right by φ.
    Source: Clementi, Nymeyer, Onuchic, J. Mol. Biol. 298, 937 (2000), Eq. 1, contacts by distance.
    Raises ValueError for a shorter chain or one that is not finite, contacts outside it or listed twice, or
    strengths that do not fit.
    """
    native, contacts = _checked(native, contacts)
    if strengths is None:
        strengths = np.full(len(contacts), contact)
    if np.shape(strengths) != (len(contacts),):
        raise ValueError(
            f"strengths must be one a contact, ({len(contacts)},), got shape {np.shape(strengths)}"
        )
    if not contact > 0:
        raise ValueError(f"contact must be a positive energy in eV, got {contact}")
    backbone = _backbone(native)
    twelfth, tenth = _pair_coefficients(native, contacts, strengths, contact)

    def energy(positions: Float[Any, "n 3"]) -> Float[Array, ""]:
        # all pairs, most of them twice: the derivative of a list of pairs is a scatter, slow on CPUs
        square = jnp.sum((positions[:, None] - positions) ** 2, axis=-1)
        inverse = 1 / jnp.maximum(square, _CLOSEST**2)
        fifth = inverse**5
        pairs = jnp.asarray(twelfth, positions.dtype) * inverse - jnp.asarray(tenth, positions.dtype)
        return contact * backbone(positions) + jnp.sum(pairs * fifth)

    return energy


def contact_terms(native: Float[Any, "n 3"], contacts: Int[Any, "c 2"]) -> ContactTerms:
    """Positions (n, 3) in Å to V_c = 5 (d°/d)¹² − 6 (d°/d)¹⁰, (c,), without unit and −1 at the native d°.

    The energy of a Gō protein is linear in its strengths: that of another mutant on the same positions is
    V + Σ_c (s'_c − s_c) V_c, by which samples are reweighted. Arguments and errors as of `go_protein`.
    """
    native, contacts = _checked(native, contacts)
    first, second = contacts.T
    rest = np.linalg.norm(native[second] - native[first], axis=1)

    def terms(positions: Float[Any, "n 3"]) -> Float[Array, " c"]:
        ratio = jnp.asarray(rest, positions.dtype) / _lengths(positions[second] - positions[first])
        return 5 * ratio**12 - 6 * ratio**10

    return terms


def go_contacts(
    native: Float[Any, "n 3"], *, cutoff: float = 12.0, separation: int = 4
) -> Int[np.ndarray, "c 2"]:
    """Pairs of beads (c, 2), first < second, near in the native structure and not along the chain.

    native: (n, 3) in Å; cutoff: in Å; separation: so many beads apart along the chain, or
    more. Raises ValueError where there is none: such a chain does not fold.
    """
    native = np.asarray(native, dtype=float)
    first, second = np.triu_indices(len(native), separation)
    near = np.linalg.norm(native[second] - native[first], axis=1) < cutoff
    if not near.any():
        raise ValueError(f"no two beads {separation} or more apart are within the cutoff of {cutoff} Å")
    return np.stack([first[near], second[near]], axis=1)


def _backbone(native: Float[np.ndarray, "n 3"]) -> Callable[[Any], Any]:
    """Bonds, angles and dihedrals in units of ε."""
    rest = [np.asarray(part) for part in _internal(jnp.asarray(native))]

    def energy(positions: Float[Any, "n 3"]) -> Float[Array, ""]:
        bonds, angles, cosines, sines = (jnp.asarray(part, positions.dtype) for part in rest)
        length, angle, cosine, sine = _internal(positions)
        turned = cosine * cosines + sine * sines  # cos(φ − φ°)
        dihedral = DIHEDRALS * (1 - turned) + TRIPLE_DIHEDRALS * (1 - (4 * turned**3 - 3 * turned))
        stretch = BONDS * jnp.sum((length - bonds) ** 2) + ANGLES * jnp.sum((angle - angles) ** 2)
        return stretch + jnp.sum(dihedral)

    return energy


def _internal(positions: Float[Any, "n 3"]) -> tuple[Array, Array, Array, Array]:
    """Lengths of bonds (n−1,) in Å, angles (n−2,) in rad, and cosines and sines of dihedrals (n−3,)."""
    steps = positions[1:] - positions[:-1]
    normals = jnp.cross(steps[:-1], steps[1:])
    length, area = _lengths(steps), _lengths(normals, 1e-6)
    angle = jnp.arctan2(area, -jnp.sum(steps[:-1] * steps[1:], axis=1))
    areas = area[:-1] * area[1:]
    cosine = jnp.sum(normals[:-1] * normals[1:], axis=1) / areas
    sine = jnp.sum(steps[:-2] * normals[1:], axis=1) * length[1:-1] / areas
    return length, angle, cosine, sine


def _lengths(vectors: Float[Any, "m 3"], least: float = _CLOSEST) -> Float[Array, " m"]:
    """Their lengths, `least` for shorter ones, where the gradient is zero and not undefined."""
    return jnp.sqrt(jnp.maximum(jnp.sum(vectors**2, axis=1), least**2))


def _pair_coefficients(
    native: Float[np.ndarray, "n 3"], contacts: Int[np.ndarray, "c 2"], strengths: Any, contact: float
) -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
    """A and B of all pairs' energies A/d¹² − B/d¹⁰, in eV Å¹² and eV Å¹⁰; zero in the lower triangle."""
    first, second = contacts.T
    rest = np.linalg.norm(native[second] - native[first], axis=1)
    free = np.triu(np.ones((len(native), len(native)), bool), 4)
    free[first, second] = False
    twelfth = jnp.where(free, contact * EXCLUDED**12, 0.0).at[first, second].set(strengths * 5 * rest**12)
    return twelfth, jnp.zeros(free.shape).at[first, second].set(strengths * 6 * rest**10)


def _checked(native: Any, contacts: Any) -> tuple[np.ndarray, np.ndarray]:
    native, contacts = np.asarray(native, dtype=float), np.asarray(contacts)
    if native.ndim != 2 or native.shape[1] != 3 or len(native) < 4:
        raise ValueError(f"native must be a chain (n, 3) of at least four beads, got shape {native.shape}")
    if not np.isfinite(native).all():
        raise ValueError("native must be finite positions in Å, got some that are not")
    if contacts.ndim != 2 or contacts.shape[1] != 2 or not np.issubdtype(contacts.dtype, np.integer):
        raise ValueError(
            f"contacts must be pairs of integers (c, 2), got {contacts.dtype} of shape {contacts.shape}"
        )
    contacts = np.sort(contacts, axis=1)
    wrong = (contacts[:, 0] < 0) | (contacts[:, 1] >= len(native)) | (contacts[:, 1] - contacts[:, 0] < 2)
    if wrong.any():
        raise ValueError(
            f"contacts must join beads of 0 to {len(native) - 1}, two or more apart, got {contacts[wrong][0]}"
        )
    if len(np.unique(contacts, axis=0)) < len(contacts):
        raise ValueError("each contact must be listed once, got one twice")
    return native, contacts
