"""Turning about bonds: geometry, a torsional distribution by quadrature, and what cannot be turned."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys import metrics, sampling
from jaxphys.sampling.bond_rotations import rotated

CHAIN = np.array([[0.0, 1.0, 0.2], [0.0, 0.0, 0.0], [1.5, 0.0, 0.1], [2.0, 1.2, 0.0], [2.4, 1.0, 1.1]])
BOND = (1, 2, (3, 4))


def torsion(positions):
    """Two wells of unequal depth in the dihedral of the first four atoms, with a barrier of 30."""
    a, b, c, d = positions[:4]
    left, right, axis = jnp.cross(b - a, c - b), jnp.cross(c - b, d - c), c - b
    sine = jnp.sum(jnp.cross(left, right) * axis) / jnp.linalg.norm(axis)
    angle = jnp.arctan2(sine, jnp.sum(left * right))
    return 15 * (1 + jnp.cos(2 * angle)) + jnp.sin(angle)


def test_a_turn_changes_the_dihedral_and_no_length():
    found = rotated(jnp.asarray(CHAIN), 0.7, BOND)
    np.testing.assert_array_equal(found[:3], CHAIN[:3])
    for i, j in ((2, 3), (3, 4), (2, 4), (1, 3)):
        before, after = (np.linalg.norm(r[i] - r[j]) for r in (CHAIN, found))
        np.testing.assert_allclose(after, before, rtol=1e-12)
    angles = [metrics.dihedral(np.asarray(r), np.arange(4)) for r in (CHAIN, found)]
    np.testing.assert_allclose((angles[1] - angles[0]) % (2 * np.pi), 0.7, rtol=1e-10)


def test_weights_of_wells_that_no_trajectory_leaves():
    start = jnp.tile(jnp.asarray(CHAIN), (4000, 1, 1))

    def step(positions, key):
        made = sampling.rotate_bonds(torsion, key, positions, kt=1.0, bonds=(BOND,))
        return made.positions, made.acceptance

    end, acceptance = jax.jit(lambda x: jax.lax.scan(step, x, jax.random.split(jax.random.key(0), 60)))(start)
    angles = metrics.dihedral(np.asarray(end), np.arange(4))
    grid = np.linspace(-np.pi, np.pi, 2000, endpoint=False)
    weights = np.exp(-15 * (1 + np.cos(2 * grid)) - np.sin(grid))
    expected = weights[grid > 0].sum() / weights.sum()
    # four standard errors of 4,000 walkers
    np.testing.assert_allclose(np.mean(angles > 0), expected, atol=4 * np.sqrt(expected / 4000))
    assert 0.05 < np.mean(acceptance[1:]) < 0.5


def test_all_calls_are_counted():
    calls = itertools.count()

    def counting(positions):
        jax.debug.callback(lambda _: next(calls), positions[0, 0])
        return torsion(positions)

    start = jnp.tile(jnp.asarray(CHAIN), (4, 1, 1))
    bonds = (BOND, (0, 1, (2, 3, 4)))
    made = sampling.rotate_bonds(counting, jax.random.key(0), start, kt=1.0, bonds=bonds)
    jax.effects_barrier()
    assert made.force_calls == next(calls) and made.positions.shape == (4, 5, 3)


@pytest.mark.parametrize("bonds", [(), ((1, 2, ()),), ((1, 2, (2, 3)),), ((1, 2, (5,)),)])
def test_what_cannot_be_turned_is_refused(bonds):
    with pytest.raises(ValueError, match="bond"):
        sampling.rotate_bonds(torsion, jax.random.key(0), jnp.asarray(CHAIN)[None], kt=1.0, bonds=bonds)


def test_a_temperature_below_zero_is_refused():
    with pytest.raises(ValueError, match="kt must be positive"):
        sampling.rotate_bonds(torsion, jax.random.key(0), jnp.asarray(CHAIN)[None], kt=-1.0, bonds=(BOND,))
