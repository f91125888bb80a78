"""The energy as a function of the density, its derivative the Fock matrix, and derivatives of both."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_differences import slope
from molecules import AMMONIA, HYDROGEN, METHANOL

from jaxphys import dft
from jaxphys.dft.functionals import FUNCTIONALS


def direction(seed, n):
    matrix = np.random.default_rng(seed).normal(size=(n, n))
    return jnp.asarray(matrix + matrix.T) / n


@pytest.mark.parametrize("xc", FUNCTIONALS)
def test_fock_matrix_is_the_derivative_of_the_energy_and_has_one_itself(small, xc):
    system = small(METHANOL, xc=xc)
    density, n = jnp.asarray(system.guess_density), len(system.overlap)
    step, weights = direction(0, n), direction(1, n)

    @jax.jit
    def all_derivatives(density):
        energy, fock = dft.energy_and_fock(system, density)
        by_autodiff = jax.grad(lambda density: dft.energy(system, density))(density)
        of_fock = jax.grad(lambda density: jnp.sum(weights * dft.fock(system, density)))(density)
        return energy, fock, by_autodiff, of_fock

    value = jax.jit(lambda h: dft.energy_and_fock(system, density + h * step))
    _, fock, by_autodiff, of_fock = all_derivatives(density)
    np.testing.assert_allclose(fock, fock.T, atol=1e-13)
    np.testing.assert_allclose(by_autodiff, fock, atol=1e-10)
    np.testing.assert_allclose(jnp.sum(fock * step), slope(lambda h: value(h)[0], 1e-3), rtol=1e-8)
    expected = slope(lambda h: jnp.sum(weights * value(h)[1]), 1e-3)
    np.testing.assert_allclose(jnp.sum(of_fock * step), expected, rtol=1e-7)


def test_derivatives_by_the_orbitals_on_the_grid(small):
    # what a basis that moves would need; the two maps between matrix and grid have hand-written transposes
    system = small(HYDROGEN, xc="pbe")
    density, values = jnp.asarray(system.guess_density), jnp.asarray(system.orbital_values)
    noise = jnp.asarray(np.random.default_rng(2).normal(size=values.shape)) * jnp.abs(values)

    @jax.jit
    def function(values):
        energy, fock = dft.energy_and_fock(dataclasses.replace(system, orbital_values=values), density)
        return energy + fock[0, 1]

    expected = slope(lambda h: function(values + h * noise), 1e-4)
    np.testing.assert_allclose(jnp.sum(jax.grad(function)(values) * noise), expected, rtol=1e-7)


def test_single_precision_densities_are_computed_in_double(small):
    system = small(HYDROGEN)
    single = jnp.asarray(system.guess_density, jnp.float32)
    function = jax.jit(jax.value_and_grad(lambda density: dft.energy_and_fock(system, density), has_aux=True))
    (energy, fock), gradient = function(single)
    assert energy.dtype == fock.dtype == jnp.float64 and gradient.dtype == jnp.float32
    np.testing.assert_array_equal(fock, jax.jit(dft.fock)(system, single.astype(jnp.float64)))
    np.testing.assert_allclose(gradient, fock, rtol=1e-5)


def test_only_the_symmetric_part_of_a_density_counts(small):
    system = small(HYDROGEN)
    skew = jnp.array([[0.0, 0.3], [-0.3, 0.0]])
    function = jax.jit(dft.energy_and_fock)
    expected = function(system, jnp.asarray(system.guess_density))
    jax.tree.map(np.testing.assert_array_equal, function(system, system.guess_density + skew), expected)


def test_energy_without_electrons_is_that_of_the_nuclei(small):
    system = small(AMMONIA, xc="b3lyp5")
    energy, fock = jax.jit(dft.energy_and_fock)(system, jnp.zeros_like(system.overlap))
    assert energy == system.nuclear_repulsion
    np.testing.assert_array_equal(fock, system.core)


def test_gradients_of_the_orbitals_are_only_stored_where_they_are_needed(small):
    assert small(HYDROGEN, xc="svwn").orbital_values.shape[1] == 1
    assert small(HYDROGEN, xc="pbe").orbital_values.shape[1] == 4
    assert small(HYDROGEN, xc="pbe").exchange_fitting.shape == (2, 0, 2)
    assert small(HYDROGEN, xc="b3lyp5").exchange_fitting.shape[1] == len(small(HYDROGEN).fitting)
