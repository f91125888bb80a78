"""The residual of the Kohn–Sham equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from molecules import AMMONIA, BENZENE, METHANE, METHANOL

from jaxphys import dft, losses


@pytest.fixture(scope="module")
def hybrid(small):
    return dft.stack([small(molecule, "b3lyp5") for molecule in (METHANE, AMMONIA, BENZENE, METHANOL)])


@pytest.mark.parametrize("functional", ["batch", "hybrid"])
def test_gradient_agrees_with_finite_differences(request, derivatives, functional):
    ours, differences = derivatives(request.getfixturevalue(functional), losses.self_consistency)
    np.testing.assert_allclose(ours, differences, rtol=1e-7)


def test_value_is_the_mean_square_over_the_elements_of_the_molecule(molecules, batch, focks, mapped):
    values, _ = mapped(losses.self_consistency)(batch, focks)
    system, n = molecules[1], len(molecules[1].overlap)
    fock = focks[1][:n, :n]
    rebuilt = jax.jit(dft.fock)(system, dft.density(system, fock))
    np.testing.assert_allclose(values[1], np.mean((fock - rebuilt) ** 2), rtol=1e-10)
    assert np.all(values > 1e-6)


def test_value_and_gradient_vanish_at_a_solution(batch, solutions, mapped):
    values, gradients = mapped(losses.self_consistency)(batch, solutions.fock)
    assert np.max(values) < 1e-20
    assert np.max(np.abs(gradients)) < 1e-10


def test_padding_is_inert(assert_inert):
    assert_inert(losses.self_consistency, which=(1, 3))


def test_shifted_levels_in_closed_form(hydrogen):
    # c S added to a Fock matrix moves all levels and no density: the residual of a solution becomes c S
    solution = jax.jit(dft.fock)(hydrogen, 2 * jnp.ones((2, 2)) / jnp.sum(hydrogen.overlap))
    law = jax.jit(jax.value_and_grad(losses.self_consistency, argnums=1))
    for shift in (0.1, -0.02):
        value, gradient = law(hydrogen, solution + shift * hydrogen.overlap)
        np.testing.assert_allclose(value, shift**2 * np.mean(hydrogen.overlap**2), rtol=1e-10)
        # symmetry fixes the density, hence no response on the symmetric matrices
        np.testing.assert_allclose(gradient, shift * hydrogen.overlap / 2, atol=1e-12)
