"""Weights of samples: their sum, what is left of them, and resampling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.sampling import effective_sample_size, importance_weights, pareto_k, resample


def test_weights_by_hand():
    weights = importance_weights(jnp.log(jnp.array([1.0, 3.0, 4.0])) + 1000.0)
    np.testing.assert_allclose(weights, [0.125, 0.375, 0.5], rtol=1e-12)
    np.testing.assert_allclose(importance_weights(jnp.array([0.0, -jnp.inf])), [1.0, 0.0])


def test_effective_size_by_hand():
    equal = effective_sample_size(jnp.full(8, -3.0))
    one = effective_sample_size(jnp.array([0.0, -1e4, -1e4, -jnp.inf]))
    some = effective_sample_size(jnp.log(jnp.array([1.0, 3.0, 4.0])))
    np.testing.assert_allclose([equal.count, equal.fraction], [8, 1])
    np.testing.assert_allclose([one.count, one.fraction], [1, 0.25])
    np.testing.assert_allclose([some.count, some.fraction], [64 / 26, 64 / 26 / 3])


def test_reweighting_gives_the_averages_of_the_target():
    # a normal distribution of variance 1 made one of variance 1/2
    x = np.random.default_rng(0).normal(size=20_000)
    weights = importance_weights(-0.5 * x**2)
    assert abs(np.sum(weights * x**2) - 0.5) < 0.02
    # mean of w and of w² are 1/√2 and 1/√3
    assert abs(effective_sample_size(-0.5 * x**2).fraction - np.sqrt(3) / 2) < 0.02


def test_a_heavy_tail_is_noticed():
    x = np.random.default_rng(0).normal(size=4000)
    assert pareto_k(-0.1 * x**2) < 0.5
    assert pareto_k(0.48 * x**2) > 0.7


def test_everyone_is_drawn_as_often_as_its_weight_says():
    weights = np.array([0.05, 0.0, 0.6, 0.35])
    counts = np.stack(
        [np.bincount(resample(jax.random.key(i), weights, 10), minlength=4) for i in range(200)]
    )
    assert np.all(np.abs(counts - 10 * weights) < 1) and np.all(counts[:, 1] == 0)
    np.testing.assert_allclose(counts.mean(axis=0), 10 * weights, atol=0.15)


def test_works_inside_jit():
    @jax.jit
    def places(key, log_weights):
        return resample(key, importance_weights(log_weights), 5)

    log_weights = np.linspace(-1.0, 1.0, 7)
    key = jax.random.key(0)
    np.testing.assert_array_equal(places(key, log_weights), resample(key, importance_weights(log_weights), 5))


@pytest.mark.parametrize("function", [importance_weights, effective_sample_size, pareto_k])
@pytest.mark.parametrize(
    ("log_weights", "message"),
    [
        (np.zeros(0), "log_weights is empty: no samples to weigh, all were filtered away"),
        (np.array([0.0, np.nan, 1.0, np.nan]), "2 of 4 log weights are NaN or .inf, the first is number 1"),
        (np.array([0.0, np.inf]), "1 of 2 log weights are NaN or .inf"),
        (np.full(3, -np.inf), "all 3 log weights are -inf: no sample is possible under the target"),
    ],
)
def test_what_is_no_weight(function, log_weights, message):
    with pytest.raises(ValueError, match=message):
        function(log_weights)


@pytest.mark.parametrize(
    ("weights", "count", "message"),
    [
        (np.array([0.5, 0.6]), 3, "sum to one, got a sum of 1.1"),
        (np.array([1.5, -0.5]), 3, "must not be negative"),
        (np.array([np.nan, 0.5]), 3, "got a sum of nan"),
        (np.zeros(0), 3, r"at least one, got \(0,\)"),
        (np.array([1.0]), 0, "count must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_resampled(weights, count, message):
    with pytest.raises(ValueError, match=message):
        resample(jax.random.key(0), weights, count)
