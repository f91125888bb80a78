"""The energy of a predicted Fock matrix's density."""

import jax.numpy as jnp
import numpy as np

from jaxphys import dft, losses


def energy_of(system, fock):
    return dft.energy(system, dft.density(system, fock))


def test_value_and_gradient_are_those_of_the_energy_of_the_density(batch, focks, mapped):
    value, gradient = mapped(losses.ground_state_energy)(batch, focks)
    energy, derivative = mapped(energy_of)(batch, focks)
    np.testing.assert_allclose(value, energy, rtol=1e-13)
    np.testing.assert_allclose(gradient, derivative, atol=1e-10)


def test_gradient_agrees_with_finite_differences(batch, derivatives):
    ours, differences = derivatives(batch, losses.ground_state_energy, energy_of)
    np.testing.assert_allclose(ours, differences, rtol=1e-6)


def test_solution_is_a_minimum(batch, solutions, directions, mapped):
    law = mapped(losses.ground_state_energy)
    least, gradients = law(batch, solutions.fock)
    np.testing.assert_allclose(least, solutions.energy, rtol=1e-13)
    assert np.max(np.abs(gradients)) < 1e-8
    for step in (-0.02, 0.02):
        assert np.all(law(batch, solutions.fock + step * directions)[0] > least + 1e-5)


def test_shifted_levels_leave_energy_and_gradient(batch, focks, mapped):
    law = mapped(losses.ground_state_energy)
    value, gradient = law(batch, focks)
    shifted, same_gradient = law(batch, focks + 0.7 * batch.overlap)
    np.testing.assert_allclose(shifted, value, rtol=1e-13)
    np.testing.assert_allclose(same_gradient, gradient, atol=1e-10)
    np.testing.assert_allclose(jnp.sum(gradient * batch.overlap, axis=(1, 2)), 0.0, atol=1e-10)


def test_padding_is_inert(assert_inert):
    assert_inert(losses.ground_state_energy)
