"""rMD17 in both its forms, and its splits."""

import numpy as np
import pytest

from jaxphys.data import read_rmd17

NUMBERS = np.array([8, 1, 1], dtype=np.uint8)
WATER = np.array([[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]])
COORDS = WATER + 0.02 * np.random.default_rng(0).standard_normal((10, 3, 3))
FORCES = np.random.default_rng(1).standard_normal((10, 3, 3))
ENERGIES = -47940.0 - np.arange(10.0)  # kcal/mol, about -2079 eV


@pytest.fixture
def archive(tmp_path):
    """As the archive unpacks: npz_data/ beside splits/."""
    for folder in ("npz_data", "splits"):
        (tmp_path / folder).mkdir()
    (tmp_path / "splits" / "index_train_02.csv").write_text("7\n0\n3\n")
    path = tmp_path / "npz_data" / "rmd17_water.npz"
    write(path)
    return path


def write(path, **changes):
    arrays = {"nuclear_charges": NUMBERS, "coords": COORDS, "energies": ENERGIES, "forces": 10 * FORCES}
    arrays |= {"old_indices": np.arange(10), "old_energies": ENERGIES, "old_forces": FORCES}
    np.savez(path, **(arrays | changes))


def test_units_of_the_archive(archive):
    data = read_rmd17(archive)
    assert len(data) == 10 and data.level == "PBE/def2-SVP" and data.reference == "total"
    assert data[3].energy == pytest.approx(-47943.0 / 23.06054783, rel=1e-8)
    np.testing.assert_allclose(data[3].forces, 10 * FORCES[3] / 23.06054783, rtol=1e-8)
    np.testing.assert_array_equal(data[3].positions, COORDS[3])
    assert set(data.name) == {"water"}


def test_the_split_keeps_its_order(archive, tmp_path):
    data = read_rmd17(archive, subset="train", split=2)
    np.testing.assert_array_equal(data.positions, COORDS[[7, 0, 3]].reshape(-1, 3))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "index_test_01.csv").write_text("9\n")
    other = read_rmd17(archive, subset="test", splits=tmp_path / "elsewhere")
    np.testing.assert_array_equal(other.positions, COORDS[9])


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("10\n", "index 10 of a file of 10"),
        ("2\n3\n2\n", "index 2 stands there 2 times"),
        ("a\n", "one whole"),
    ],
)
def test_a_bad_index(archive, index, message):
    (archive.parent.parent / "splits" / "index_train_02.csv").write_text(index)
    with pytest.raises(ValueError, match=message):
        read_rmd17(archive, subset="train", split=2)


def test_a_missing_index(archive):
    with pytest.raises(
        FileNotFoundError, match=r"index_test_05.csv: no such file; name the archive's folder"
    ):
        read_rmd17(archive, subset="test", split=5)


def test_a_file_cut_to_a_split(tmp_path):
    path = tmp_path / "rmd17_water_split01.npz"
    arrays = {"z": NUMBERS}
    for kind, part in (("train", slice(0, 4)), ("test", slice(4, 10))):
        arrays |= {f"R_{kind}": COORDS[part], f"E_{kind}": -2079.0 + np.arange(10.0)[part]}
        arrays |= {f"F_{kind}": FORCES[part]}
    np.savez(path, **arrays)
    data = read_rmd17(path)
    np.testing.assert_array_equal(data.energy, -2079.0 + np.arange(10.0))
    assert data.group.tolist() == 4 * ["train"] + 6 * ["test"] and data.name[0] == "water"
    test = read_rmd17(path, subset="test")
    np.testing.assert_array_equal(test.forces, FORCES[4:].reshape(-1, 3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coords": COORDS[:, :2]}, r"positions of 10 energies and 3 atoms must have shape \(10, 3, 3\)"),
        ({"energies": ENERGIES / 23.06}, "10 of 10 energies are out of range"),
        ({"forces": 1000 * FORCES}, "they look like kcal/mol/Å"),
        ({"forces": np.where(np.arange(10)[:, None, None] == 4, np.nan, FORCES)}, "frame 4: forces must be"),
    ],
)
def test_errors(archive, changes, message):
    write(archive, **changes)
    with pytest.raises(ValueError, match=message):
        read_rmd17(archive)


def test_other_arrays(tmp_path):
    np.savez(tmp_path / "some.npz", R=COORDS)
    with pytest.raises(ValueError, match="no nuclear_charges, coords, energies, forces; there are R"):
        read_rmd17(tmp_path / "some.npz")
    (tmp_path / "some.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match="not an npz file, or truncated"):
        read_rmd17(tmp_path / "some.npz")
