"""The hinge between a structure and a perturbed one, training the energy or the structure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys import losses

POSITIONS = jnp.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
INWARDS = jnp.array([[-0.5, 0.0, 0.0], [0.0, -1.0, 0.0]])


def springs(positions, k=1.0):
    """½ k Σ|r|²: 5/2 k at the positions, 5/8 k half-way in."""
    return 0.5 * k * jnp.sum(positions**2)


@pytest.mark.parametrize(("noise", "expected"), [(INWARDS, 15 / 8), (-INWARDS, 0.0), (0 * INWARDS, 0.0)])
def test_value_and_gradient_by_hand(noise, expected):
    law = jax.value_and_grad(lambda k: losses.energy_bound(lambda r: springs(r, k), POSITIONS, noise))
    np.testing.assert_allclose(law(2.0), (2 * expected, expected), rtol=1e-14)


def test_the_bound_moves_the_energy_and_no_structure():
    gradients = jax.grad(losses.energy_bound, argnums=(1, 2))(springs, POSITIONS, INWARDS)
    assert not np.any(gradients)


def test_a_fixed_energy_moves_the_structure_and_no_parameter():
    def law(k, positions):
        return losses.energy_hinge(losses.fixed_energy(lambda r: springs(r, k)), positions, INWARDS)

    value, (by_energy, by_positions) = jax.jit(jax.value_and_grad(law, argnums=(0, 1)))(2.0, POSITIONS)
    np.testing.assert_allclose(value, 2 * 15 / 8, rtol=1e-14)
    assert by_energy == 0
    # k R − k (R + η)
    np.testing.assert_allclose(by_positions, -2 * INWARDS, rtol=1e-14)


def test_noise_of_padded_atoms_does_not_count():
    mask = jnp.array([True, False])
    law = losses.energy_bound(springs, POSITIONS, INWARDS, mask=mask)
    np.testing.assert_allclose(law, (1 - 1 / 4) / 2, rtol=1e-14)


def test_energy_that_is_not_finite_shows():
    assert np.isnan(losses.energy_bound(lambda r: jnp.log(-jnp.sum(r**2)), POSITIONS, INWARDS))


def test_a_margin_asks_for_a_well_that_is_deep_enough():
    def margin(r):
        return 0.5 * jnp.sum((r - POSITIONS) ** 2)

    # k (|R|² − |R + η|²) / 2 + |η|² / 2, with the well too shallow outwards as well
    for noise, below in ((INWARDS, -15 / 4), (-INWARDS, 25 / 4)):
        law = losses.energy_bound(lambda r: springs(r, 0.1), POSITIONS, noise, margin=margin)
        np.testing.assert_allclose(law, max(0.0, 0.5 * 1.25 - 0.1 * below / 2), rtol=1e-6)
    assert losses.energy_bound(lambda r: margin(r), POSITIONS, INWARDS, margin=margin) == 0
