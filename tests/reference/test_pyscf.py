"""Energies, Fock matrices and converged solutions against PySCF, with the same basis, fitting, grid and functional.

PySCF screens what is small, so agreement is not to the last digit.
"""

from typing import NamedTuple

import jax
import numpy as np
import pytest
from molecules import HYDROGEN_IODIDE, SMALL
from pyscf import gto
from pyscf.dft import RKS

from jaxphys import dft

FUNCTIONALS = ["svwn", "pbe", "b3lyp5", "b3lypg"]
CLOSE = 1e-10  # Ha; the largest difference measured is 4e-12


class Case(NamedTuple):
    molecule: tuple
    basis: str = "def2-svp"
    auxbasis: str | None = "def2-universal-jkfit"
    level: int = 0


# One functional, anything else different: the default fitting sets, and one that PySCF has to generate.
OTHERS = {
    "sto-3g": Case(SMALL["water"], "sto-3g", None),
    "6-31g*": Case(SMALL["methanol"], "6-31g*", None),
    "cc-pvdz": Case(SMALL["formaldehyde"], "cc-pvdz", None),
    "def2-tzvp": Case(SMALL["hydroxide"], "def2-tzvp", None),
    "generated fitting set": Case(SMALL["hydrogen fluoride"], "pcseg-1", None),
    "core potential": Case(HYDROGEN_IODIDE),
    "core potential, default fitting set": Case(HYDROGEN_IODIDE, "def2-svp", None),
    "grid level 1": Case(SMALL["ammonium"], level=1),
    "grid level 3": Case(SMALL["water"], level=3),
}


def ours(case, xc):
    numbers, positions, charge = case.molecule
    return dft.kohn_sham(
        numbers,
        positions,
        charge=charge,
        basis=case.basis,
        xc=xc,
        auxbasis=case.auxbasis,
        grid_level=case.level,
    )


def theirs(case, xc):
    numbers, positions, charge = case.molecule
    core_potential = {"I": case.basis} if 53 in numbers else {}
    atoms = list(zip(numbers.tolist(), positions.tolist(), strict=True))
    mole = gto.M(atom=atoms, basis=case.basis, ecp=core_potential, charge=charge, verbose=0)
    method = RKS(mole, xc=xc)
    method.grids.level = case.level
    method.small_rho_cutoff = 0  # a larger one would drop points from the grid
    method.conv_tol, method.conv_tol_grad = 1e-12, 1e-7
    return method.density_fit(auxbasis=case.auxbasis)


def assert_same_map(method, density, energy, fock, name):
    """E and F of one density, which PySCF must not know the orbitals of."""
    density = np.array(density)
    potential = method.get_veff(dm=density)
    assert abs(energy - method.energy_tot(density, vhf=potential)) < CLOSE, name
    assert np.max(np.abs(fock - method.get_fock(dm=density, vhf=potential))) < CLOSE, name


def assert_same_maps(cases, xc):
    """At the superposed atomic densities and at converged ones; returns the methods and the solutions."""
    systems = [ours(case, xc) for case in cases.values()]
    methods = [theirs(case, xc) for case in cases.values()]
    batch = dft.stack(systems)
    energies, focks = jax.jit(jax.vmap(dft.energy_and_fock))(batch, jax.numpy.asarray(batch.guess_density))
    solutions = jax.jit(jax.vmap(dft.scf))(batch)
    unpadded = []
    for i, (name, system, method) in enumerate(zip(cases, systems, methods, strict=True)):
        n = len(system.overlap)
        real = (slice(n), slice(n))
        guess = np.asarray(method.get_init_guess(key="minao"))
        np.testing.assert_allclose(system.guess_density, guess, atol=1e-10, err_msg=name)
        assert_same_map(method, guess, energies[i], focks[i][real], name)
        solution = jax.tree.map(lambda leaf, i=i: leaf[i], solutions)
        assert solution.converged, name
        assert_same_map(method, solution.density[real], solution.energy, solution.fock[real], name)
        unpadded.append(solution)
    return systems, methods, unpadded


def assert_same_solution(system, method, solution, name):
    energy, n = method.kernel(), len(system.overlap)
    assert method.converged, name
    assert abs(solution.energy - energy) < CLOSE, name
    np.testing.assert_allclose(solution.orbital_energies[:n], method.mo_energy, atol=1e-7, err_msg=name)
    dipole = dft.dipole(system, solution.density[:n, :n])
    np.testing.assert_allclose(dipole, method.dip_moment(unit="AU", verbose=0), atol=1e-6, err_msg=name)


@pytest.mark.parametrize("xc", FUNCTIONALS)
def test_fifteen_molecules(xc):
    cases = {name: Case(molecule) for name, molecule in SMALL.items()}
    found = list(zip(cases, *assert_same_maps(cases, xc), strict=True))
    # a quarter of the molecules for each functional: the iteration itself knows nothing of it
    for name, system, method, solution in found[FUNCTIONALS.index(xc) :: len(FUNCTIONALS)]:
        assert_same_solution(system, method, solution, name)


def test_other_basis_and_fitting_sets_core_potentials_and_grids():
    found = zip(OTHERS, *assert_same_maps(OTHERS, "b3lyp5"), strict=True)
    for name, system, method, solution in found:
        assert_same_solution(system, method, solution, name)


def test_default_fitting_set_depends_on_the_functional():
    hybrid, pure = (ours(Case(SMALL["water"], auxbasis=None), xc) for xc in ("b3lyp5", "pbe"))
    assert len(pure.fitting) < len(hybrid.fitting)
    method = theirs(Case(SMALL["water"], auxbasis=None), "pbe")
    energy, fock = jax.jit(dft.energy_and_fock)(pure, jax.numpy.asarray(pure.guess_density))
    assert_same_map(method, pure.guess_density, energy, fock, "water")
