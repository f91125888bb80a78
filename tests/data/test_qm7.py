"""QM7's npz file: padding, units, and what does not fit."""

import numpy as np
import pytest

from jaxphys.data import read_qm7

METHANE = [[0, 0, 0], [0.63, 0.63, 0.63], [0.63, -0.63, -0.63], [-0.63, 0.63, -0.63], [-0.63, -0.63, 0.63]]
WATER = [[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]]


@pytest.fixture
def arrays():
    positions = np.zeros((2, 23, 3), dtype=np.float32)
    numbers = np.zeros((2, 23), dtype=np.int8)
    positions[0, :5], positions[1, :3] = METHANE, WATER
    numbers[0, :5], numbers[1, :3] = [6, 1, 1, 1, 1], [8, 1, 1]
    return {
        "Z": numbers,
        "R_angstrom": positions,
        "natoms": np.array([5, 3]),
        "E_pbe0_kcal": np.array([-417.031, -231.0]),
        "E_dftb_kcal": np.array([-431.787, -240.0]),
        "fname": np.array(["0001.xyz", "0003.xyz"]),
    }


def read(tmp_path, arrays, **options):
    np.savez(tmp_path / "qm7.npz", **arrays)
    return read_qm7(tmp_path / "qm7.npz", **options)


def test_molecules_and_energies(tmp_path, arrays):
    methane, water = data = read(tmp_path, arrays)
    assert data.reference == "atomisation" and data.level == "PBE0/def2-TZVP"
    assert methane.energy == pytest.approx(-18.084176, abs=1e-6)  # 417.031 / 23.0605
    np.testing.assert_array_equal(water.numbers, [8, 1, 1])
    np.testing.assert_allclose(water.positions, WATER, atol=1e-7)
    assert water.group == "0003.xyz" and water.forces is None
    baseline = read(tmp_path, arrays, method="dftb")
    assert baseline.level == "DFTB" and baseline.energy[0] == pytest.approx(-431.787 / 23.0605, rel=1e-5)


def test_errors(tmp_path, arrays):
    with pytest.raises(ValueError, match="frame 1: natoms says 4, Z has 3"):
        read(tmp_path, arrays | {"natoms": np.array([5, 4])})
    with pytest.raises(ValueError, match="frame 1: the energy is nan"):
        read(tmp_path, arrays | {"E_pbe0_kcal": np.array([-417.0, np.nan])})
    with pytest.raises(ValueError, match="another sign"):
        read(tmp_path, arrays | {"E_pbe0_kcal": -arrays["E_pbe0_kcal"]})
    del arrays["E_pbe0_kcal"]
    with pytest.raises(ValueError, match="no E_pbe0_kcal; there are Z, R_angstrom"):
        read(tmp_path, arrays)
    empty = {key: array[:0] for key, array in arrays.items()}
    with pytest.raises(ValueError, match="empty; it should hold at least one molecule"):
        read(tmp_path, empty, method="dftb")


@pytest.mark.parametrize("size", [0, 10, 1000, -10])
def test_truncated(tmp_path, arrays, size):
    read(tmp_path, arrays)
    path = tmp_path / "qm7.npz"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"qm7\.npz: not an npz file, or truncated"):
        read_qm7(path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_qm7(tmp_path / "qm8.npz")
