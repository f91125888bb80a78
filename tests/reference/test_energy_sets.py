"""Published energy sets, where the variable JAXPHYS_DATA names the folder that holds them.

It has rmd17/, 3bpa/, qm7/ and qm9_sample/; the numbers beside are read from the files by eye or published.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from jaxphys.data import (
    fit_atomic_energies,
    read_extxyz,
    read_isolated_atoms,
    read_qm7,
    read_qm9,
    read_rmd17,
    restore_atomic_energies,
    subtract_atomic_energies,
)
from jaxphys.units import HARTREE_IN_EV, KCAL_PER_MOL_IN_EV


@pytest.fixture(scope="module")
def folder():
    if "JAXPHYS_DATA" not in os.environ:
        pytest.skip(
            "published data: JAXPHYS_DATA does not name the folder that holds rmd17/, 3bpa/ and others"
        )
    return Path(os.environ["JAXPHYS_DATA"])


@pytest.mark.parametrize(
    ("molecule", "n_atoms", "first"),
    [("ethanol", 9, -4209.78345522), ("malonaldehyde", 9, -7255.11287767), ("uracil", 12, -11266.68156797),
     ("aspirin", 21, -17617.69533154)],
)  # fmt: skip
def test_rmd17(folder, molecule, n_atoms, first):
    data = read_rmd17(folder / "rmd17" / f"rmd17_{molecule}_split01.npz")
    assert len(data) == 2000 and (data.n_atoms == n_atoms).all()
    assert data.energy[0] == pytest.approx(first, abs=1e-8)
    net = np.add.reduceat(data.forces, data.offsets[:-1])
    np.testing.assert_allclose(net, 0.0, atol=0.02)  # eV/Å: forces on a molecule cancel
    less = subtract_atomic_energies(data, fit_atomic_energies(data))
    assert abs(less.energy.mean()) < 1e-9 and less.energy.std() < 0.5
    np.testing.assert_array_equal(restore_atomic_energies(less).energy, data.energy)


def test_3bpa(folder):
    atoms = read_isolated_atoms(folder / "3bpa" / "iso_atoms.xyz")
    assert atoms == {
        1: -13.587222780835477,
        6: -1029.4889999855063,
        7: -1484.9814568572233,
        8: -2041.9816003861047,
    }
    level = {"level": "ωB97X/6-31G(d)", "atomic_energies": atoms}
    cold = read_extxyz(folder / "3bpa" / "train_300K.xyz", **level)
    mixed = read_extxyz(folder / "3bpa" / "train_mixedT.xyz", **level)
    for data in (cold, mixed):
        assert len(data) == 500 and (data.n_atoms == 27).all() and not data.pbc.any()
        # C11 N2 O1 H13: about 4.9 eV an atom.
        assert np.all(np.abs(subtract_atomic_energies(data).energy / 27 + 4.8) < 0.2)
    np.testing.assert_array_equal(cold.forces[0], [0.17092934, 0.13274200, 0.79555789])
    assert cold.energy[0] == -17660.461737861464
    assert mixed.energy.mean() > cold.energy.mean()


def test_qm7(folder):
    data = read_qm7(folder / "qm7" / "qm7_7101.npz")
    assert len(data) == 7101 and data.elements == (1, 6, 7, 8, 16) and data.n_atoms.max() == 23
    assert data.energy[0] == pytest.approx(-417.031 * KCAL_PER_MOL_IN_EV)
    baseline = read_qm7(folder / "qm7" / "qm7_7101.npz", method="dftb")
    assert 0.97 < np.corrcoef(data.energy, baseline.energy)[0, 1] < 1.0


def test_qm9(folder):
    """Both forms, and U0 of atomisation in kcal/mol of the first three, u0_atom of gdb9.sdf.csv."""
    sample = folder / "qm9_sample"
    data = read_qm9(sample / "qm9_first100.xyz")
    assert len(data) == 100
    np.testing.assert_allclose(data.energy[0], -40.523679 * HARTREE_IN_EV, rtol=1e-12)
    less = subtract_atomic_energies(read_qm9(sample / "qm9_first100.xyz", energy="U0"))
    published = [-395.999595, -276.861363, -213.087624]
    np.testing.assert_allclose(less.energy[:3] / KCAL_PER_MOL_IN_EV, published, atol=2e-3)
    database = read_qm9(sample / "qm9_first20_ase.db")
    np.testing.assert_allclose(database.energy, data.energy[:20], rtol=1e-12)
    np.testing.assert_array_equal(database.numbers, data[:20].numbers)
