"""Self-consistency through the energy: value, what is detached, and what it costs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_differences import slope

from jaxphys import dft, losses

law = losses.variational_self_consistency
only_matrix = functools.partial(law, energy_weight=0.0, orbital_weight=0.0)
only_residuals = functools.partial(law, energy_weight=0.0)


def by_hand(system, fock, orbital_weight=0.3, virtuals=4):
    """Value of the law and its gradient without the energy's, with NumPy, from the definitions."""
    rebuilt = jax.jit(dft.fock)(system, jax.jit(dft.density)(system, fock))
    residual, n = np.asarray(fock - rebuilt), len(fock)
    norm = np.sqrt(np.mean(residual**2))
    kept = int(np.sum(system.occupation) / 2) + virtuals
    coefficients = np.asarray(jax.jit(dft.orbitals)(system, fock)[1])[:, :kept]
    between = coefficients.T @ residual @ coefficients
    orbital_norm = np.sqrt(np.mean(between**2))
    gradient = residual / (norm * n**2)
    gradient += orbital_weight * coefficients @ between @ coefficients.T / (orbital_norm * between.size)
    return norm + orbital_weight * orbital_norm, gradient


def test_value_and_detached_gradient_by_hand(molecules, batch, focks, mapped):
    values, gradients = mapped(only_residuals)(batch, focks)
    n = len(molecules[3].overlap)
    value, gradient = by_hand(molecules[3], focks[3][:n, :n])
    np.testing.assert_allclose(values[3], value, rtol=1e-9)
    np.testing.assert_allclose(gradients[3][:n, :n], gradient, atol=1e-10)


def test_the_energy_adds_its_gradient_and_no_value(batch, focks, directions, mapped):
    value, gradient = mapped(law)(batch, focks)
    residuals, base = mapped(only_residuals)(batch, focks)
    np.testing.assert_allclose(value, residuals, rtol=1e-12)
    energy = mapped(losses.ground_state_energy)
    expected = slope(lambda h: energy(batch, focks + h * directions)[0], 5e-5)
    np.testing.assert_allclose(jnp.sum((gradient - base) * directions, axis=(1, 2)), expected, rtol=1e-6)
    np.testing.assert_allclose(gradient - base, energy(batch, focks)[1], atol=1e-10)


def test_value_and_gradient_are_zero_at_an_exact_solution(helium):
    # one orbital: P = 2 / S whatever the prediction, so that F[P] is the solution to the last bit
    law_and_gradient = jax.jit(jax.value_and_grad(law, argnums=1))
    occupied = jax.jit(dft.occupied_orbitals)(helium, jnp.array([[-0.3]]))
    fock = jax.jit(dft.energy_and_fock_of_orbitals)(helium, occupied)[1]
    value, gradient = law_and_gradient(helium, fock)
    assert value == 0.0 and np.all(gradient == 0.0)
    value, gradient = law_and_gradient(helium, fock + 0.01)
    np.testing.assert_allclose(value, 0.01 * 1.3, rtol=1e-12)
    np.testing.assert_allclose(gradient, [[1.3]], rtol=1e-12)


def test_value_and_energy_gradient_vanish_at_a_solution(batch, solutions, mapped):
    values, gradients = mapped(law)(batch, solutions.fock)
    _, base = mapped(only_residuals)(batch, solutions.fock)
    assert np.max(values) < 1e-9
    assert np.max(np.abs(gradients - base)) < 1e-8


@pytest.mark.parametrize("shift", [0.1, -0.02])
def test_shifted_levels_in_closed_form(hydrogen, shift):
    # c S added to a solution leaves density and energy; between orbitals this residual is c times the unit
    solution = jax.jit(dft.fock)(hydrogen, 2 * jnp.ones((2, 2)) / jnp.sum(hydrogen.overlap))
    fock = solution + shift * hydrogen.overlap
    root = np.sqrt(np.mean(hydrogen.overlap**2))
    np.testing.assert_allclose(jax.jit(only_matrix)(hydrogen, fock), abs(shift) * root, rtol=1e-10)
    value, gradient = jax.jit(jax.value_and_grad(law, argnums=1))(hydrogen, fock)
    np.testing.assert_allclose(value, abs(shift) * (root + 0.3 * np.sqrt(0.5)), rtol=1e-10)
    inverse = np.linalg.inv(hydrogen.overlap)
    expected = np.sign(shift) * (hydrogen.overlap / (4 * root) + 0.3 * inverse / (4 * np.sqrt(0.5)))
    np.testing.assert_allclose(gradient, expected, atol=1e-9)


def test_padding_is_inert(assert_inert):
    # not benzene: its gradient depends on which of two degenerate orbitals comes first, where `virtuals` cuts
    assert_inert(law)


def test_a_step_costs_one_fock_build(molecules, focks):
    def operations(function):
        n = len(molecules[3].overlap)
        return jax.jit(function).lower(molecules[3], focks[3][:n, :n]).compile().cost_analysis()["flops"]

    build = operations(dft.energy_and_fock)
    assert operations(jax.grad(law, argnums=1)) < 1.1 * build
    assert operations(jax.grad(losses.ground_state_energy, argnums=1)) < 1.1 * build
    assert operations(jax.grad(losses.self_consistency, argnums=1)) > 2 * build
