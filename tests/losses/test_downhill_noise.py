"""Noise that goes down an energy: closed form of a parabola, what it finds, what it may not move."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys import losses

POSITIONS = jnp.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
MODES = jnp.eye(6).reshape(2, 3, 6)[..., :4]
CURVATURES = jnp.array([5.0, 1.0, 0.5, -1.0])
START = jnp.array([1.0, -2.0, 0.5, 0.1])


def saddle(positions, scale=1.0):
    along = jnp.einsum("nd,ndm->m", positions - POSITIONS, MODES)
    return 0.5 * scale * jnp.sum(CURVATURES * along**2)


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_on_a_parabola_every_mode_shrinks_by_its_curvature(steps):
    noise = losses.downhill_noise(saddle, POSITIONS, MODES, START, kt=0.25, steps=steps, rate=0.2)
    expected = 0.5 * (1 - 0.2 * CURVATURES) ** steps * START
    np.testing.assert_allclose(noise, jnp.einsum("ndm,m->nd", MODES, expected), rtol=1e-6, atol=1e-7)


def test_it_finds_the_direction_that_gaussian_noise_hides():
    noise = losses.downhill_noise(saddle, POSITIONS, MODES, START, kt=1.0, steps=12, rate=0.19)
    assert losses.energy_bound(saddle, POSITIONS, jnp.einsum("ndm,m->nd", MODES, START)) == 0
    assert losses.energy_bound(saddle, POSITIONS, noise) > 0


def test_steps_have_a_longest_length_and_a_flat_energy_leaves_all_in_place():
    wall = losses.downhill_noise(lambda r: 1e6 * saddle(r), POSITIONS, MODES, START, kt=1.0, steps=1)
    moved = jnp.linalg.norm(wall - jnp.einsum("ndm,m->nd", MODES, START))
    np.testing.assert_allclose(moved, 2.0, rtol=1e-5)
    flat = losses.downhill_noise(lambda r: 0.0 * jnp.sum(r), POSITIONS, MODES, START, kt=1.0)
    np.testing.assert_allclose(flat, jnp.einsum("ndm,m->nd", MODES, START), rtol=1e-6)


def test_nothing_is_differentiated_through_the_search():
    def law(scale, positions, modes, start, kt):
        noise = losses.downhill_noise(lambda r: saddle(r, scale), positions, modes, start, kt=kt)
        return jnp.sum(noise**3)

    gradients = jax.grad(law, argnums=(0, 1, 2, 3, 4))(1.0, POSITIONS, MODES, START, 0.3)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradients))


def test_a_negative_number_of_steps_is_refused():
    with pytest.raises(ValueError, match="steps must not be negative, got -1"):
        losses.downhill_noise(saddle, POSITIONS, MODES, START, kt=1.0, steps=-1)
