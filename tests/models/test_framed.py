"""The denoiser in the frame of one structure: turns with it, knows its hand, finite everywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.spatial.transform import Rotation

from jaxphys.energies import alanine_dipeptide
from jaxphys.models import FramedConfig, FramedDenoiser, frame_of, framed_denoise_fn, framed_graph

NATIVE = np.asarray(alanine_dipeptide().positions)
SAMPLES = NATIVE + np.cumsum(0.3 * np.random.default_rng(3).normal(size=(300, *NATIVE.shape)), axis=1)
FRAME = frame_of(NATIVE, SAMPLES)
MODEL = FramedDenoiser(FramedConfig(channels=24, layers=2))
NOISY = jnp.asarray(NATIVE + 0.5 * np.random.default_rng(0).normal(size=NATIVE.shape))


@pytest.fixture(scope="module")
def params():
    """Random, of a size at which the output's last layer matters."""
    first = jax.jit(MODEL.init)(jax.random.key(0), framed_graph(NOISY, FRAME), 1.0)
    leaves, tree = jax.tree.flatten(first)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [leaf + 0.1 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, noisy)


def test_it_turns_with_the_molecule_and_knows_its_hand(params):
    denoise = jax.jit(framed_denoise_fn(MODEL, params, FRAME))
    turn = jnp.asarray(Rotation.random(rng=np.random.default_rng(1)).as_matrix())
    found = denoise(NOISY, 0.5)
    np.testing.assert_allclose(denoise(NOISY @ turn.T + 5.0, 0.5), found @ turn.T, atol=1e-8)
    np.testing.assert_allclose(jnp.mean(found, axis=0), 0.0, atol=1e-9)
    assert jnp.abs(denoise(-NOISY, 0.5) + found).max() > 0.01


def test_at_little_noise_it_gives_what_it_is_given(params):
    found = jax.jit(framed_denoise_fn(MODEL, params, FRAME))(NATIVE, 1e-4)
    np.testing.assert_allclose(found, NATIVE - NATIVE.mean(axis=0), atol=1e-2)


def test_without_a_network_it_is_the_best_linear_answer(params):
    """Moments K of the clean positions: K (K + σ²)⁻¹ times the noisy ones."""
    found = jax.jit(framed_denoise_fn(MODEL, jax.tree.map(jnp.zeros_like, params), FRAME))(NOISY, 0.7)
    moments = FRAME.modes * FRAME.variances @ FRAME.modes.T
    noisy = NOISY - NOISY.mean(axis=0)
    expected = moments @ np.linalg.solve(moments + 0.49 * np.eye(len(noisy)), noisy)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_network_sees_distances_and_moves_atoms_along_them(params):
    """Both heads matter, and each alone still turns with the molecule."""
    turn = jnp.asarray(Rotation.random(rng=np.random.default_rng(4)).as_matrix())
    silent = jax.jit(framed_denoise_fn(MODEL, jax.tree.map(jnp.zeros_like, params), FRAME))(NOISY, 0.5)
    for head in ("moves", "pulls"):
        off = {**params["params"], head: jax.tree.map(jnp.zeros_like, params["params"][head])}
        denoise = jax.jit(framed_denoise_fn(MODEL, {"params": off}, FRAME))
        found = denoise(NOISY, 0.5)
        assert jnp.abs(found - silent).max() > 0.01
        np.testing.assert_allclose(denoise(NOISY @ turn.T, 0.5), found @ turn.T, atol=1e-8)


def test_derivative_by_finite_differences(params):
    denoise = jax.jit(framed_denoise_fn(MODEL, params, FRAME))
    way = np.random.default_rng(2).normal(size=NOISY.shape)
    _, slope = jax.jvp(lambda x: denoise(x, 0.5), (NOISY,), (jnp.asarray(way),))
    rise = (denoise(NOISY + 1e-5 * way, 0.5) - denoise(NOISY - 1e-5 * way, 0.5)) / 2e-5
    np.testing.assert_allclose(slope, rise, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("atoms", ["at one place", "on a line"])
def test_where_the_turn_is_not_unique_derivatives_are_finite(params, atoms):
    line = jnp.linspace(-3, 3, len(NATIVE))[:, None] * jnp.array([1.0, 0.5, 0.2])
    positions = line if atoms == "on a line" else 0 * line
    denoise = framed_denoise_fn(MODEL, params, FRAME)
    value, gradient = jax.jit(jax.value_and_grad(lambda x: jnp.sum(denoise(x, 1.0) ** 2)))(positions)
    assert jnp.isfinite(value)
    assert jnp.all(jnp.isfinite(gradient))


def test_single_precision_is_close(params):
    narrow = jax.tree.map(lambda x: x.astype(jnp.float32), params)
    found = jax.jit(framed_denoise_fn(MODEL, narrow, FRAME))(NOISY.astype(jnp.float32), jnp.float32(0.5))
    assert found.dtype == jnp.float32
    exact = jax.jit(framed_denoise_fn(MODEL, params, FRAME))(NOISY, 0.5)
    np.testing.assert_allclose(found, exact, atol=1e-4)


def test_distances_are_those_of_the_samples():
    apart = np.array([squareform(pdist(sample)) for sample in SAMPLES])
    np.testing.assert_allclose(FRAME.distances, apart.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(FRAME.widths, apart.std(axis=0), atol=1e-4)


def test_bad_input():
    with pytest.raises(ValueError, match="channels must be positive, got 0"):
        FramedConfig(channels=0)
    with pytest.raises(ValueError, match="at least two samples, got 1"):
        frame_of(NATIVE, SAMPLES[:1])
    line = np.arange(3.0)[:, None] * np.ones(3)
    with pytest.raises(ValueError, match="must not lie on a line, got 3 atoms that do"):
        frame_of(line, np.stack([line, line]))
