"""Canaries: reductions that some versions of XLA for CPUs compile to silently wrong numbers.

jax 0.10.2 fails both, and 0.11.0 to 0.12.0.1 the first.
Source of the second: https://github.com/jax-ml/jax/issues/39103; the first is a relative without a report.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

CURE = (
    "jax {version} miscompiles reductions on this machine (relative error {error:.1e}), so that nothing else "
    "can be trusted: install jax==0.10.1, or set "
    "XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type=-reduce before jax starts"
)


@pytest.fixture(autouse=True)
def as_users_compile():
    """With all optimisations, which other tests do without."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def assert_right(compiled, expected):
    error = np.max(np.abs(np.asarray(compiled) - expected) / np.abs(expected))
    assert error < 1e-5, CURE.format(version=jax.__version__, error=error)


def test_square_sum_of_a_product_with_constant_weights():
    x = np.random.default_rng(0).normal(size=(4096, 3)).astype(np.float32)
    x += np.sign(x.sum(axis=1, keepdims=True))  # away from cancellation
    weights = jnp.ones((3, 8), jnp.float32)
    expected = 8 * x.astype(np.float64).sum(axis=1) ** 2
    assert_right(jax.jit(lambda x: jnp.sum((x @ weights) ** 2, axis=-1))(x), expected)
    assert_right(jax.jit(lambda x: jnp.sum((x @ jnp.ones((3, 8), x.dtype)) ** 2, axis=-1))(x), expected)


def test_square_norms_after_a_mapped_product_with_the_unit_matrix():
    x = np.random.default_rng(1).normal(size=(20_000, 3))
    unit = jnp.eye(3)
    norms = jax.jit(jax.vmap(lambda row: jnp.sum((unit @ row) ** 2)))
    assert_right(norms(x), np.sum(x**2, axis=1))
