"""Labels of xTB: forces against differences of energies, minima, the cache, and what is refused."""

import dataclasses
import sys

import numpy as np
import pytest

from jaxphys.data import Descent, embed, label_cache, xtb
from jaxphys.data.frames import Failure
from jaxphys.data.xtb import xtb_calculator, xtb_descents, xtb_energies, xtb_hessian, xtb_minima
from jaxphys.molecule import Molecule

WATER = Molecule(
    np.array([8, 1, 1]), np.array([[0.0, 0.02, 0.1], [0.0, 0.8, -0.45], [0.05, -0.75, -0.5]]), name="O"
)
HYDROXIDE = Molecule(np.array([8, 1]), np.array([[0.0, 0, 0], [0, 0, 1.0]]), charge=-1)


@pytest.mark.parametrize("molecule", [WATER, HYDROXIDE], ids=["neutral", "charged"])
def test_forces_are_the_negative_gradient_of_the_energy(molecule):
    step = 1e-3
    moved = [
        dataclasses.replace(molecule, positions=molecule.positions + sign * shift)
        for shift in step * np.eye(molecule.positions.size).reshape(-1, *molecule.positions.shape)
        for sign in (1, -1)
    ]
    energies = xtb_energies(moved).energy.reshape(-1, 2)
    forces = xtb_energies([molecule]).forces.ravel()
    np.testing.assert_allclose((energies[:, 1] - energies[:, 0]) / (2 * step), forces, atol=2e-3)
    assert np.abs(forces).max() > 0.1


def test_the_hessian_is_the_second_derivative_of_the_energy():
    hessian = xtb_hessian(WATER)
    np.testing.assert_array_equal(hessian, hessian.T)
    np.testing.assert_allclose(hessian @ np.tile(np.eye(3), (3, 1)), 0, atol=1e-2)
    direction = np.random.default_rng(0).normal(size=(3, 3))
    energies = xtb_energies(
        [dataclasses.replace(WATER, positions=WATER.positions + h * direction) for h in (-0.01, 0.0, 0.01)]
    ).energy
    curvature = (energies[0] - 2 * energies[1] + energies[2]) / 0.01**2
    np.testing.assert_allclose(direction.ravel() @ hessian @ direction.ravel(), curvature, rtol=5e-3)
    assert curvature > 10


def test_the_charge_counts():
    neutral = dataclasses.replace(WATER, charge=0)
    assert xtb_energies([dataclasses.replace(WATER, charge=2)]).energy > xtb_energies([neutral]).energy + 20


def test_a_minimum_is_that_of_the_published_geometry():
    """GFN2-xTB's water: 0.959 Å and 107.2°, close to experiment's 0.958 Å and 104.5°."""
    data, failures = xtb_minima([WATER])
    frame = data[0]
    assert not failures and frame.energy < xtb_energies([WATER]).energy[0]
    bonds = frame.positions[1:] - frame.positions[0]
    lengths = np.linalg.norm(bonds, axis=1)
    np.testing.assert_allclose(lengths, 0.959, atol=0.01)
    angle = np.degrees(np.arccos(bonds[0] @ bonds[1] / lengths.prod()))
    assert abs(angle - 106) < 3
    assert np.linalg.norm(frame.forces, axis=1).max() < 0.005
    assert (data.level, data.reference, frame.name) == ("GFN2-xTB", "valence", "O")


def test_a_molecule_is_computed_once(tmp_path, monkeypatch):
    first, _ = xtb_minima([WATER], cache=tmp_path)
    files = list(tmp_path.iterdir())
    assert len(files) == 1

    def fail(*arguments):
        raise AssertionError("computed anew")

    monkeypatch.setattr(xtb, "_minimum", fail)
    again, _ = xtb_minima([WATER, WATER], cache=tmp_path)
    assert again.energy.tolist() == [first.energy[0]] * 2
    np.testing.assert_array_equal(again[1].positions, first[0].positions)
    with pytest.raises(AssertionError, match="computed anew"):
        xtb_minima([WATER], cache=tmp_path, fmax=0.01)


def test_labels_of_earlier_caches_are_found():
    """Their names are hashes of what a label depends on, as they were given when GFN2-xTB stood alone."""
    assert label_cache._key(["energy", "GFN2-xTB"], WATER) == "2c7b53e4c117740b8182cc9ed058b849"
    descent = ["descent", "GFN2-xTB", 0.02, 500]
    assert label_cache._key(descent, WATER) == "38a20a87409c16a6abb2e09a453f8122"


def test_a_damaged_file_of_the_cache_is_written_anew(tmp_path):
    first = xtb_energies([WATER], cache=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert xtb_energies([WATER], cache=tmp_path).energy == first.energy
    with np.load(file) as arrays:
        assert float(arrays["energy"]) == first.energy[0]


def test_a_molecule_without_a_minimum_is_left_out_and_named():
    molecules = [WATER, embed("CO", seed=0)]
    data, failures = xtb_minima([xtb_minima(molecules[:1])[0][0].molecule, molecules[1]], max_steps=1)
    assert list(data.name) == ["O"]
    assert len(failures) == 1 and failures[0].index == 1 and "no minimum" in str(failures[0])
    with pytest.raises(ValueError, match="no label for any of 1 molecules"):
        xtb_minima(molecules[1:], max_steps=1)


def test_a_descent_is_an_energy_and_a_minimum_and_a_failure_costs_itself(tmp_path):
    data, _ = xtb_minima([WATER], cache=tmp_path)
    molecules = [embed("CO", seed=0), data[0].molecule, WATER]
    failed, *descents = xtb_descents(molecules, cache=tmp_path, max_steps=1)
    assert isinstance(failed, Failure) and failed.index == 0 and "no minimum" in failed.reason
    (descent,) = xtb_descents([WATER], cache=tmp_path)
    assert isinstance(descents[0], Descent) and isinstance(descents[1], Failure)
    np.testing.assert_allclose(descents[0].energy, data.energy[0])
    np.testing.assert_allclose(descent.start_energy, xtb_energies([WATER]).energy[0])
    np.testing.assert_array_equal(descent.positions, data[0].positions)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: xtb_energies([]), "no molecules"),
        (lambda: xtb_energies([dataclasses.replace(WATER, charge=1)]), "has 9 electrons"),
        (lambda: xtb_energies([WATER], method="PM7"), "method must be one of GFN2-xTB"),
        (lambda: xtb_energies([WATER], processes=0), "processes must be at least 1, got 0"),
        (lambda: xtb_descents([WATER], max_steps=0), "fmax and max_steps must be positive, got 0.005 and 0"),
        (lambda: xtb_minima([WATER], fmax=0.0), "fmax and max_steps must be positive, got 0.0"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_without_tblite_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tblite.ase", None)
    with pytest.raises(ModuleNotFoundError, match=r"jaxphys\[xtb\]"):
        xtb_calculator()
