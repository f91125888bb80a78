"""Lennard-Jones clusters: a pair, the icosahedron, published samples, precision, coincident atoms."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_differences import slope
from scipy.optimize import minimize_scalar
from scipy.spatial.transform import Rotation

from jaxphys.energies import lennard_jones

GOLDEN = (1 + 5**0.5) / 2
VERTICES = [[0, y, z * GOLDEN] for y in (1, -1) for z in (1, -1)]
ICOSAHEDRON = np.array([[0, 0, 0], *(np.roll(vertex, k) for vertex in VERTICES for k in range(3))])


def test_a_pair_by_hand():
    pair = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 3.0]])
    well = (2 / 3) ** 12 - 2 * (2 / 3) ** 6
    np.testing.assert_allclose(lennard_jones(distance=2.0, epsilon=0.5, trap=0.0)(pair), well, rtol=1e-12)
    once = lennard_jones(distance=2.0, epsilon=0.5, trap=0.3, ordered_pairs=False)
    np.testing.assert_allclose(once(pair), 0.5 * well + 0.5 * 0.3 * 2 * 1.5**2, rtol=1e-12)
    rest = np.array([[0.0, 0.0], [1.0, 0.0]])
    value, slopes = jax.value_and_grad(lennard_jones(trap=0.0))(rest)
    assert value == -2
    np.testing.assert_allclose(slopes, 0, atol=1e-12)


def test_thirteen_atoms_are_best_as_an_icosahedron():
    energy = lennard_jones(trap=0.0)
    best = minimize_scalar(lambda size: float(energy(size * ICOSAHEDRON)), bracket=(0.4, 0.5, 0.6))
    np.testing.assert_allclose(best.fun, 2 * -44.326801, rtol=1e-7)  # Wales, Doye (1997)
    np.testing.assert_allclose(jax.grad(energy)(best.x * ICOSAHEDRON), 0, atol=1e-3)


def test_moves_turns_and_exchanges_change_nothing():
    rng = np.random.default_rng(0)
    cluster = 0.55 * ICOSAHEDRON + 0.05 * rng.normal(size=(13, 3))
    turned = rng.permutation(cluster) @ Rotation.random(rng=rng).as_matrix().T + 7.0
    np.testing.assert_allclose(lennard_jones()(turned), lennard_jones()(cluster), rtol=1e-10)


def test_slope_and_single_precision():
    rng = np.random.default_rng(1)
    cluster, direction = 0.55 * ICOSAHEDRON + 0.05 * rng.normal(size=(13, 3)), rng.normal(size=(13, 3))
    energy = lennard_jones()
    expected = slope(lambda t: energy(cluster + t * direction), 1e-4)
    exact = jax.grad(energy)(cluster)
    np.testing.assert_allclose(np.vdot(exact, direction), expected, rtol=1e-8)
    single = jax.grad(energy)(jnp.float32(cluster))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, exact, atol=1e-5 * np.abs(exact).max())


def test_coincident_atoms_cost_much_without_a_force():
    value, slopes = jax.value_and_grad(lennard_jones())(jnp.zeros((55, 3), jnp.float32))
    assert np.isfinite(value) and value > 1e12 and not np.any(slopes)


@pytest.mark.parametrize("wrong", [{"epsilon": 0.0}, {"distance": -1.0}, {"trap": -0.5}])
def test_clusters_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="must be positive, and trap not negative"):
        lennard_jones(**wrong)


def test_published_samples_have_the_virial_of_the_doubled_sum():
    if "JAXPHYS_DATA" not in os.environ:
        pytest.skip("published data: JAXPHYS_DATA does not name the folder that holds lj13/lj13_val.npy")
    samples = np.load(Path(os.environ["JAXPHYS_DATA"]) / "lj13" / "lj13_val.npy").reshape(-1, 13, 3)

    def virials(energy):
        return jax.jit(jax.vmap(lambda x: jnp.sum(x * jax.grad(energy)(x))))(samples.astype(np.float64))

    doubled = np.asarray(virials(lennard_jones()))
    assert abs(doubled.mean() - 36) < 2 * doubled.std() / np.sqrt(len(doubled))
    assert np.mean(virials(lennard_jones(ordered_pairs=False))) < 30
