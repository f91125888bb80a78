"""The unbiased square of an ensemble's deviation: closed forms, no bias, padding, gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxphys import losses


def test_it_is_the_mean_over_pairs_of_different_samples():
    values, target = np.array([0.9, 0.1, 0.4, 0.7]), 0.3
    d = values - target
    pairs = [d[i] * d[j] for i in range(4) for j in range(4) if i != j]
    np.testing.assert_allclose(losses.ensemble_property(values, target), np.mean(pairs), rtol=1e-12)
    # two samples: the product, as first published
    np.testing.assert_allclose(losses.ensemble_property(values[:2], target), d[0] * d[1], rtol=1e-12)


@pytest.mark.parametrize("replicas", [2, 3, 4])
def test_it_is_unbiased_and_the_squared_mean_is_not(replicas):
    """Folded or not, by a coin: exactly, over all outcomes; the square of the mean has Var f / k on top."""
    p, target = 0.3, 0.5
    outcomes = (np.arange(2**replicas)[:, None] >> np.arange(replicas)) & 1
    chance = np.prod(np.where(outcomes, p, 1 - p), axis=1)
    values = jnp.asarray(outcomes, float)
    unbiased = jax.vmap(lambda one: losses.ensemble_property(one, target))(values)
    np.testing.assert_allclose(chance @ np.asarray(unbiased), (p - target) ** 2, rtol=1e-12)
    squared = (outcomes.mean(axis=1) - target) ** 2
    np.testing.assert_allclose(chance @ squared - (p - target) ** 2, p * (1 - p) / replicas, rtol=1e-12)


def test_it_is_unbiased_of_normal_values():
    drawn = 1.0 + 2.0 * np.random.default_rng(0).normal(size=(200_000, 3))
    unbiased = np.asarray(jax.vmap(lambda one: losses.ensemble_property(one, 1.5))(drawn))
    error = unbiased.std() / np.sqrt(len(drawn))
    assert abs(unbiased.mean() - 0.25) < 4 * error < 0.05
    assert np.mean((drawn.mean(axis=1) - 1.5) ** 2) > 0.25 + 30 * error


def test_its_minimiser_has_the_mean_and_keeps_the_spread():
    """Samples μ + s ε: the law's expected gradient is that of (μ − target)², and s feels nothing.

    The control, the square of the mean, shrinks s.
    """
    noise = jax.random.normal(jax.random.key(0), (100_000, 2))

    def expected(law, parameters):
        mean, spread = parameters
        return jnp.mean(jax.vmap(lambda own: law(mean + spread * own))(noise))

    at = (jnp.asarray(2.0), jnp.asarray(1.5))
    ours = jax.grad(lambda x: expected(lambda f: losses.ensemble_property(f, 0.5), x))(at)
    np.testing.assert_allclose(ours, (2 * 1.5, 0.0), atol=0.03)
    squared = jax.grad(lambda x: expected(lambda f: (jnp.mean(f) - 0.5) ** 2, x))(at)
    np.testing.assert_allclose(squared, (2 * 1.5, 1.5), atol=0.03)


def test_padded_samples_count_for_nothing():
    values = jnp.array([0.9, 0.1, 0.4, jnp.nan])
    mask = jnp.array([True, True, True, False])
    alone = losses.ensemble_property(values[:3], 0.3)
    np.testing.assert_allclose(losses.ensemble_property(values, 0.3, mask=mask), alone, rtol=1e-12)
    gradient = jax.grad(lambda f: losses.ensemble_property(f, 0.3, mask=mask))(values)
    np.testing.assert_allclose(gradient[:3], jax.grad(losses.ensemble_property)(values[:3], 0.3))
    assert gradient[3] == 0
    assert losses.ensemble_property(values, 0.3, mask=jnp.zeros(4, bool)) == 0


def test_gradient_by_finite_differences():
    check_grads(
        lambda f, target: losses.ensemble_property(f, target),
        (jnp.array([0.9, 0.1, 0.4]), jnp.asarray(0.3)),
        order=2,
        modes=["rev"],
    )


def test_a_single_sample_is_refused():
    with pytest.raises(ValueError, match="two independent samples or more, got 1"):
        losses.ensemble_property(jnp.array([0.5]), 0.5)
    with pytest.raises(ValueError, match="two independent samples or more, got 1"):
        losses.ensemble_property(jnp.array([0.5, 0.2]), 0.5, mask=jnp.array([True, False]))
    with pytest.raises(ValueError, match="two independent samples or more, got 0"):
        losses.ensemble_property(jnp.zeros(0), 0.5)
    # traced, the number of real samples is not known: a single one is not a number, and no silent zero
    traced = jax.jit(lambda mask: losses.ensemble_property(jnp.array([0.5, 0.2]), 0.5, mask=mask))
    assert jnp.isnan(traced(jnp.array([True, False])))
