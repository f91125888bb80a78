"""Energies and forces against labels, by hand: springs to the origin, E = ½ k Σ|r|² and F = −k r."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys import losses

POSITIONS = jnp.array([[3.0, 0.0, 4.0], [0.0, 1.0, 0.0]])
STIFFNESS = 2.0  # E = 26, F = (−6, 0, −8), (0, −2, 0)
LABELS = jnp.array([[-6.0, 0.0, -5.0], [0.0, -2.0, 0.0]])  # deviations of length 3 and 0


def springs(positions, k=STIFFNESS):
    return 0.5 * k * jnp.sum(positions**2)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 36.0),
        ({"per_atom": True}, 9.0),
        ({"huber": 6.0}, 36.0),
        ({"huber": 1.0}, 2 * 6.0 - 1.0),
        ({"per_atom": True, "huber": 0.5}, 3.0 - 0.25),
        ({"per_atom": True, "mask": jnp.array([True, False])}, 36.0),
    ],
)
def test_energy_by_hand(settings, expected):
    np.testing.assert_allclose(
        losses.energy_matching(springs, POSITIONS, 20.0, **settings), expected, rtol=1e-14
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 9 / 2),
        ({"huber": 3.5}, 9 / 2),
        ({"huber": 1.0}, (2 * 3 - 1) / 2),
        ({"mask": jnp.array([True, False])}, 9.0),
        ({"mask": jnp.array([False, False])}, 0.0),
    ],
)
def test_forces_by_hand(settings, expected):
    np.testing.assert_allclose(
        losses.force_matching(springs, POSITIONS, LABELS, **settings), expected, rtol=1e-14
    )


def test_both_are_the_weighted_sum_and_one_evaluation():
    calls = []

    def counted(positions):
        calls.append(1)
        return springs(positions)

    both = losses.energy_and_force_matching(
        counted, POSITIONS, 20.0, LABELS, energy_weight=0.5, force_weight=10.0, per_atom=True, force_huber=1.0
    )
    np.testing.assert_allclose(both, 0.5 * 9.0 + 10.0 * 2.5, rtol=1e-14)
    assert len(calls) == 1


def test_zero_force_by_hand():
    np.testing.assert_allclose(losses.zero_force(springs, POSITIONS), (100 + 4) / 2, rtol=1e-14)
    # springs end in the origin: two atoms in one place, where no force acts
    value, gradient = jax.value_and_grad(losses.zero_force, argnums=1)(springs, jnp.zeros((2, 3)))
    assert value == 0 and not np.any(gradient)


@pytest.mark.parametrize("huber", [None, 0.1])
def test_exact_prediction_has_no_loss_and_no_gradient(huber):
    def loss(k):
        return losses.energy_and_force_matching(
            lambda r: springs(r, k), POSITIONS, 26.0, -2 * POSITIONS, huber=huber, force_huber=huber
        )

    assert jax.value_and_grad(loss)(STIFFNESS) == (0.0, 0.0)


def test_huber_threshold_is_positive():
    with pytest.raises(ValueError, match=r"positive deviation, .* got 0"):
        losses.force_matching(springs, POSITIONS, LABELS, huber=0.0)


def test_energy_that_is_not_finite_shows():
    assert np.isnan(losses.energy_matching(lambda r: jnp.log(-jnp.sum(r**2)), POSITIONS, 0.0))
