"""Positions and elements from noise together, with denoisers that are known in closed form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys import diffusion
from jaxphys.roles import TypedAtoms, TypedDenoiseFunction

KEY = jax.random.key(3)
MEAN = diffusion.centred(np.random.default_rng(0).normal(size=(4, 3)))
SHARES = np.array([0.6, 0.3, 0.1])
SCALE, WIDTH = 0.8, 0.2
SIGMAS = diffusion.levels(diffusion.VarianceExploding(1e-2, 6.0), 40)


def denoise(atoms, sigma):
    """E[X | X_σ] of structures about one mean, WIDTH wide, whose elements are drawn apart by SHARES."""
    positions = MEAN + (atoms.positions - MEAN) * WIDTH**2 / (WIDTH**2 + sigma**2)
    types = SCALE * jax.nn.softmax(jnp.log(SHARES) + SCALE * atoms.types / sigma**2)
    return TypedAtoms(positions, types)


def start(key=KEY, mask=None, n=4):
    noise = diffusion.typed_noise(key, (n, 3), mask)
    return jax.tree.map(lambda part: SIGMAS[0] * part, noise)


@functools.partial(jax.jit, static_argnums=1)
def made(keys, eta):
    def one(key):
        first, later = jax.random.split(key)
        noise = start(first)
        # as noisy structures stand, about the mean; at 6 Å it is still to be felt
        noisy = TypedAtoms(MEAN + noise.positions, noise.types)
        return diffusion.stochastic_typed(denoise, later, noisy, SIGMAS, eta=eta)

    return jax.vmap(one)(keys)


def test_a_denoiser_is_one():
    assert isinstance(denoise, TypedDenoiseFunction)


@pytest.mark.parametrize("eta", [0.0, 0.7, 1.0])
def test_positions_and_elements_have_their_distribution(eta):
    atoms = made(jax.random.split(jax.random.key(1), 1000), eta)
    chosen = np.argmax(atoms.types, axis=-1)
    shares = np.bincount(chosen.ravel(), minlength=3) / chosen.size
    # five standard errors of 4000 draws, and 40 steps
    np.testing.assert_allclose(shares, SHARES, atol=5 * np.sqrt(0.25 / chosen.size))
    # at the end they are clean
    np.testing.assert_allclose(np.sort(atoms.types, axis=-1), [[[0, 0, SCALE]] * 4] * 1000, atol=0.02)
    np.testing.assert_allclose(atoms.positions.mean(axis=0), MEAN, atol=5 * WIDTH / np.sqrt(1000))
    deviation = (atoms.positions - MEAN).std()
    # the centre has no share in it; 40 steps make it too narrow by up to a tenth
    np.testing.assert_allclose(deviation, WIDTH * np.sqrt(3 / 4), rtol=0.12)


def test_without_fresh_noise_positions_flow_as_by_ddim():
    first = start()
    found = diffusion.stochastic_typed(denoise, KEY, first, SIGMAS, eta=0.0)
    expected = diffusion.ddim(
        lambda positions, sigma: denoise(TypedAtoms(positions, first.types), sigma).positions,
        first.positions,
        SIGMAS,
    )
    np.testing.assert_allclose(found.positions, expected, atol=1e-10)


def test_noise():
    mask = jnp.array([True, True, True, False])
    padded, alone = diffusion.typed_noise(KEY, (4, 3), mask), diffusion.typed_noise(KEY, (3, 3))
    for one, other in zip(padded, alone, strict=True):
        np.testing.assert_allclose(one[:3], other, atol=1e-12)
        assert not one[3].any()
    np.testing.assert_allclose(padded.positions.mean(axis=0), 0, atol=1e-12)
    many = jax.vmap(lambda key: diffusion.typed_noise(key, (4, 3)).types.mean(axis=0))(
        jax.random.split(KEY, 2000)
    )
    # of types the mean stays: its variance is that of four independent numbers
    np.testing.assert_allclose(many.std(), 0.5, rtol=0.05)


def test_padding_is_inert():
    mask = jnp.array([True] * 4 + [False] * 2)

    def padded(atoms, sigma):
        own = denoise(TypedAtoms(atoms.positions[:4], atoms.types[:4]), sigma)
        return jax.tree.map(lambda part: jnp.pad(part, ((0, 2), (0, 0)), constant_values=jnp.nan), own)

    found = diffusion.stochastic_typed(padded, KEY, start(mask=mask, n=6), SIGMAS, eta=0.5, mask=mask)
    expected = diffusion.stochastic_typed(denoise, KEY, start(), SIGMAS, eta=0.5)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one[:4], other, atol=1e-10)
        assert not one[4:].any()


def test_no_levels():
    with pytest.raises(ValueError, match="at least one level"):
        diffusion.stochastic_typed(denoise, KEY, start(), jnp.zeros(0))
