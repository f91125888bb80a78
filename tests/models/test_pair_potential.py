"""The pair potential: its closed form, minimum and depth, tangents at short range, ranges and symmetry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.models.layers.pair import PairHead, PairParameters, pair_potential, switch

BETA = PairParameters(*(jnp.asarray(x) for x in (-0.4, 11.0, 0.3, 5.5, 1.7)))
UNCHARGED = BETA._replace(charges=jnp.asarray(0.0))


def test_closed_form_where_it_is_not_steep():
    d = jnp.linspace(1.0, 6.0, 41)
    ratio = (1.7 / d) ** 5.5
    assert ratio.max() < 30
    np.testing.assert_allclose(
        pair_potential(d, BETA), 0.4 * 11.0 / d + 0.3 * (ratio**2 - 2 * ratio), rtol=1e-12
    )


def test_minimum_stands_at_its_distance_with_its_depth():
    energy = jax.jit(lambda d: pair_potential(d, UNCHARGED))
    np.testing.assert_allclose(energy(jnp.asarray(1.7)), -0.3, rtol=1e-12)
    np.testing.assert_allclose(jax.grad(energy)(jnp.asarray(1.7)), 0.0, atol=1e-12)
    d = jnp.linspace(0.0, 8.0, 4001)
    assert abs(d[np.argmin(energy(d))] - 1.7) < 2e-3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_short_range_is_finite_continuous_and_repulsive(dtype):
    beta = PairParameters(*(x.astype(dtype) for x in BETA))
    d = jnp.linspace(0.0, 1.2, 2401, dtype=dtype)

    @jax.jit
    @jax.vmap
    def evaluate(d):
        slope = jax.grad(pair_potential)
        energy, gradients = jax.value_and_grad(pair_potential, argnums=1)(d, beta)
        return energy, -slope(d, beta), jax.grad(slope)(d, beta), gradients

    energy, force, second, gradients = evaluate(d)
    assert all(np.isfinite(leaf).all() for leaf in (energy, force, second, *gradients))
    assert np.diff(energy).max() < 0 and np.max(np.abs(np.diff(force))) < 0.03 * np.max(force)


def test_switch_keeps_the_near_and_ends_smoothly():
    d = jnp.linspace(0.0, 6.0, 601)
    values = switch(d, 5.0)
    np.testing.assert_array_equal(values[d <= 2.5], 1.0)
    np.testing.assert_array_equal(values[d >= 5.0], 0.0)
    assert np.diff(values).max() <= 0
    ends = jnp.array([2.5 + 1e-6, 5.0 - 1e-6])
    for derivative in (jax.grad(switch), jax.grad(jax.grad(switch))):
        slopes = jax.jit(jax.vmap(lambda d, f=derivative: f(d, 5.0)))(ends)
        np.testing.assert_allclose(slopes, 0.0, atol=1e-4)


def test_head_is_symmetric_and_stays_in_range():
    rng = np.random.default_rng(0)
    features = jnp.asarray(rng.normal(size=(5, 8)))
    head = PairHead(16)
    params = jax.jit(head.init)(jax.random.key(0), features, features[None].repeat(5, 0))
    params = jax.tree.map(lambda leaf: leaf + rng.normal(size=leaf.shape), params)
    beta = jax.jit(head.apply)(params, features, features[None].repeat(5, 0))
    for values in beta:
        np.testing.assert_allclose(values, values.T, rtol=1e-13)
    assert np.abs(beta.charges).max() <= 1 and np.ptp(beta.charges) > 0.1
    assert np.min(beta.coulomb) >= 0 and np.max(beta.coulomb) <= 28.8
    assert np.min(beta.depth) >= 0
    assert np.min(beta.exponent) >= 3 and np.max(beta.exponent) <= 9
    assert np.min(beta.distance) >= 0.4 and np.max(beta.distance) <= 4
