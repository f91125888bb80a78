"""Energies, Fock matrices and solutions against PySCF: same basis, fitting, grid and functional.

PySCF screens what is small, so agreement is not to the last digit.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from molecules import HYDROGEN_IODIDE, SMALL
from pyscf import gto
from pyscf.dft import RKS

from jaxphys import dft

SLOW = [pytest.param(xc, marks=pytest.mark.slow) for xc in ("svwn", "b3lypg")]
FUNCTIONALS = ["pbe", "b3lyp5", *SLOW]
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


def energies_and_focks(systems, densities):
    """Of densities without padding."""
    batch = dft.stack(systems)
    padded = np.zeros_like(batch.overlap)
    for whole, density in zip(padded, densities, strict=True):
        whole[: len(density), : len(density)] = density
    energies, focks = jax.jit(jax.vmap(dft.energy_and_fock))(batch, jnp.asarray(padded))
    return [(e, f[: len(p), : len(p)]) for e, f, p in zip(energies, focks, densities, strict=True)]


def converged_densities(cases, xc):
    """Our solutions, each compared with PySCF's."""
    systems = [ours(case, xc) for case in cases.values()]
    solutions = jax.jit(jax.vmap(dft.scf))(dft.stack(systems))
    densities = []
    for i, (name, case) in enumerate(cases.items()):
        n = len(systems[i].overlap)
        densities.append(solutions.density[i, :n, :n])
        method = theirs(case, xc)
        energy = method.kernel()
        assert method.converged and solutions.converged[i], name
        assert abs(solutions.energy[i] - energy) < CLOSE, name
        levels = solutions.orbital_energies[i, :n]
        np.testing.assert_allclose(levels, method.mo_energy, atol=1e-7, err_msg=name)
        dipole = dft.dipole(systems[i], densities[i])
        expected = method.dip_moment(unit="AU", verbose=0)
        np.testing.assert_allclose(dipole, expected, atol=1e-6, err_msg=name)
    return densities


def assert_same_maps(cases, xc, densities):
    """E and F of given densities and of superposed atoms."""
    systems = [ours(case, xc) for case in cases.values()]
    methods = [theirs(case, xc) for case in cases.values()]
    guesses = [system.guess_density for system in systems]
    for name, method, guess in zip(cases, methods, guesses, strict=True):
        np.testing.assert_allclose(guess, method.get_init_guess(key="minao"), atol=1e-10, err_msg=name)
    for chosen in (guesses, densities):
        found = energies_and_focks(systems, chosen)
        for name, method, density, (energy, fock) in zip(cases, methods, chosen, found, strict=True):
            assert_same_map(method, density, energy, fock, name)


@pytest.fixture(scope="module")
def fifteen():
    return {name: Case(molecule) for name, molecule in SMALL.items()}


@pytest.fixture(scope="module")
def densities(fifteen):
    return converged_densities(fifteen, "pbe")


@pytest.mark.parametrize("xc", FUNCTIONALS)
def test_energies_and_fock_matrices_of_fifteen_molecules(fifteen, densities, xc):
    assert_same_maps(fifteen, xc, densities)


@pytest.mark.parametrize(
    "names",
    [
        ("sto-3g", "generated fitting set", "core potential", "grid level 1"),
        pytest.param(tuple(OTHERS), marks=pytest.mark.slow, id="all"),
    ],
)
def test_other_basis_and_fitting_sets_core_potentials_and_grids(names):
    cases = {name: OTHERS[name] for name in names}
    assert_same_maps(cases, "b3lyp5", converged_densities(cases, "b3lyp5"))


def test_default_fitting_set_depends_on_the_functional():
    hybrid, pure = (ours(Case(SMALL["water"], auxbasis=None), xc) for xc in ("b3lyp5", "pbe"))
    assert len(pure.fitting) < len(hybrid.fitting)
    method = theirs(Case(SMALL["water"], auxbasis=None), "pbe")
    energy, fock = jax.jit(dft.energy_and_fock)(pure, jnp.asarray(pure.guess_density))
    assert_same_map(method, pure.guess_density, energy, fock, "water")
