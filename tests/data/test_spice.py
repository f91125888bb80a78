"""SPICE's HDF5 layout: units, charges, subsets, and what is missing or damaged."""

import h5py
import numpy as np
import pytest

from jaxphys.data import read_spice, subtract_atomic_energies
from jaxphys.units import HARTREE_IN_EV

WATER = np.array([[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]]) / 0.52917721092
SMILES = "[H:2][O:1][H:3]"
# Ha; the formation energy is that above O and two H at this level.
TOTAL, FORMATION = np.array([-76.44, -76.43]), np.array([-0.32930063, -0.31930063])
GRADIENT = np.array(
    [[[0, 0, 0.01], [0, 0.02, 0], [0, -0.02, -0.01]], [[0.03, 0, 0], [0, 0, 0], [-0.03, 0, 0]]]
)


def write_group(file, key="water", smiles=SMILES, subset="Water Clusters", numbers=(8, 1, 1), **changes):
    arrays = {"conformations": (np.stack([WATER, 1.02 * WATER]), np.float32, "bohr")}
    arrays["dft_total_energy"] = TOTAL, np.float64, "hartree"
    arrays["formation_energy"] = FORMATION, np.float64, "hartree"
    arrays["dft_total_gradient"] = GRADIENT, np.float32, "hartree/bohr"
    group = file.create_group(key)
    group.create_dataset("smiles", data=[smiles], dtype=h5py.string_dtype())
    group.create_dataset("subset", data=[subset], dtype=h5py.string_dtype())
    group.create_dataset("atomic_numbers", data=numbers, dtype=np.int16)
    for name, (array, kind, unit) in (arrays | changes).items():
        if array is not None:
            group.create_dataset(name, data=array, dtype=kind).attrs["units"] = unit
    group.create_dataset("scf_dipole", data=np.zeros((2, 3)))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "SPICE.hdf5"
    with h5py.File(path, "w") as file:
        write_group(file)
        write_group(
            file,
            "hydroxide",
            "[O-:1][H:2]",
            "Ions",
            [8, 1],
            conformations=([WATER[:2]], np.float32, "bohr"),
            dft_total_energy=([-75.8], np.float64, "hartree"),
            formation_energy=([-0.2], np.float64, "hartree"),
            dft_total_gradient=([np.zeros((2, 3))], np.float32, "hartree/bohr"),
        )
    return path


def test_units_by_hand(path):
    ion, first, second = data = read_spice(path)
    assert second.energy == pytest.approx(-2079.7662336, abs=1e-6)  # -76.43 of 27.21138602 eV
    np.testing.assert_allclose(first.positions, 0.52917721092 * WATER, rtol=1e-6)
    assert first.positions[1, 1] == pytest.approx(0.76)
    assert first.forces[1, 1] == pytest.approx(-0.02 * 51.42206707, rel=1e-6)  # eV/Å in a Ha/Bohr
    assert second.forces[2, 0] == pytest.approx(0.03 * 51.42206707, rel=1e-6)
    assert (ion.charge, first.charge, ion.group, first.name) == (-1, 0, "Ions", SMILES)
    assert data.reference == "total" and data.numbers.tolist() == [8, 1, 8, 1, 1, 8, 1, 1]


def test_formation_energies_are_totals_above_the_atoms(path):
    water = read_spice(path, subsets=["Water Clusters"])
    formation = read_spice(path, reference="formation", subsets=["Water Clusters"])
    assert formation.reference == "formation" and len(formation) == 2
    np.testing.assert_allclose(formation.energy, HARTREE_IN_EV * FORMATION, rtol=1e-12)
    np.testing.assert_allclose(subtract_atomic_energies(water).energy, formation.energy, atol=1e-6)


def test_subsets(path):
    assert set(read_spice(path, subsets=["Ions"]).group) == {"Ions"}
    with pytest.raises(ValueError, match="no subset 'Dipeptides'; there are Ions, Water Clusters"):
        read_spice(path, subsets=["Ions", "Dipeptides"])


def test_files_without_the_gradient(tmp_path):
    with h5py.File(tmp_path / "some.hdf5", "w") as file:
        write_group(file, dft_total_gradient=(None, None, None))
    with pytest.raises(ValueError, match="'water': no dft_total_gradient; there are atomic_numbers"):
        read_spice(tmp_path / "some.hdf5")
    assert read_spice(tmp_path / "some.hdf5", forces=False).forces is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dft_total_energy": (None, None, None)}, "'bad': no dft_total_energy; there are atomic_numbers"),
        (
            {"conformations": ([WATER] * 2, float, "angstrom")},
            "conformations is in 'angstrom', expected 'bohr'",
        ),
        ({"conformations": ([WATER] * 3, float, "bohr")}, r"'bad': positions of 2 energies and 3 atoms"),
        ({"conformations": ([0 * WATER] * 2, float, "bohr")}, "atoms 0 and 1 are 0 Å apart"),
        ({"dft_total_energy": ([-76.4, np.nan], float, "hartree")}, "frame 1: the energy is nan"),
        ({"dft_total_energy": ([-2079, -2079], float, "hartree")}, "energies are out of range"),
        ({"smiles": "[H:2"}, r"'bad': cannot read the SMILES '\[H:2'"),
        ({"numbers": (8, 1, 0)}, "frame 0: atom 2 has atomic number 0"),
    ],
)
def test_errors(tmp_path, changes, message):
    with h5py.File(tmp_path / "some.hdf5", "w") as file:
        write_group(file, key="bad", **changes)
    with pytest.raises(ValueError, match=message):
        read_spice(tmp_path / "some.hdf5")


def test_bad_conformations_are_left_out_on_request(tmp_path, caplog):
    with h5py.File(tmp_path / "some.hdf5", "w") as file:
        write_group(file, dft_total_energy=([-76.4, np.nan], float, "hartree"))
    data = read_spice(tmp_path / "some.hdf5", drop_invalid=True)
    assert len(data) == 1 and "1 of 2 frames left out" in caplog.text


def test_damaged_files(path, tmp_path):
    content = path.read_bytes()
    for size in (0, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"SPICE\.hdf5: not an HDF5 file, truncated or damaged"):
            read_spice(path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_spice(tmp_path / "other.hdf5")
    with h5py.File(path, "w"):
        pass
    with pytest.raises(ValueError, match="empty; it should hold at least one molecule"):
        read_spice(path)
