"""Metrics of energy functions: labels, superposition, and minima found back, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jaxphys.metrics import (
    Recovery,
    energy_metrics,
    mean_displacement,
    perturb_and_relax,
    summarise_recovery,
    superpose,
)
from jaxphys.relaxation import Status

RNG = np.random.default_rng(0)
SHAPE = RNG.normal(size=(6, 3))
MASK = np.arange(8) < 6
PADDED = np.vstack([SHAPE, 1e3 * RNG.normal(size=(2, 3))])


def springs(stiffness, positions):
    """½ k Σ|r|²."""
    return 0.5 * stiffness * jnp.sum(positions**2)


def test_energy_and_forces_by_hand():
    positions, forces = jnp.array([[3.0, 0, 4.0], [0, 1.0, 0]]), jnp.array([[-3.0, 0, -1.0], [0, -1.0, 4.0]])
    metrics = energy_metrics(lambda r: springs(1.0, r), positions, 10.0, forces)
    # E = 13; the forces −r deviate by (0, 0, −3) and (0, 0, −4)
    expected = {"energy_mae": 3.0, "energy_mae_per_atom": 1.5, "force_mae": 7 / 6, "force_norm_mae": 3.5}
    assert {name: float(value) for name, value in metrics.items()} == pytest.approx(expected, rel=1e-14)
    mask = jnp.array([True, False])
    masked = energy_metrics(
        lambda r: springs(1.0, r[:1]), positions, 10.0, forces.at[1].set(jnp.nan), mask=mask
    )
    assert {name: float(value) for name, value in masked.items()} == pytest.approx(
        {"energy_mae": 2.5, "energy_mae_per_atom": 2.5, "force_mae": 1.0, "force_norm_mae": 3.0}, rel=1e-14
    )


@pytest.mark.parametrize(
    "shape", [SHAPE, SHAPE * [1, 1, 0], SHAPE * [1, 0, 0]], ids=["body", "plane", "line"]
)
def test_rigid_motion_is_removed(shape):
    moved = shape @ Rotation.random(rng=RNG).as_matrix().T + RNG.normal(size=3)
    np.testing.assert_allclose(superpose(moved, shape), shape, atol=1e-12)
    assert mean_displacement(moved, shape) < 1e-12


@pytest.mark.parametrize("mirror", [1, -1])
def test_superposition_is_that_of_scipy(mirror):
    other = mirror * (SHAPE + 0.1 * RNG.normal(size=SHAPE.shape))
    fixed = SHAPE - SHAPE.mean(axis=0)
    rotation, _ = Rotation.align_vectors(fixed, other - other.mean(axis=0))
    expected = rotation.apply(other - other.mean(axis=0)) + SHAPE.mean(axis=0)
    np.testing.assert_allclose(superpose(other, SHAPE), expected, atol=1e-10)
    # a mirror image of a body is another one
    assert (mean_displacement(other, SHAPE) > 0.25) == (mirror < 0)


def test_padding_does_not_weigh_in_a_superposition():
    other = SHAPE + 0.1 * RNG.normal(size=SHAPE.shape)
    padded = np.vstack([other, -1e3 * RNG.normal(size=(2, 3))])
    found = superpose(padded, PADDED, mask=MASK)
    np.testing.assert_allclose(found[:6], superpose(other, SHAPE), atol=1e-10)
    np.testing.assert_array_equal(found[6:], PADDED[6:])
    np.testing.assert_allclose(
        mean_displacement(padded, PADDED, mask=MASK), mean_displacement(other, SHAPE), rtol=1e-10
    )


def elastic(shape, positions):
    """Springs between all pairs, at rest in the shape; no preferred place or direction."""
    i, j = np.triu_indices(len(positions), 1)
    length, rest = (jnp.linalg.norm(r[i] - r[j], axis=-1) for r in (positions, shape))
    return jnp.sum(5 * (length - rest) ** 2)


MINIMA = np.stack([SHAPE, 1.1 * SHAPE, 0.9 * SHAPE])
NOISE = 0.05 * RNG.normal(size=MINIMA.shape)
SETTINGS = {"fmax": 1e-4}


def test_a_perfect_energy_finds_every_minimum_back():
    # turned as a whole beside the noise: the energy cannot know, and the metric does not mind
    turned = MINIMA @ Rotation.from_rotvec([0.3, -0.2, 0.5]).as_matrix().T + 1.0 - MINIMA
    summary = summarise_recovery(perturb_and_relax(elastic, MINIMA, MINIMA, NOISE + turned, **SETTINGS))
    assert summary.good == 1 and summary.bad == 0 and not summary.exploded and not summary.not_converged
    assert summary.displacement < 1e-4 and summary.displacement_ratio < 1e-2
    assert summary.energy_change < 1e-3


def test_a_shifted_minimum_is_measured():
    # the model's minimum is 2 % larger than the label
    recovery = perturb_and_relax(elastic, 1.02 * MINIMA, MINIMA, NOISE, **SETTINGS)
    expected = [mean_displacement(1.02 * shape, shape) for shape in MINIMA]
    np.testing.assert_allclose(recovery.displacement, expected, atol=1e-4)
    change = [-1e3 * elastic(1.02 * shape, shape) for shape in MINIMA]
    np.testing.assert_allclose(recovery.energy_change, change, rtol=1e-4)


def test_a_constant_energy_recovers_nothing():
    recovery = perturb_and_relax(lambda _, r: 0.0 * jnp.sum(r), MINIMA, MINIMA, NOISE)
    summary = summarise_recovery(recovery)
    np.testing.assert_array_equal(recovery.displacement, recovery.perturbation)
    assert summary.displacement_ratio == 1 and summary.energy_change == 0
    assert summary.displacement < 0.1 and np.all(recovery.steps == 0)


def test_padding_is_inert():
    def grown(array, value):
        return np.concatenate([array, np.full((3, 2, 3), value)], axis=1)

    mask = np.broadcast_to(MASK, (3, 8))
    given = grown(MINIMA, 0.0), grown(MINIMA, 50.0), grown(NOISE, 9.0)
    found = perturb_and_relax(lambda shape, r: elastic(shape[:6], r[:6]), *given, mask=mask, **SETTINGS)
    alone = perturb_and_relax(elastic, MINIMA, MINIMA, NOISE, **SETTINGS)
    for padded, bare in zip(found, alone, strict=True):
        np.testing.assert_allclose(padded, bare, atol=1e-9)


def test_explosions_are_named_and_not_averaged():
    recovery = Recovery(
        energy_change=np.array([-2.0, 4.0, -1e6, 6.0]),
        displacement=np.array([0.075, 0.2, 0.01, 0.4]),
        perturbation=np.array([0.1, 0.3, 0.1, 0.5]),
        steps=np.array([3, 4, 1, 500]),
        status=np.array([Status.CONVERGED, Status.CONVERGED, Status.EXPLODED, Status.NOT_CONVERGED]),
    )
    summary = summarise_recovery(recovery, ["water", "ammonia", "methane", "ethane"])
    assert summary.exploded == ("methane",) and summary.not_converged == 1 and summary.molecules == 4
    assert (summary.good, summary.bad) == (0.25, 0.5)
    np.testing.assert_allclose(summary.energy_change, 4.0)
    np.testing.assert_allclose(summary.displacement, 0.675 / 3)
    np.testing.assert_allclose(summary.displacement_ratio, 0.675 / 0.9)
    assert summarise_recovery(recovery).exploded == ("2",)


def test_all_exploded():
    one = jax.tree.map(lambda x: np.array([x]), Recovery(0.0, 0.1, 0.1, 1, int(Status.EXPLODED)))
    summary = summarise_recovery(one)
    assert np.isnan(summary.displacement) and np.isnan(summary.displacement_ratio) and summary.bad == 1


def test_names_belong_to_molecules():
    one = Recovery(*[np.zeros(2)] * 5)
    with pytest.raises(ValueError, match="2 molecules, at least 1 needed, with 1 names"):
        summarise_recovery(one, ["water"])
