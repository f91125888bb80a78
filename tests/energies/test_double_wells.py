"""Double wells between all particles: by hand, invariance, coincident particles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_differences import slope

from jaxphys.energies import double_wells


def test_three_particles_on_a_line_by_hand():
    positions = jnp.array([[0.0], [3.0], [8.0]])  # distances 3, 5 and 8
    wells = [0.9 * s**4 - 4 * s**2 for s in (-1, 1, 4)]
    np.testing.assert_allclose(double_wells()(positions), sum(wells), rtol=1e-12)
    np.testing.assert_allclose(double_wells(a=0.5)(positions), sum(wells) + 0.5 * 4, rtol=1e-12)


def test_the_two_best_distances_of_a_pair():
    # c s² = −b / 2 at the minima, of depth b² / 4c
    for distance in (4 - np.sqrt(4 / 1.8), 4 + np.sqrt(4 / 1.8)):
        value, slopes = jax.value_and_grad(double_wells())(jnp.array([[0.0, 0.0], [distance, 0.0]]))
        np.testing.assert_allclose(value, -16 / 3.6, rtol=1e-12)
        np.testing.assert_allclose(slopes, 0, atol=1e-12)


def test_moves_turns_mirrors_and_exchanges_change_nothing():
    positions = jnp.array([[0.1, 0.3], [2.9, -0.4], [1.0, 3.3], [-1.7, 4.0]])
    turned = positions[jnp.array([2, 0, 3, 1])] @ jnp.array([[0.6, 0.8], [0.8, -0.6]]) + 5.0
    np.testing.assert_allclose(double_wells()(turned), double_wells()(positions), rtol=1e-12)


def test_slope_and_coincident_particles():
    energy, rng = double_wells(), np.random.default_rng(0)
    positions, direction = 3 * rng.normal(size=(4, 2)), rng.normal(size=(4, 2))
    expected = slope(lambda t: energy(positions + t * direction), 1e-3)
    np.testing.assert_allclose(np.vdot(jax.grad(energy)(positions), direction), expected, rtol=1e-8)
    value, slopes = jax.value_and_grad(energy)(jnp.zeros((4, 2)))
    np.testing.assert_allclose(value, 6 * (0.9 * 4**4 - 4 * 4**2), rtol=1e-12)
    assert not np.any(slopes)


def test_wells_without_walls_are_refused():
    with pytest.raises(ValueError, match=r"c must be positive.*got -1"):
        double_wells(c=-1.0)
