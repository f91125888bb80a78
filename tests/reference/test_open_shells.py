"""Open shells and the other functionals against PySCF: same basis, fitting, grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from molecules import METHANOL, from_g2
from pyscf import gto
from pyscf.dft import RKS, UKS

from jaxphys import dft

CLOSE = 1e-10  # Ha


def solve(molecule, xc, spin, level=0):
    """PySCF's converged solution and our system of the same molecule."""
    numbers, positions, charge = molecule
    atoms = list(zip(numbers.tolist(), positions.tolist(), strict=True))
    mole = gto.M(atom=atoms, basis="def2-svp", charge=charge, spin=spin or 0, verbose=0)
    field = (RKS if spin is None else UKS)(mole, xc=xc).density_fit(auxbasis="def2-universal-jkfit")
    field.grids.level, field.small_rho_cutoff, field.conv_tol = level, 0, 1e-11
    field.kernel()
    settings = {"basis": "def2-svp", "auxbasis": "def2-universal-jkfit", "grid_level": level}
    return field, dft.kohn_sham(numbers, positions, charge=charge, spin=spin, xc=xc, **settings)


@pytest.mark.parametrize(
    ("name", "spin", "xc"),
    [
        ("CH3", 1, "b3lyp5"),
        pytest.param("CN", 1, "r2scan", marks=pytest.mark.slow),
        pytest.param("O2", 2, "pbe", marks=pytest.mark.slow),
        pytest.param("NH", 2, "svwn", marks=pytest.mark.slow),
        pytest.param("OH", 1, "wb97x", marks=pytest.mark.slow),
    ],
)
def test_open_shells(name, spin, xc):
    field, system = solve(from_g2(name), xc, spin)
    density = jnp.asarray(field.make_rdm1())
    energy, fock = jax.jit(dft.energy_and_fock)(system, density)
    np.testing.assert_allclose(energy, field.energy_tot(), atol=CLOSE)
    np.testing.assert_allclose(fock, field.get_fock(dm=np.asarray(density)), atol=CLOSE)
    np.testing.assert_allclose(dft.dipole(system, density), field.dip_moment(unit="AU", verbose=0), atol=1e-8)
    # the odd electron of OH may take either π orbital, which a coarse grid tells apart by 2e-5 Ha
    found = jax.jit(dft.scf)(system, guess=fock) if name == "OH" else jax.jit(dft.scf)(system)
    assert found.converged
    np.testing.assert_allclose(found.energy, field.e_tot, atol=1e-8)


@pytest.mark.parametrize(
    "xc", ["r2scan", "wb97x", *(pytest.param(xc, marks=pytest.mark.slow) for xc in ("blyp", "pbe0"))]
)
def test_closed_shells(xc):
    field, system = solve(METHANOL, xc, None)
    density = jnp.asarray(field.make_rdm1())
    energy, fock = jax.jit(dft.energy_and_fock)(system, density)
    np.testing.assert_allclose(energy, field.energy_tot(), atol=CLOSE)
    np.testing.assert_allclose(fock, field.get_fock(dm=np.asarray(density)), atol=CLOSE)


def test_a_closed_molecule_as_an_open_shell_is_the_same(systems_of_water):
    closed, opened = systems_of_water
    one, two = jax.jit(dft.scf)(closed), jax.jit(dft.scf)(opened)
    np.testing.assert_allclose(two.energy, one.energy, atol=1e-9)
    np.testing.assert_allclose(two.density.sum(axis=0), one.density, atol=1e-6)
    np.testing.assert_allclose(two.fock[0], one.fock, atol=1e-6)


@pytest.fixture(scope="module")
def systems_of_water():
    numbers, positions, _ = from_g2("H2O")
    return [dft.kohn_sham(numbers, positions, xc="pbe", grid_level=0, spin=spin) for spin in (None, 0)]


@pytest.mark.parametrize(("spin", "allowed"), [(1, "0, 2, 4, 6"), (-2, "0, 2, 4, 6"), (12, "0, 2, 4, 6")])
def test_spins_that_do_not_fit(spin, allowed):
    numbers, positions, _ = from_g2("H2O")
    with pytest.raises(ValueError, match=f"with 10 electrons it must be one of {allowed}…, got {spin}"):
        dft.kohn_sham(numbers, positions, spin=spin)
