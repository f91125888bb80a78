"""Transition1x's HDF5 layout: a reaction, its ends and its path; splits are links."""

import h5py
import numpy as np
import pytest

from jaxphys.data import read_transition1x, subtract_atomic_energies

NUMBERS = np.array([6, 7, 1])
START, END = (
    np.array([[0, 0, 0], [1.15, 0, 0], [-1.07, 0, 0]]),
    np.array([[0, 0, 0], [1.17, 0, 0], [2.17, 0, 0]]),
)
SADDLE = np.array([[0, 0, 0], [1.19, 0, 0], [0.5, 1.1, 0]])
ENERGY, FORCES = "wB97x_6-31G(d).energy", "wB97x_6-31G(d).forces"
PATH_ENERGIES = np.array([-2540.6, -2539.0, -2538.5, -2539.9])


def write_frames(group, positions, energies):
    group["atomic_numbers"] = NUMBERS
    group["positions"] = np.array(positions)
    group[ENERGY] = np.array(energies)
    group[FORCES] = np.tile(np.array(energies)[:, None, None] + 2540.0, (1, 3, 3))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "transition1x.h5"
    with h5py.File(path, "w") as file:
        for reaction in ("rxn0001", "rxn0002"):
            group = file.create_group(f"data/CHN/{reaction}")
            write_frames(group.create_group("reactant"), [START], [-2541.0])
            write_frames(group.create_group("product"), [END], [-2540.4])
            write_frames(group.create_group("transition_state"), [SADDLE], [-2538.5])
            way = [START + 0.01, 0.5 * (START + SADDLE), SADDLE, 0.5 * (SADDLE + END)]
            write_frames(group, way, PATH_ENERGIES)
        for split, reaction in (("train", "rxn0001"), ("val", "rxn0002")):
            file.create_group(f"{split}/CHN")[reaction] = h5py.SoftLink(f"/data/CHN/{reaction}")
        file.create_group("test")
    return path


def test_frames_of_a_split_in_the_order_of_the_loader(path):
    data = read_transition1x(path, split="train")
    assert data.name.tolist() == ["reactant", "product"] + 4 * ["path"]
    assert set(data.group) == {"CHN/rxn0001"}
    np.testing.assert_array_equal(data.energy, [-2541.0, -2540.4, *PATH_ENERGIES])
    np.testing.assert_array_equal(data[4].positions, SADDLE)
    np.testing.assert_array_equal(data[3].forces, np.full((3, 3), 1.0))
    everything = read_transition1x(path)
    assert len(everything) == 12 and everything[6].group == "CHN/rxn0002"


def test_endpoints(path):
    data = read_transition1x(path, split="val", endpoints_only=True)
    assert data.name.tolist() == ["reactant", "transition_state", "product"]
    np.testing.assert_array_equal(data.energy, [-2541.0, -2538.5, -2540.4])


def test_energies_of_atomisation_by_hand(path):
    """-2541.0 + 1029.4130839658328 + 1484.8710358098756 + 13.62222753701504 eV."""
    less = subtract_atomic_energies(read_transition1x(path, split="train"))
    assert less.energy[0] == pytest.approx(-13.0936526872766, abs=1e-9)


def change(path, key, value):
    with h5py.File(path, "a") as file:
        del file[key]
        if value is not None:
            file[key] = value


RXN = "data/CHN/rxn0001"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("val", None, "no val; there are data, test, train"),
        (RXN, None, "damaged .*"),
        (f"{RXN}/product", None, "CHN/rxn0001: no product; there are"),
        (f"{RXN}/{FORCES}", None, r"CHN/rxn0001: no wB97x_6-31G\(d\).forces"),
        (f"{RXN}/positions", np.zeros((3, 3, 3)), "CHN/rxn0001: positions of 4 energies and 3 atoms"),
        (f"{RXN}/{ENERGY}", np.array([-2540.0, np.nan, -2540, -2540]), "frame 3: the energy is nan"),
        (f"{RXN}/{ENERGY}", np.full(4, -93.4), "they look like total energies in Ha"),
        (f"{RXN}/reactant/atomic_numbers", np.array([6, 7, 200]), "frame 0: atom 2 has atomic number 200"),
    ],
)
def test_errors(path, key, value, message):
    change(path, key, value)
    with pytest.raises(ValueError, match=message):
        read_transition1x(path, split="val" if key == "val" else "train")


def test_empty_and_damaged(path):
    with pytest.raises(ValueError, match="split 'test' is empty"):
        read_transition1x(path, split="test")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match="not an HDF5 file, truncated or damaged"):
        read_transition1x(path)
