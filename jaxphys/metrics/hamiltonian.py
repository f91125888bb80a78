"""How good a predicted Fock matrix is: its elements, orbitals and density, and the SCF cycles it saves."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from pyscf import dft as pyscf_dft

from jaxphys.dft import KohnSham, SCFResult, dipole, energy_and_fock, orbitals
from jaxphys.dft.basis import build_auxiliary, build_mole
from jaxphys.dft.functionals import functional
from jaxphys.molecule import Molecule

Matrix = Float[Array, "n n"]
Scalar = Float[Array, ""]

DEGENERACY_TOLERANCE = 3e-4
"""Occupied levels closer than this, in Ha, count as one.

PySCF's coarsest grid splits the degenerate levels of methane, ammonia and ethane by up to 1.4e-4 Ha, grid
level 1 by 1e-5. And levels this close mix freely under the error of a good model, 1e-5 to 1e-4 Ha.
"""


def hamiltonian_metrics(
    system: KohnSham,
    fock: Float[Array, "n n"],
    reference: SCFResult,
    *,
    degeneracy_tolerance: float = DEGENERACY_TOLERANCE,
) -> dict[str, Scalar]:
    """Errors of a predicted Fock matrix Ĥ against a converged solution of one molecule, scalars by name.

    system: one closed-shell molecule; fock: Ĥ, (n, n) in Ha; reference: its solution, of `dft.scf`;
    degeneracy_tolerance: in Ha. Padding is inert; vmap over stacks. Costs one eigenproblem of Ĥ, one Fock
    build, and the eigenvalues of one overlap. P̂ is the density of Ĥ; levels are matched by energy order.

    In Ha, mean absolute: h_mae over matrix elements; h_mae_occ_occ, h_mae_occ_virt, h_mae_virt_virt over the
    blocks of Cᵀ (Ĥ − H) C in the reference's orbitals C; orbital_energy_mae over occupied levels; homo, lumo,
    gap. What involves virtual levels is 0 for a molecule without any.
    From 0 to 1, where 1 is identical: coefficient_cosine, orbital_similarity, subspace_similarity.
    intruder: 1 where an orbital of the reference's occupied space is mostly virtual in the prediction; or 0.
    From the density: energy_error, E_KS[P̂] − E_SCF in Ha, signed, and by the variational principle not
    negative if the reference is the ground state; dipole_error, |μ̂ − μ| in e·Bohr.
    Without a label: residual, root mean square of the elements of F[P̂] − Ĥ in Ha.
    Source: QH9's test.py (h_mae, orbital_energy_mae, homo, lumo, gap, coefficient_cosine).
    """
    energies, coefficients = orbitals(system, fock)
    density = (coefficients * system.occupation) @ coefficients.T
    energy, rebuilt = energy_and_fock(system, density)
    return {
        **_element_errors(fock - reference.fock, reference.coefficients, system),
        **_level_errors(energies, reference.orbital_energies, system),
        **_orbital_overlaps(coefficients, reference, system, degeneracy_tolerance),
        "energy_error": energy - reference.energy,
        "dipole_error": jnp.linalg.norm(dipole(system, density) - dipole(system, reference.density)),
        "residual": jnp.sqrt(_mean((rebuilt - fock) ** 2, _own_elements(system))),
    }


def scf_cycles(
    molecule: Molecule,
    fock: Float[Any, "n n"] | None,
    *,
    basis: str = "def2-svp",
    xc: str = "b3lyp5",
    auxbasis: str | None = None,
    grid_level: int = 3,
    max_cycles: int = 50,
) -> int:
    """Cycles that PySCF's density-fitted RKS needs from the density of a Fock matrix; host function.

    fock: (n, n) in Ha, without padding, in PySCF's orbital order; None starts from "minao". The settings are
    those of `dft.kohn_sham`; all else is PySCF's default: DIIS, energy converged to 1e-9 Ha.
    Returns max_cycles + 1 for a calculation that did not converge. Raises ValueError for a wrong shape or a
    matrix that is not finite, and as `dft.kohn_sham` does.
    """
    method = functional(xc)
    mole = build_mole(molecule.numbers, molecule.positions, charge=molecule.charge, basis=basis)
    auxiliary = build_auxiliary(mole, method.pyscf_name, auxbasis)
    field = pyscf_dft.RKS(mole, xc=method.pyscf_name).density_fit(auxbasis=auxiliary.basis)
    field.grids.level = grid_level
    field.max_cycle = max_cycles
    field.chkfile = None  # nothing reads it
    field.kernel(dm0=None if fock is None else _pyscf_density(field, np.asarray(fock)))
    return int(field.cycles) if field.converged else max_cycles + 1


def _pyscf_density(field: Any, fock: np.ndarray) -> np.ndarray:
    n = field.mol.nao
    if fock.shape != (n, n):
        raise ValueError(f"fock must have shape {(n, n)} in this basis, without padding, got {fock.shape}")
    if not np.isfinite(fock).all():
        raise ValueError("fock must be finite, got NaN or infinity")
    energies, coefficients = field.eig(0.5 * (fock + fock.T), field.get_ovlp())
    return field.make_rdm1(coefficients, field.get_occ(energies, coefficients))


def _mean(values: Array, mask: Bool[Array, ...]) -> Scalar:
    """Mean of the values under the mask, 0 where there are none."""
    return jnp.sum(jnp.where(mask, values, 0.0)) / jnp.maximum(jnp.sum(mask), 1)


def _own_elements(system: KohnSham) -> Bool[Array, "n n"]:
    own = jnp.diagonal(jnp.asarray(system.overlap)) > 0
    return own[:, None] & own[None, :]


def _occupied(system: KohnSham) -> Bool[Array, " n"]:
    return jnp.asarray(system.occupation) > 0


def _virtual(system: KohnSham) -> Bool[Array, " n"]:
    """Levels that are neither occupied nor padding: real levels come first, as `orbital_mask` has them."""
    return jnp.asarray(system.orbital_mask) & ~_occupied(system)


def _element_errors(difference: Matrix, coefficients: Matrix, system: KohnSham) -> dict[str, Scalar]:
    rotated = jnp.abs(coefficients.T @ difference @ coefficients)
    occupied, virtual = _occupied(system), _virtual(system)
    return {
        "h_mae": _mean(jnp.abs(difference), _own_elements(system)),
        "h_mae_occ_occ": _mean(rotated, occupied[:, None] & occupied[None, :]),
        "h_mae_occ_virt": _mean(rotated, occupied[:, None] & virtual[None, :]),
        "h_mae_virt_virt": _mean(rotated, virtual[:, None] & virtual[None, :]),
    }


def _level_errors(
    predicted: Float[Array, " n"], reference: Float[Array, " n"], system: KohnSham
) -> dict[str, Scalar]:
    occupied, virtual = _occupied(system), _virtual(system)
    difference = predicted - reference
    order = jnp.arange(len(difference))
    homo = _mean(difference, order == jnp.sum(occupied) - 1)
    lumo = _mean(difference, virtual & (order == jnp.sum(occupied)))
    return {
        "orbital_energy_mae": _mean(jnp.abs(difference), occupied),
        "homo": jnp.abs(homo),
        "lumo": jnp.abs(lumo),
        "gap": jnp.where(jnp.any(virtual), jnp.abs(lumo - homo), 0.0),
    }


def _orbital_overlaps(
    coefficients: Matrix, reference: SCFResult, system: KohnSham, tolerance: float
) -> dict[str, Scalar]:
    """Similarities of the occupied orbitals; with S the overlap, w_ij = (c_iᵀ S ĉ_j)² sums to ≤ 1 either way.

    coefficient_cosine: mean over occupied i of |cos(c_i, ĉ_i)| of the raw coefficients, as QH9 reports it.
    Neither rotation-invariant nor defined under degeneracy; given for comparison with published tables.
    orbital_similarity: mean over occupied i of Σ_j w_ji, j in the reference level of i. Levels less than the
    tolerance apart are chained into one, so that rotations within a level change nothing.
    subspace_similarity: tr(P S P̂ S) / 2N = Σ_ij w_ij / n_occ, for N = 2 n_occ electrons: P S P = 2 P and
    tr(P S) = N give 1 for P̂ = P. Rotations among all occupied orbitals change nothing.
    intruder: the largest angle between the two occupied spaces exceeds 45°, that is cos² < ½.
    """
    occupied = _occupied(system)
    both = occupied[:, None] & occupied[None, :]
    cross = jnp.where(both, reference.coefficients.T @ system.overlap @ coefficients, 0.0)
    level = _level_of(reference.orbital_energies, tolerance)
    same_level = level[:, None] == level[None, :]
    # outside the occupied block a unit diagonal: directions that never are the worst
    weights = jnp.where(both, cross @ cross.T, jnp.diag(jnp.where(occupied, 0.0, 1.0)))
    return {
        "coefficient_cosine": _mean(_column_cosines(reference.coefficients, coefficients), occupied),
        "orbital_similarity": _mean(jnp.sum(jnp.where(same_level, cross**2, 0.0), axis=0), occupied),
        "subspace_similarity": _mean(jnp.sum(cross**2, axis=0), occupied),
        "intruder": jnp.where(jnp.linalg.eigvalsh(weights)[0] >= 0.5, 0.0, 1.0),  # NaN counts as wrong
    }


def _column_cosines(left: Matrix, right: Matrix) -> Float[Array, " n"]:
    norms = jnp.linalg.norm(left, axis=0) * jnp.linalg.norm(right, axis=0)
    return jnp.abs(jnp.sum(left * right, axis=0)) / jnp.where(norms > 0, norms, 1.0)


def _level_of(energies: Float[Array, " n"], tolerance: float) -> Int[Array, " n"]:
    """Index of the level of each orbital, for ascending energies in Ha."""
    steps = jnp.diff(energies) > tolerance
    return jnp.concatenate([jnp.zeros(1, int), jnp.cumsum(steps)])
