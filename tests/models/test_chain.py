"""The denoiser of a chain: turns with it, knows its hand, blind to mutations at first, finite everywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jaxphys.data import villin_headpiece
from jaxphys.models import ChainConfig, ChainDenoiser, chain_denoise_fn, chain_graph, chain_of

NATIVE = villin_headpiece()
SAMPLES = NATIVE + np.cumsum(np.random.default_rng(3).normal(size=(400, *NATIVE.shape)), axis=1)
CHAIN = chain_of(NATIVE, SAMPLES)
MODEL = ChainDenoiser(ChainConfig(channels=16, layers=1))
NOISY = jnp.asarray(NATIVE + 2.0 * np.random.default_rng(0).normal(size=NATIVE.shape))


@pytest.fixture(scope="module")
def params():
    """Random, of a size at which the output's last layer matters."""
    first = jax.jit(MODEL.init)(jax.random.key(0), chain_graph(NOISY, CHAIN), 1.0)
    leaves, tree = jax.tree.flatten(first)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [leaf + 0.1 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, noisy)


def test_it_turns_with_the_chain_and_knows_its_hand(params):
    denoise = jax.jit(chain_denoise_fn(MODEL, params, CHAIN))
    turn = jnp.asarray(Rotation.random(rng=np.random.default_rng(1)).as_matrix())
    found = denoise(NOISY, 2.0)
    np.testing.assert_allclose(denoise(NOISY @ turn.T + 5.0, 2.0), found @ turn.T, atol=1e-9)
    np.testing.assert_allclose(jnp.mean(found, axis=0), 0.0, atol=1e-9)
    assert jnp.abs(denoise(-NOISY, 2.0) + found).max() > 0.01


def test_it_knows_nothing_of_mutants_at_first(params):
    changes = np.zeros((35, 35))
    changes[3, 20] = changes[20, 3] = 1.0
    first = jax.jit(MODEL.init)(jax.random.key(0), chain_graph(NOISY, CHAIN), 1.0)
    denoise = jax.jit(lambda p, which: chain_denoise_fn(MODEL, p, CHAIN, which)(NOISY, 2.0))
    np.testing.assert_array_equal(denoise(first, changes), denoise(first, 0 * changes))
    slope = jax.jit(jax.grad(lambda p: jnp.sum(denoise(p, changes) ** 2)))(first)
    assert jnp.abs(slope["params"]["mutation"]["kernel"]).max() > 0
    assert jnp.abs(denoise(params, changes) - denoise(params, 0 * changes)).max() > 1e-4


def test_at_little_noise_it_gives_what_it_is_given(params):
    found = jax.jit(chain_denoise_fn(MODEL, params, CHAIN))(NATIVE, 1e-4)
    np.testing.assert_allclose(found, NATIVE, atol=1e-2)


def test_coincident_beads_have_finite_derivatives(params):
    denoise = chain_denoise_fn(MODEL, params, CHAIN)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(denoise(x, 1.0) ** 2)))(jnp.zeros((35, 3)))
    assert jnp.all(jnp.isfinite(gradient))


def test_modes_are_those_of_the_samples():
    centred = SAMPLES - SAMPLES.mean(axis=1, keepdims=True)
    moments = np.einsum("kix,kjx->ij", centred, centred) / (3 * len(SAMPLES))
    np.testing.assert_allclose(CHAIN.modes * CHAIN.variances @ CHAIN.modes.T, moments, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(CHAIN.variances[0], 0.0, atol=1e-9)
    np.testing.assert_allclose(CHAIN.spread, np.sqrt(np.mean(centred**2)), rtol=1e-6)
    weights = np.zeros(400)
    weights[:7] = 1 / 7
    few = chain_of(NATIVE, SAMPLES, weights)
    np.testing.assert_allclose(few.variances, chain_of(NATIVE, SAMPLES[:7]).variances, atol=1e-9)


def test_without_a_network_it_is_the_best_linear_answer(params):
    """Moments K of the clean positions: K (K + σ²)⁻¹ times the noisy ones."""
    silent = jax.tree.map(jnp.zeros_like, params)
    found = jax.jit(chain_denoise_fn(MODEL, silent, CHAIN))(NOISY, 3.0)
    moments = CHAIN.modes * CHAIN.variances @ CHAIN.modes.T
    noisy = NOISY - NOISY.mean(axis=0)
    expected = moments @ np.linalg.solve(moments + 9.0 * np.eye(35), noisy)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_sizes_that_cannot_be_built():
    with pytest.raises(ValueError, match="channels must be positive, got 0"):
        ChainConfig(channels=0)
