"""Published Hamiltonians, where the variable JAXPHYS_DATA names the folder that holds `hamiltonians/`.

Ethane, b3lypg/STO-3G without density fitting on the grid (99, 590), largest differences in Ha of F[P] at the
published P, measured over four frames (the mean over all elements is 4e-6, on any grid but the coarsest):

    grid level                                  0       1       3       5     (99, 590)
    ours − published                          1.4e-3  2.6e-4  2.6e-4  2.6e-4
    of which density fitting (PySCF's)        2.6e-4  2.6e-4  2.6e-4  2.6e-4  2.6e-4   (on carbon's 1s)
    of which the grid (PySCF without fitting) 1.2e-3  1.1e-5  1.2e-6  4e-8    1e-8
"""

import os
from pathlib import Path

import ase.io
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pyscf import gto
from pyscf.dft import RKS

from jaxphys import dft
from jaxphys.units import ATOMIC_DIPOLE_IN_DEBYE

FRAMES = [0, 500, 999]


@pytest.fixture(scope="module")
def hamiltonians():
    if "JAXPHYS_DATA" not in os.environ:
        pytest.skip("published data: JAXPHYS_DATA does not name the folder that holds hamiltonians/")
    folder = Path(os.environ["JAXPHYS_DATA"]) / "hamiltonians"
    assert folder.is_dir(), (
        f"JAXPHYS_DATA must name the folder that holds hamiltonians/, but {folder} is none"
    )
    return folder


@pytest.fixture(scope="module")
def ethane(hamiltonians):
    folder = hamiltonians / "ethane_b3lypg_sto3g"
    atoms = ase.io.read(folder / "coords.xyz", ":")
    numbers, positions = atoms[0].numbers, [np.round(frame.positions, 6) for frame in atoms]
    focks, overlaps = np.load(folder / "focks.npy"), np.load(folder / "ovlps.npy")
    return [(numbers, positions[i], focks[i], overlaps[i]) for i in FRAMES]


def pyscf_fock(numbers, positions, density, level, fitted):
    mole = gto.M(atom=list(zip(numbers.tolist(), positions, strict=True)), basis="sto-3g", verbose=0)
    method = RKS(mole, xc="b3lypg")
    method.grids.level = level
    method = method.density_fit() if fitted else method
    return method.get_fock(dm=np.array(density))


@pytest.mark.parametrize(("level", "grid_error"), [(1, 2e-5), (3, 2e-6), (5, 1e-7)])
def test_fock_matrices_of_ethane_but_for_density_fitting(ethane, level, grid_error):
    fock_of = jax.jit(dft.fock)
    for numbers, positions, published, overlap in ethane if level < 5 else ethane[:1]:
        system = dft.kohn_sham(numbers, positions, basis="sto-3g", xc="b3lypg", grid_level=level)
        np.testing.assert_allclose(system.overlap, overlap, atol=1e-12)
        density = dft.density(system, jnp.asarray(published))
        fock = fock_of(system, density)
        exact, fitted = (pyscf_fock(numbers, positions, density, level, fitted) for fitted in (False, True))
        np.testing.assert_allclose(fock - (fitted - exact), published, atol=grid_error)
        np.testing.assert_allclose(fock, published, atol=3e-4)
        assert np.mean(np.abs(fock - published)) < 5e-6


def test_densities_and_dipoles_of_water(hamiltonians):
    # Hartree–Fock; its Fock matrix has the same overlap, density and dipole integrals
    data = np.load(hamiltonians / "water_rhf_sto3g_frames0-499.npz")
    for i in (0, 250, 499):
        system = dft.kohn_sham(data["numbers"], data["R_angstrom"][i], basis="sto-3g", grid_level=0)
        density = dft.density(system, jnp.asarray(data["F_hartree"][i]))
        np.testing.assert_allclose(system.overlap, data["S"][i], atol=1e-10)
        np.testing.assert_allclose(density, data["D"][i], atol=1e-6)
        dipole = dft.dipole(system, jnp.asarray(data["D"][i])) * ATOMIC_DIPOLE_IN_DEBYE
        np.testing.assert_allclose(dipole, data["dipole"][i], atol=1e-6)
