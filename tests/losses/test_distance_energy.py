"""The distance energy and the aligned squared error: closed forms, symmetry, minima, derivatives, padding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_differences import slope
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from jaxphys import losses
from jaxphys.diffusion import VariancePreserving
from jaxphys.energies import elastic_network
from jaxphys.losses import stiffness
from jaxphys.losses.rigid_graph import rigidity_matrix
from jaxphys.superposition import superpose

RNG = np.random.default_rng(0)
ATOMS = 9
TARGET = RNG.normal(size=(ATOMS, 3)) * 1.5
PREDICTION = TARGET + 0.3 * RNG.normal(size=TARGET.shape)
BONDS = np.linalg.norm(TARGET[:, None] - TARGET, axis=-1) < 1.6
EDGES = losses.rigid_graph(ATOMS)
TURN = Rotation.random(rng=RNG).as_matrix()
MIRROR = np.diag([1.0, 1.0, -1.0])

CHOICES = {
    "constant": stiffness.constant,
    "inverse": stiffness.inverse,
    "inverse square": stiffness.inverse_square,
    "exponential": stiffness.exponential,
}
LAWS = {name: functools.partial(losses.distance_energy, stiffness=k) for name, k in CHOICES.items()}
LAWS["sparse"] = functools.partial(losses.distance_energy, edges=EDGES)
LAWS["aligned"] = losses.aligned_mse


@functools.cache
def compiled(law):
    return jax.jit(jax.value_and_grad(lambda r, target, mask: LAWS[law](r, target, mask=mask)))


def evaluate(law, prediction, target=TARGET, mask=None, dtype=np.float64):
    mask = np.ones(len(target), bool) if mask is None else mask
    return compiled(law)(jnp.asarray(prediction, dtype), jnp.asarray(target, dtype), mask)


class TestClosedForms:
    @pytest.mark.parametrize(
        ("choice", "k"),
        [
            (stiffness.constant, 1.0),
            (stiffness.inverse, 5 / 1.5),
            (functools.partial(stiffness.inverse, scale=3.7), 3.7 / 1.5),
            (stiffness.inverse_square, 16 / 2.25),
            (stiffness.exponential, 42 * np.exp(-1.5)),
            (functools.partial(stiffness.exponential, length=2.0), 42 * np.exp(-0.75)),
            (functools.partial(stiffness.bonded, bonds=jnp.ones((2, 2), bool)), 9.0),
            (functools.partial(stiffness.bonded, bonds=jnp.zeros((2, 2), bool)), 4.0),
        ],
    )
    def test_one_spring(self, choice, k):
        target = jnp.array([[0.0, 0.0, 0.0], [1.5, 0.0, 0.0]])
        found = losses.distance_energy(1.2 * target, target, choice)
        np.testing.assert_allclose(found, k * 0.3**2 / 2, rtol=1e-12)

    def test_three_springs_in_the_plane(self):
        target = jnp.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
        prediction = jnp.array([[0.0, 0.0], [4.0, 0.0], [0.0, 3.0]])
        found = losses.distance_energy(prediction, target, stiffness.inverse)
        np.testing.assert_allclose(found, (5 / 3 + 5 / 4 + 0) / 3)
        edges = np.array([0, 1]), np.array([1, 2])
        found = losses.distance_energy(prediction, target, stiffness.inverse, edges=edges)
        np.testing.assert_allclose(found, 5 / 3 / 3)

    @pytest.mark.parametrize("power", [0, 1, 2])
    def test_as_an_elastic_network(self, power):
        choice = (stiffness.constant, stiffness.inverse, stiffness.inverse_square)[power]
        network = elastic_network(TARGET, stiffness=7.0 / 1.2**power, power=float(power))
        found = losses.distance_energy(PREDICTION, TARGET, functools.partial(choice, scale=7.0))
        np.testing.assert_allclose(found, 2 * network(jnp.asarray(PREDICTION)) / ATOMS, rtol=1e-12)

    def test_all_pairs_as_edges_are_the_dense_form(self):
        bonded = stiffness.bonded
        dense = losses.distance_energy(PREDICTION, TARGET, functools.partial(bonded, bonds=BONDS))
        i, j = np.triu_indices(ATOMS, 1)
        sparse = losses.distance_energy(
            PREDICTION, TARGET, functools.partial(bonded, bonds=BONDS[i, j]), edges=(i, j)
        )
        np.testing.assert_allclose(sparse, dense, rtol=1e-12)

    def test_aligned_error_as_scipy_aligns(self):
        moving, fixed = (r - r.mean(axis=0) for r in (PREDICTION @ TURN + 3.0, TARGET))
        _, distance = Rotation.align_vectors(fixed, moving)
        value, _ = evaluate("aligned", PREDICTION @ TURN + 3.0)
        np.testing.assert_allclose(value, distance**2 / ATOMS, rtol=1e-10)

    def test_weights_of_the_levels(self):
        np.testing.assert_allclose(losses.noise_weight(0.5), 4.0)
        sigma, spread = np.array([0.1, 2.0]), 1.2
        expected = (sigma**2 + spread**2) / (sigma * spread) ** 2
        np.testing.assert_allclose(losses.noise_weight(sigma, spread=spread), expected)
        schedule, t = VariancePreserving(), np.array([3, 700])
        kept = schedule.alpha(t) ** 2
        np.testing.assert_allclose(losses.noise_weight(schedule.sigma(t)), kept / (1 - kept), rtol=1e-6)


class TestMinima:
    @pytest.mark.parametrize("law", LAWS)
    def test_rigid_motions_cost_nothing(self, law):
        expected, _ = evaluate(law, PREDICTION)
        assert expected > 1e-3
        np.testing.assert_allclose(evaluate(law, PREDICTION @ TURN + 2.0)[0], expected, rtol=1e-9)
        np.testing.assert_allclose(evaluate(law, PREDICTION, TARGET @ TURN - 1.0)[0], expected, rtol=1e-9)
        value, gradient = evaluate(law, TARGET @ TURN + 2.0)
        np.testing.assert_allclose(value, 0, atol=1e-24)
        np.testing.assert_allclose(gradient, 0, atol=1e-12)

    @pytest.mark.parametrize("law", LAWS)
    def test_mirror_images_cost_nothing_but_where_aligned(self, law):
        value, _ = evaluate(law, TARGET @ MIRROR)
        assert value > 0.1 if law == "aligned" else value < 1e-24
        mirrored, _ = evaluate(law, PREDICTION @ MIRROR, TARGET @ MIRROR)
        np.testing.assert_allclose(mirrored, evaluate(law, PREDICTION)[0], rtol=1e-9)

    @pytest.mark.parametrize("law", ["exponential", "sparse"])
    def test_curvature_at_the_target_is_that_of_springs(self, law):
        """Six rigid motions without, all else with a curvature that makes a minimum."""
        mask = np.ones(ATOMS, bool)
        flat = jax.hessian(lambda x: LAWS[law](x.reshape(-1, 3), TARGET, mask=mask))
        found = np.asarray(flat(jnp.asarray(TARGET.ravel())))
        senders, receivers = EDGES if law == "sparse" else np.triu_indices(ATOMS, 1)
        lengths = np.linalg.norm(TARGET[senders] - TARGET[receivers], axis=1)
        k = np.asarray(CHOICES.get(law, stiffness.exponential)(lengths))
        rows = rigidity_matrix(TARGET, senders, receivers) * np.sqrt(2 * k / ATOMS)[:, None]
        rows /= lengths[:, None]
        np.testing.assert_allclose(found, rows.T @ rows, atol=1e-10)
        values = np.linalg.eigvalsh(found)
        assert np.all(np.abs(values[:6]) < 1e-10) and values[6] > 1e-5

    @pytest.mark.parametrize("law", ["constant", "exponential", "sparse"])
    def test_minimiser_over_noisy_targets_is_their_mean_to_second_order(self, law):
        noise = np.random.default_rng(2).normal(size=(32, ATOMS, 3))

        def distance(sigma):
            targets = jnp.asarray(TARGET + sigma * np.concatenate([noise, -noise]))
            mask = np.ones(ATOMS, bool)
            mean = jax.vmap(lambda r, y: LAWS[law](r, y, mask=mask), (None, 0))
            found = _minima(lambda r: jnp.mean(mean(r, targets)), [TARGET])[0]
            return np.linalg.norm(superpose(found, TARGET) - TARGET)

        wide, narrow = distance(0.02), distance(0.01)
        assert 1e-6 < narrow < 1e-3
        np.testing.assert_allclose(wide / narrow, 4, rtol=0.1)

    @pytest.mark.parametrize("edges", [None, EDGES], ids=["dense", "sparse"])
    def test_zero_energy_is_the_target_or_its_mirror_image(self, edges):
        assert max(_structures_of_zero_energy(edges)) < 1e-4

    def test_zero_energy_of_a_graph_that_is_not_rigid_is_something_else(self):
        ring = np.arange(ATOMS), (np.arange(ATOMS) + 1) % ATOMS
        assert min(_structures_of_zero_energy(ring)) > 0.1


def _structures_of_zero_energy(edges):
    """How far such structures, minimised from random ones, are from the target or its mirror image, in Å."""
    law = functools.partial(losses.distance_energy, target=TARGET, stiffness=stiffness.constant, edges=edges)
    starts = 2 * np.random.default_rng(1).normal(size=(12, *TARGET.shape))
    errors = []
    for found in _minima(law, starts):
        if law(found) < 1e-12:
            both = (superpose(found, image) - image for image in (TARGET, TARGET @ MIRROR))
            errors.append(min(np.max(np.abs(difference)) for difference in both))
    assert len(errors) >= 3
    return errors


def _minima(function, starts):
    slope_of = jax.jit(jax.value_and_grad(lambda x: function(x.reshape(-1, 3))))
    found = [minimize(slope_of, r.ravel(), jac=True, method="BFGS", options={"gtol": 1e-9}) for r in starts]
    return [jnp.asarray(each.x.reshape(-1, 3)) for each in found]


class TestDerivatives:
    @pytest.mark.parametrize("law", LAWS)
    def test_gradient_agrees_with_differences(self, law):
        direction = np.random.default_rng(3).normal(size=TARGET.shape)
        _, gradient = evaluate(law, PREDICTION)
        expected = slope(lambda h: evaluate(law, PREDICTION + h * direction)[0], 1e-3)
        np.testing.assert_allclose(jnp.sum(gradient * direction), expected, rtol=1e-8)

    @pytest.mark.parametrize("law", LAWS)
    @pytest.mark.parametrize("gap", [0.0, 1e-20, 3e-7, 3e-6])
    def test_coincident_atoms_give_finite_derivatives(self, law, gap):
        close = PREDICTION.copy()
        close[1] = close[0] + np.array([gap, 0.0, 0.0])
        for prediction, target in ((close, TARGET), (TARGET, close), (0 * TARGET, TARGET)):
            arrays = jnp.asarray(prediction, jnp.float32), jnp.asarray(target, jnp.float32)
            for leaf in _derivatives(law)(*arrays):
                assert leaf.dtype == jnp.float32
                assert np.all(np.isfinite(leaf))

    @pytest.mark.parametrize("shape", ["point", "line", "plane", "mirrored"])
    def test_aligned_error_of_degenerate_structures(self, shape):
        flat = {"point": [0, 0, 0], "line": [1, 0, 0], "plane": [1, 1, 0], "mirrored": [1, 1, -1]}[shape]
        value, gradient = evaluate("aligned", TARGET * flat)
        assert np.isfinite(value) and np.all(np.isfinite(gradient))

    @pytest.mark.parametrize("law", LAWS)
    def test_padding_is_inert(self, law):
        def padded(array, with_what):
            return np.vstack([array, with_what])

        mask = np.arange(ATOMS + 3) < ATOMS
        value, gradient = evaluate(law, PREDICTION)
        for junk in (np.zeros((3, 3)), 1e3 * TARGET[:3], np.full((3, 3), np.nan)):
            found, slopes = evaluate(law, padded(PREDICTION, junk), padded(TARGET, junk), mask)
            np.testing.assert_allclose(found, value, rtol=1e-12)
            np.testing.assert_allclose(slopes[:ATOMS], gradient, atol=1e-12)
            assert not np.any(slopes[ATOMS:])

    def test_edges_of_padding_are_inert(self):
        mask = np.arange(ATOMS + 2) < ATOMS
        more = np.array([3, 10, 0, 9, 10], np.int32), np.array([3, 10, 9, 2, 9], np.int32)
        edges = tuple(np.concatenate(pair) for pair in zip(EDGES, more, strict=True))
        arrays = (jnp.asarray(np.vstack([r, np.ones((2, 3))])) for r in (PREDICTION, TARGET))
        found = losses.distance_energy(*arrays, mask=mask, edges=edges)
        np.testing.assert_allclose(found, evaluate("sparse", PREDICTION)[0], rtol=1e-12)

    @pytest.mark.parametrize("law", LAWS)
    def test_single_precision_stays_single_and_close(self, law):
        value, gradient = evaluate(law, PREDICTION, dtype=np.float32)
        exact, slopes = evaluate(law, PREDICTION)
        assert value.dtype == gradient.dtype == jnp.float32
        np.testing.assert_allclose(value, exact, rtol=1e-5)
        np.testing.assert_allclose(gradient, slopes, atol=1e-5 * np.max(np.abs(slopes)))


@functools.cache
def _derivatives(law):
    """Value, gradients by both structures, and how they change along a direction."""

    def all_of_them(prediction, target):
        first = jax.value_and_grad(LAWS[law], argnums=(0, 1))
        along = jnp.asarray(TURN[:1], jnp.float32) * jnp.arange(1.0, ATOMS + 1, dtype=jnp.float32)[:, None]
        return jax.tree.leaves(jax.jvp(first, (prediction, target), (along, along[::-1])))

    return jax.jit(all_of_them)


class TestErrors:
    @pytest.mark.parametrize("law", ["exponential", "sparse", "aligned"])
    def test_what_is_no_structure(self, law):
        function = LAWS[law]
        broken = TARGET.copy()
        broken[4, 1] = np.nan
        with pytest.raises(ValueError, match="at least one atom, got shape"):
            function(TARGET[:0], TARGET[:0])
        with pytest.raises(ValueError, match="mask without any"):
            function(TARGET, TARGET, mask=np.zeros(ATOMS, bool))
        with pytest.raises(ValueError, match=r"target must be finite, got \[.*nan.*\] for atom 4"):
            function(TARGET, broken)
        with pytest.raises(ValueError, match="prediction must be finite"):
            function(broken, TARGET)
        assert np.isfinite(function(TARGET, broken, mask=np.arange(ATOMS) < 4))

    def test_under_jit_nan_stays_nan(self):
        assert np.isnan(evaluate("exponential", TARGET, np.full_like(TARGET, np.nan))[0])
