"""The cross entropy of hidden atoms, and which are hidden."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_differences import slope

from jaxphys.losses import hide_atoms, masked_atoms

LOGITS = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.2, 0.2, 0.6], [1 / 3, 1 / 3, 1 / 3], [0.1, 0.8, 0.1]]))
ELEMENTS = jnp.array([1, 2, 0, 1])


@pytest.mark.parametrize(
    ("hidden", "expected"),
    [
        ([True, True, False, False], -(np.log(0.25) + np.log(0.6)) / 2),
        ([False, False, True, False], np.log(3)),
        ([False, False, False, False], 0.0),
    ],
)
@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_value_by_hand_and_gradient(hidden, expected, dtype):
    hidden, logits = jnp.array(hidden), LOGITS.astype(dtype)
    value, gradient = jax.value_and_grad(masked_atoms)(logits, ELEMENTS, hidden)
    assert value.dtype == dtype
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    # softmax minus the label, shared by the hidden atoms
    by_hand = (np.exp(LOGITS) - np.eye(3)[ELEMENTS]) * hidden[:, None] / max(np.sum(hidden), 1)
    np.testing.assert_allclose(gradient, by_hand, atol=1e-7)


def test_gradient_agrees_with_differences():
    hidden, direction = jnp.array([True, False, True, True]), np.random.default_rng(0).normal(size=(4, 3))
    expected = slope(lambda h: masked_atoms(LOGITS + h * direction, ELEMENTS, hidden), 1e-3)
    gradient = jax.grad(masked_atoms)(LOGITS, ELEMENTS, hidden)
    np.testing.assert_allclose(jnp.sum(gradient * direction), expected, rtol=1e-9)


def test_padding_is_inert_whatever_it_holds():
    logits = jnp.vstack([LOGITS, jnp.full((2, 3), jnp.nan)])
    elements, hidden = (
        jnp.append(ELEMENTS, jnp.array([-7, 200])),
        jnp.array([True, False, True] + [False] * 3),
    )
    value, gradient = jax.value_and_grad(masked_atoms)(logits, elements, hidden)
    np.testing.assert_allclose(value, masked_atoms(LOGITS, ELEMENTS, hidden[:4]), rtol=1e-14)
    assert np.all(np.isfinite(gradient)) and not np.any(gradient[4:])


def test_a_class_beyond_the_logits_shows():
    assert np.isnan(masked_atoms(LOGITS, jnp.array([3, 0, 0, 0]), jnp.array([True, False, False, False])))


def test_hidden_share_and_padding():
    mask = jnp.arange(4000) < 3000
    hidden = hide_atoms(jax.random.key(0), mask)
    assert not np.any(hidden[3000:])
    # four standard deviations of a binomial
    np.testing.assert_allclose(np.mean(hidden[:3000]), 0.3, atol=4 * np.sqrt(0.3 * 0.7 / 3000))
    assert np.array_equal(hidden[:100], hide_atoms(jax.random.key(0), mask[:100]))
    assert not np.array_equal(hidden, hide_atoms(jax.random.key(1), mask))


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_none_and_all(probability):
    mask = jnp.array([True, True, False])
    assert np.array_equal(
        hide_atoms(jax.random.key(0), mask, probability=probability), mask & (probability > 0)
    )


def test_probability_outside_its_range():
    with pytest.raises(ValueError, match=r"probability must lie in \[0, 1\], got 1.5"):
        hide_atoms(jax.random.key(0), jnp.array([True]), probability=1.5)
