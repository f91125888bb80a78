"""Water as a continuum around a molecule: the generalised Born energy of Onufriev, Bashford and Case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxphys.energies.incidence import at_atoms, sum_by_atom

PROBE = 1.4  # Å, the radius of water
OFFSET = 0.09  # Å, by which a sphere is smaller in the integrals than the radius of its atom
OBC1 = (0.8, 0.0, 2.909125)
OBC2 = (1.0, 0.8, 4.85)


@dataclass(frozen=True, eq=False)
class BornAtoms:
    """What the energy needs to know of the atoms; lengths in Å, energies in eV.

    charges: (n,) in e. radii, spheres, screened: (n,), of the atom, of the sphere that the integral leaves
    out, and of the one that displaces water elsewhere. curve: α, β, γ of OBC1 or OBC2. coulomb: the energy of
    two unit charges 1 Å apart that the solvent takes away, in eV Å. tension: in eV/Å², 0 without a surface.
    """

    charges: Float[np.ndarray, " n"]
    radii: Float[np.ndarray, " n"]
    spheres: Float[np.ndarray, " n"]
    screened: Float[np.ndarray, " n"]
    curve: tuple[float, float, float]
    coulomb: float
    tension: float


def born_energy(atoms: BornAtoms) -> Callable[[Float[Array, " pairs"]], Float[Array, ""]]:
    """Energy of solvation in eV, a function of the squared distances in Å² of all pairs i < j.

    The pairs are in the order of np.triu_indices(n, 1), and no square is zero. Born radii by the pairwise
    integral of Hawkins, Cramer, Truhlar, J. Phys. Chem. 100, 19824 (1996), bent by tanh as in Onufriev,
    Bashford, Case, Proteins 55, 383 (2004), eq. 6; energy of charges by Still et al., J. Am. Chem. Soc. 112,
    6127 (1990); the surface by Schaefer, Bartels, Karplus, J. Mol. Biol. 284, 835 (1998). An atom wholly
    within another's sphere counts as in OpenMM's CustomGBForce; GBSAOBCForce adds a little to it, where two
    atoms are within 0.5 Å.
    """
    n_atoms = len(atoms.charges)
    i, j = np.triu_indices(n_atoms, 1)
    charges = atoms.charges[i] * atoms.charges[j]
    surface = atoms.tension * (atoms.radii + PROBE) ** 2 * atoms.radii**6
    sum_i, sum_j = sum_by_atom(i, n_atoms), sum_by_atom(j, n_atoms)
    at_i, at_j = at_atoms(i, n_atoms), at_atoms(j, n_atoms)

    def energy(square: Float[Array, " pairs"]) -> Float[Array, ""]:
        def cast(constant: np.ndarray) -> Array:
            return jnp.asarray(constant, square.dtype)

        distance = jnp.sqrt(square)
        integral = sum_i(_descreening(distance, cast(atoms.spheres[i]), cast(atoms.screened[j])))
        integral += sum_j(_descreening(distance, cast(atoms.spheres[j]), cast(atoms.screened[i])))
        inverse = _inverse_born_radii(integral, atoms, cast)
        product = at_i(inverse) * at_j(inverse)
        effective = jnp.sqrt(square + jnp.exp(-0.25 * square * product) / product)
        pairs = jnp.sum(cast(charges) / effective)
        own = 0.5 * jnp.sum(cast(atoms.charges**2) * inverse)
        return -atoms.coulomb * (own + pairs) + jnp.sum(cast(surface) * inverse**6)

    return energy


def _descreening(
    distance: Float[Array, " pairs"], sphere: Float[Array, " pairs"], screened: Float[Array, " pairs"]
) -> Float[Array, " pairs"]:
    """How far the second atom of each pair keeps water from the first, in 1/Å."""
    high = distance + screened
    low = jnp.maximum(sphere, jnp.abs(distance - screened))
    inside, outside, inverse = 1 / low, 1 / high, 1 / distance
    lens = 0.25 * (distance - screened**2 * inverse) * (outside**2 - inside**2)
    value = 0.5 * (inside - outside + lens + 0.5 * jnp.log(low * outside) * inverse)
    return jnp.where(high > sphere, value, 0)


def _inverse_born_radii(
    integral: Float[Array, " n"], atoms: BornAtoms, cast: Callable[[np.ndarray], Array]
) -> Float[Array, " n"]:
    """1 / Å."""
    alpha, beta, gamma = atoms.curve
    psi = integral * cast(atoms.spheres)
    bent = jnp.tanh(psi * (alpha - psi * (beta - gamma * psi)))
    return cast(1 / atoms.spheres) - bent * cast(1 / atoms.radii)
