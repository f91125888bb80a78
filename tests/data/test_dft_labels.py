"""Labels of density functional theory: against PySCF, by parabolas, the cache, and what is refused."""

import dataclasses

import jax
import numpy as np
import pytest
from pyscf import dft, gto

from jaxphys.data import Descent, Method, dft_descents, dft_energies, dft_labels, xtb_energies
from jaxphys.data.frames import Failure
from jaxphys.molecule import Molecule
from jaxphys.units import HARTREE_IN_EV

METHOD = Method("sto-3g", "b3lyp5", "weigend", 0)
STRETCHED = Molecule(np.array([9, 1]), np.array([[0.0, 0, 0], [0.02, 0.1, 1.05]]), name="F")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("dft")


@pytest.fixture(scope="module")
def labels(cache):
    """A stretched molecule, twice: its label and its descent, with JAX's 64-bit mode off in all threads."""
    jax.config.update("jax_enable_x64", False)
    try:
        energies = dft_energies([STRETCHED, STRETCHED], METHOD, cache=cache, processes=2)
        descents = dft_descents([STRETCHED, STRETCHED], METHOD, cache=cache, processes=2)
    finally:
        jax.config.update("jax_enable_x64", True)
    return energies, descents


def test_energy_is_that_of_pyscf(labels):
    mole = gto.M(atom=list(zip(("F", "H"), STRETCHED.positions, strict=True)), basis="sto-3g", verbose=0)
    field = dft.RKS(mole, xc="b3lyp5").density_fit(auxbasis="weigend")
    field.grids.level, field.conv_tol = 0, 1e-11
    np.testing.assert_allclose(labels[0].energy, [field.kernel() * HARTREE_IN_EV] * 2, atol=1e-6, rtol=0)
    assert (labels[0].level, labels[0].reference) == ("B3LYP5/sto-3g", "total")


def test_a_descent_ends_in_the_minimum(labels, cache):
    """Vertex of a parabola through three energies around the end, as far as fmax leaves it."""
    (descent, again), (frame, _) = labels[1], labels[0]
    assert descent.start_energy == frame.energy > descent.energy + 0.05
    np.testing.assert_array_equal(again.positions, descent.positions)
    axis = descent.positions[1] - descent.positions[0]
    length = np.linalg.norm(axis)
    steps = np.array([-0.02, 0.0, 0.02])
    moved = [
        dataclasses.replace(
            STRETCHED, positions=np.stack([np.zeros(3), axis * (1 + step / length)]), name=str(step)
        )
        for step in steps
    ]
    around = dft_energies(moved, METHOD, cache=cache)
    curvature, slope, _ = np.polyfit(steps, around.energy, 2)
    assert curvature > 10 and abs(slope) < 0.02 + 0.01
    # both atoms, along the bond
    forces = around.forces.reshape(3, 2, 3) @ axis / length
    np.testing.assert_allclose(forces.sum(axis=1), 0, atol=1e-3)
    np.testing.assert_allclose(forces[0, 1] - forces[2, 1], 4 * 0.02 * curvature, rtol=0.02)


def test_a_molecule_is_computed_once_and_levels_share_a_folder(labels, cache, monkeypatch):
    def fail(*arguments, **settings):
        raise AssertionError("computed anew")

    monkeypatch.setattr(dft_labels, "dft", fail)
    assert dft_energies([STRETCHED], METHOD, cache=cache).energy[0] == labels[0].energy[0]
    assert dft_descents([STRETCHED], METHOD, cache=cache)[0].energy == labels[1][0].energy
    for other in ({"xc": "pbe"}, {"basis": "6-31g"}, {"grid_level": 1}, {"auxbasis": None}):
        with pytest.raises(AssertionError, match="computed anew"):
            dft_energies([STRETCHED], dataclasses.replace(METHOD, **other), cache=cache)
    assert xtb_energies([STRETCHED], cache=cache).energy[0] > labels[0].energy[0] + 1000


def test_a_failure_costs_itself_alone(labels, cache):
    minimum = dataclasses.replace(STRETCHED, positions=labels[1][0].positions)
    failed, found = dft_descents([STRETCHED, minimum], METHOD, cache=cache, max_steps=1)
    assert isinstance(failed, Failure) and "no minimum to 0.02 eV/Å within 1 steps of B3LYP5" in str(failed)
    assert isinstance(found, Descent) and found.start_energy - found.energy < 1e-3


def test_an_scf_that_fails_is_named(labels, cache, monkeypatch):
    monkeypatch.setattr(dft_labels, "dft", lambda *args, **kwargs: lambda positions: positions.sum() * np.nan)
    moved = dataclasses.replace(STRETCHED, positions=STRETCHED.positions + 1.0)
    with pytest.raises(ValueError, match=r"fails for 1 of 2 molecules: frame 1 \(HF, 'F'\): .* not finite"):
        dft_energies([STRETCHED, moved], METHOD, cache=cache)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dft_energies([], METHOD), "no molecules"),
        (lambda: dft_energies([dataclasses.replace(STRETCHED, charge=1)], METHOD), "has 9 electrons"),
        (lambda: dft_energies([STRETCHED], Method("sto-3g", "b3lyq")), "b3lyq"),
        (lambda: dft_energies([STRETCHED], Method("sto-4x", "pbe")), "sto-4x"),
        (lambda: dft_energies([STRETCHED], METHOD, processes=0), "processes must be at least 1, got 0"),
        (lambda: dft_descents([STRETCHED], METHOD, fmax=0.0), "fmax and max_steps must be positive"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
