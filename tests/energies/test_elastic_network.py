"""Springs between all atoms: closed forms, invariance, padding, coincident atoms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.spatial.transform import Rotation

from jaxphys.energies import elastic_network

TRIANGLE = jnp.array([[0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [0.0, 2.0, 0.0]])


def test_one_spring_by_hand():
    energy = elastic_network(TRIANGLE[:2], stiffness=10.0, power=2.0)
    stretched = TRIANGLE[:2] * 1.2
    np.testing.assert_allclose(energy(stretched), 0.5 * 10 * (1.2 / 1.5) ** 2 * 0.3**2, rtol=1e-5)
    shallow = elastic_network(TRIANGLE[:2], stiffness=10.0, power=2.0, depth=0.5)
    np.testing.assert_allclose(shallow(stretched), 0.288 / (1 + 0.288 / 0.5), rtol=1e-5)


def test_three_springs_are_the_sum_over_pairs_and_rest_at_the_reference():
    energy = elastic_network(TRIANGLE)
    moved = TRIANGLE + 0.1 * jax.random.normal(jax.random.key(0), (3, 3))
    expected = 0.0
    for i, j in ((0, 1), (0, 2), (1, 2)):
        rest, now = (float(jnp.linalg.norm(r[i] - r[j])) for r in (TRIANGLE, moved))
        expected += 0.5 * 30 * (1.2 / rest) ** 3 * (now - rest) ** 2
    np.testing.assert_allclose(energy(moved), expected, rtol=1e-4)
    assert energy(TRIANGLE) == 0 and not np.any(jax.grad(energy)(TRIANGLE))
    check_grads(energy, (moved,), order=2, modes=["rev"], rtol=0.02)


def test_moved_turned_and_mirrored_structures_cost_nothing():
    turn = jnp.asarray(Rotation.random(rng=np.random.default_rng(0)).as_matrix(), jnp.float32)
    np.testing.assert_allclose(elastic_network(TRIANGLE)(TRIANGLE @ turn.T * -1 + 3.0), 0, atol=1e-9)


def test_padding_and_coincident_atoms_count_for_nothing():
    padded = jnp.concatenate([TRIANGLE, jnp.zeros((2, 3))])
    mask = jnp.arange(5) < 3
    moved = padded.at[1, 2].add(0.3)
    value, gradient = jax.value_and_grad(elastic_network(padded, mask=mask))(moved)
    np.testing.assert_allclose(value, elastic_network(TRIANGLE)(moved[:3]), rtol=1e-6)
    assert not np.any(gradient[3:]) and np.all(np.isfinite(gradient))
    collapsed = jnp.zeros((3, 3))
    assert np.all(np.isfinite(jax.grad(elastic_network(TRIANGLE))(collapsed)))
    assert np.all(np.isfinite(jax.grad(elastic_network(collapsed))(TRIANGLE)))


@pytest.mark.parametrize("wrong", [{"stiffness": 0.0}, {"depth": -1.0}])
def test_springs_must_pull(wrong):
    with pytest.raises(ValueError, match="must be positive"):
        elastic_network(TRIANGLE, **wrong)
