"""Forces of a converged solution, with Pulay terms and the response of the grid."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxphys.dft.assembly import Setup, assemble
from jaxphys.dft.basis import build_auxiliary, build_mole
from jaxphys.dft.becke import becke_grid, grid_template
from jaxphys.dft.fock import energy
from jaxphys.dft.functionals import functional
from jaxphys.dft.libcint_gradient import Occupied, libcint_gradient
from jaxphys.dft.scf import SCFResult
from jaxphys.units import BOHR_IN_ANGSTROM

_becke_grid = jax.jit(becke_grid)


def forces(
    numbers: Any,
    positions: Any,
    solution: SCFResult,
    *,
    charge: int = 0,
    spin: int | None = None,
    basis: str = "def2-svp",
    xc: str = "b3lyp5",
    auxbasis: str | None = None,
    grid_level: int = 3,
) -> Float[np.ndarray, "a 3"]:
    """−dE/dR in Ha/Bohr, (a, 3), of one molecule's solution, on the host with libcint.

    Arguments as for `kohn_sham`, of which `solution` is the SCF result, without padding. The exact derivative
    of the energy: the grid moves with the atoms (PySCF's `grid_response`), and so do the fitting functions.
    Raises ValueError for a solution that has not converged, and for core potentials.
    """
    if not np.all(solution.converged):
        raise ValueError("forces need a converged solution, this one has not: see SCFResult.converged")
    method, numbers = functional(xc), np.asarray(numbers)
    positions = np.asarray(positions, dtype=np.float64)
    mole = build_mole(numbers, positions, charge=charge, spin=spin, basis=basis)
    template = grid_template(numbers, grid_level)
    points, weights = (np.asarray(a) for a in _becke_grid(template, mole.atom_coords()))
    gradient = libcint_gradient(
        mole,
        build_auxiliary(mole, method.pyscf_name, auxbasis),
        method,
        _occupied(mole.nelec, spin, solution),
        points=points,
        weights=weights,
        response=template,
    )
    return -gradient


def _occupied(electrons: tuple[int, int], spin: int | None, solution: SCFResult) -> list[Occupied]:
    coefficients, levels = np.asarray(solution.coefficients), np.asarray(solution.orbital_energies)
    if spin is None:
        return [Occupied(coefficients[:, : electrons[0]], levels[: electrons[0]])]
    return [Occupied(coefficients[s, :, :o], levels[s, :o]) for s, o in enumerate(electrons)]


def assembled_forces(setup: Setup, positions: Float[Any, "a 3"], solution: SCFResult) -> Float[Array, "a 3"]:
    """−dE/dR in Ha/Bohr, (a, 3), in pure JAX, of a solution of `assemble(setup, positions)`; positions in Å.

    At a solution the density adds only through its normalisation, −tr(W dS) with W = C n ε Cᵀ, so that there
    is nothing to solve. The same as differentiating `scf(assemble(...)).energy`, without another SCF. Not
    converged: NaN.
    """
    weighted = solution.coefficients * (setup.occupation * solution.orbital_energies)[..., None, :]
    weighted = weighted @ solution.coefficients.mT
    weighted = weighted if weighted.ndim == 2 else weighted.sum(0)

    def stationary(positions: Array) -> Array:
        system = assemble(setup, positions)
        return energy(system, solution.density) - jnp.sum(weighted * system.overlap)

    gradient = jax.grad(stationary)(jnp.asarray(positions, jnp.float64))
    return jnp.where(solution.converged, -BOHR_IN_ANGSTROM * gradient, jnp.nan)
