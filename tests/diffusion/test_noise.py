"""Noise without the motion of the centre: its moments, padding, keys."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys import diffusion


def test_covariance_is_the_projection_off_the_centre():
    keys = jax.random.split(jax.random.key(0), 5000)
    draws = jax.vmap(lambda key: diffusion.centred_noise(key, (4, 3)))(keys)
    np.testing.assert_allclose(jnp.mean(draws, axis=1), 0, atol=1e-14)
    covariance = jnp.einsum("sia,sjb->iajb", draws, draws) / len(keys)
    expected = np.einsum("ij,ab->iajb", np.eye(4) - 1 / 4, np.eye(3))
    # six times the statistical error of a variance
    np.testing.assert_allclose(covariance, expected, atol=6 * np.sqrt(2 / 5000))


def test_padding_changes_no_draw_and_gets_zero():
    key = jax.random.key(1)
    alone = diffusion.centred_noise(key, (4, 3))
    padded = diffusion.centred_noise(key, (6, 3), jnp.arange(6) < 4)
    np.testing.assert_allclose(padded[:4], alone, rtol=1e-14)
    assert not np.any(padded[4:])


def test_centring_leaves_the_shape_and_ignores_padding():
    positions = np.random.default_rng(0).normal(size=(5, 3))
    found = diffusion.centred(positions)
    np.testing.assert_allclose(found[1:] - found[0], positions[1:] - positions[0], rtol=1e-12)
    np.testing.assert_allclose(jnp.sum(found, axis=0), 0, atol=1e-14)
    padded = np.vstack([positions, np.full((2, 3), np.nan)])
    masked = diffusion.centred(padded, jnp.arange(7) < 5)
    np.testing.assert_allclose(masked[:5], found, rtol=1e-12)
    assert not np.any(masked[5:])


def test_precision_is_that_asked_for_and_one_atom_cannot_move():
    assert diffusion.centred_noise(jax.random.key(0), (3, 3), dtype=jnp.float32).dtype == jnp.float32
    assert not np.any(diffusion.centred_noise(jax.random.key(0), (1, 3)))


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"shape must be \(atoms, dimensions\), got \(3, 2, 3\)"):
        diffusion.centred_noise(jax.random.key(0), (3, 2, 3))


def test_a_plane_is_a_space_too():
    draws = jax.vmap(lambda key: diffusion.centred_noise(key, (3, 2)))(
        jax.random.split(jax.random.key(2), 2000)
    )
    np.testing.assert_allclose(jnp.mean(draws, axis=1), 0, atol=1e-14)
    np.testing.assert_allclose(jnp.std(draws), np.sqrt(2 / 3), rtol=0.05)
