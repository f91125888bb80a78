"""Density functional theory as an energy function, and through ASE."""

import jax
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.optimize import BFGS
from finite_differences import slope
from molecules import HELONIUM, WATER

from jaxphys import energies
from jaxphys.units import HARTREE_IN_EV

NUMBERS, POSITIONS, _ = WATER
COARSE = {"basis": "sto-3g", "auxbasis": "weigend", "grid_level": 0}


@pytest.mark.parametrize(("xc", "spin", "count"), [("b3lyp5", None, 3), ("pbe", 1, 2)])
def test_gradient_is_the_derivative_of_the_energy(xc, spin, count):
    energy = energies.dft(NUMBERS[:count], xc=xc, spin=spin, integrals="libcint", **COARSE)
    positions, direction = POSITIONS[:count], np.random.default_rng(0).normal(size=(count, 3))
    gradient = jax.grad(energy)(positions)
    np.testing.assert_allclose(gradient.sum(axis=0), 0.0, atol=1e-9)
    expected = slope(lambda h: np.asarray(energy(positions + h * direction)), 3e-3)
    np.testing.assert_allclose(np.sum(gradient * direction), expected, rtol=1e-6)


@pytest.mark.slow  # tests/dft/test_assembly.py has the parts
def test_integrals_in_jax_give_the_same_energy_and_forces_under_jit():
    numbers, positions, charge = HELONIUM
    host, traced = (
        energies.dft(numbers, charge=charge, xc="pbe", integrals=integrals, **COARSE)
        for integrals in ("libcint", "jax")
    )
    energy, gradient = jax.value_and_grad(host)(positions)
    again, other = jax.jit(jax.value_and_grad(traced))(positions)
    np.testing.assert_allclose(again, energy, atol=1e-8 * HARTREE_IN_EV)
    np.testing.assert_allclose(other, gradient, atol=1e-6)


def test_ase_finds_the_minimum():
    atoms = Atoms(NUMBERS, POSITIONS)
    atoms.rattle(0.05, seed=1)
    atoms.calc = energies.EnergyCalculator(energies.dft(NUMBERS, xc="pbe", integrals="libcint", **COARSE))
    before = atoms.get_potential_energy()
    assert BFGS(atoms, logfile=None).run(fmax=0.01, steps=30)
    assert atoms.get_potential_energy() < before
    assert atoms.get_distance(0, 1) == pytest.approx(atoms.get_distance(0, 2), abs=2e-3)


def test_what_is_not_finite_fails_by_name():
    atoms = Atoms(NUMBERS, POSITIONS)
    atoms.calc = energies.EnergyCalculator(lambda positions: positions.sum() * np.nan)
    with pytest.raises(CalculationFailed, match="the energy function gave nan eV for H2O: not finite"):
        atoms.get_potential_energy()


def test_the_host_cannot_be_traced():
    energy = energies.dft(NUMBERS, xc="pbe", integrals="libcint", **COARSE)
    with pytest.raises(TypeError, match="runs on the host: call it outside of jit and vmap, or take 'jax'"):
        jax.jit(energy)(POSITIONS)


def test_unknown_integrals():
    with pytest.raises(ValueError, match="integrals must be 'auto', 'jax' or 'libcint', got 'pyscf'"):
        energies.dft(NUMBERS, integrals="pyscf")
