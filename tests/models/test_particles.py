"""The denoiser of particles: symmetries, limits, and what cannot be built."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jaxphys import models

RNG = np.random.default_rng(0)
POSITIONS = RNG.normal(size=(5, 3))
TYPES = jnp.array([0, 0, 1, 1, 0])
MODEL = models.ParticleDenoiser(models.ParticleConfig(types=2, channels=8, layers=2, radial=4))
PARAMS = MODEL.init(jax.random.key(0), models.particle_graph(POSITIONS, TYPES), 0.3)


@jax.jit
def denoise(positions, sigma, types=TYPES):
    return MODEL.apply(PARAMS, models.particle_graph(positions, types), sigma)


def test_it_turns_is_mirrored_and_moves_with_the_particles():
    turn = -Rotation.random(rng=np.random.default_rng(1)).as_matrix()
    found = denoise(POSITIONS, 0.3)
    np.testing.assert_allclose(denoise(POSITIONS @ turn + 3.0, 0.3), found @ turn, atol=1e-10)
    np.testing.assert_allclose(jnp.mean(found, axis=0), 0, atol=1e-14)


def test_particles_of_a_type_are_alike_and_others_are_not():
    order = np.array([1, 4, 2, 3, 0])
    found = denoise(POSITIONS, 0.3)
    np.testing.assert_allclose(denoise(POSITIONS[order], 0.3), found[order], atol=1e-10)
    other = np.array([2, 1, 0, 3, 4])
    assert np.max(np.abs(denoise(POSITIONS[other], 0.3) - found[other])) > 1e-3


@pytest.mark.parametrize("sigma", [1e-6, 1e6])
def test_little_noise_leaves_the_positions_and_much_forgets_them(sigma):
    centred = POSITIONS - POSITIONS.mean(axis=0)
    found = denoise(POSITIONS * max(sigma, 1.0), sigma)
    if sigma < 1:
        np.testing.assert_allclose(found, centred, atol=1e-4)
    else:
        assert np.max(np.abs(found)) < 10


def test_single_precision_and_gradients_where_particles_coincide():
    close = jnp.asarray(POSITIONS, jnp.float32).at[1].set(POSITIONS[0].astype(np.float32))
    found, gradient = jax.value_and_grad(lambda x: jnp.sum(denoise(x, jnp.float32(0.1)) ** 2))(close)
    assert found.dtype == jnp.float32
    assert np.all(np.isfinite(gradient))
    exact = denoise(POSITIONS, 0.1)
    np.testing.assert_allclose(denoise(POSITIONS.astype(np.float32), jnp.float32(0.1)), exact, atol=1e-4)


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="cutoff must be positive, got 0"):
        models.ParticleConfig(cutoff=0.0)
