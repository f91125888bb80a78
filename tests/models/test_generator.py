"""The network that makes molecules: symmetries, padding, limits, gradients, errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jaxphys.models import GeneratorConfig, MoleculeGenerator, typed_denoise_fn, typed_graph
from jaxphys.roles import TypedAtoms, TypedDenoiseFunction

CONFIG = GeneratorConfig(species=(1, 6, 8), channels=6, layers=2, type_scale=0.8)
MODEL = MoleculeGenerator(CONFIG)
ROTATION = Rotation.from_rotvec([1.0, 0.4, -2.0]).as_matrix()
MIRROR = ROTATION @ np.diag([1.0, 1.0, -1.0])
RNG = np.random.default_rng(0)
N, NODES = 5, 7
POSITIONS, TYPES = RNG.normal(scale=1.5, size=(N, 3)), RNG.normal(size=(N, 3))


def padded(positions=POSITIONS, types=TYPES, nodes=NODES, filler=0.0):
    rows = ((0, nodes - len(positions)), (0, 0))
    pad = functools.partial(jnp.pad, pad_width=rows, constant_values=filler)
    return TypedAtoms(pad(jnp.asarray(positions)), pad(jnp.asarray(types))), jnp.arange(nodes) < len(
        positions
    )


@functools.cache
def params():
    """Every weight random and in float64, so that no path is silent."""
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0), typed_graph(*padded()), 1.0)
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape) / np.sqrt(x.shape[0])), shapes)


@jax.jit
def program(params, atoms, mask, sigma):
    return MODEL.apply(params, typed_graph(atoms, mask), sigma)


def solve(atoms, mask, sigma):
    return program(params(), atoms, mask, sigma)


@jax.jit
@jax.grad
def gradient(params, atoms, mask, sigma):
    positions, logits = MODEL.apply(params, typed_graph(atoms, mask), sigma)
    return jnp.sum(positions**2) + jnp.sum(logits**2)


def answer(*arguments, sigma=0.7, **options):
    atoms, mask = padded(*arguments, **options)
    positions, logits = solve(atoms, mask, sigma)
    return np.asarray(positions[: mask.sum()]), np.asarray(logits[: mask.sum()])


class TestSymmetry:
    @pytest.mark.parametrize("matrix", [ROTATION, MIRROR])
    def test_turned_mirrored_and_moved(self, matrix):
        positions, logits = answer()
        turned, same = answer(POSITIONS @ matrix.T + np.array([3.0, -1.0, 2.0]), TYPES)
        np.testing.assert_allclose(turned, positions @ matrix.T, atol=1e-10)
        np.testing.assert_allclose(same, logits, atol=1e-10)
        np.testing.assert_allclose(positions.mean(axis=0), 0, atol=1e-12)

    def test_order_of_atoms(self):
        order = RNG.permutation(N)
        for one, other in zip(answer(POSITIONS[order], TYPES[order]), answer(), strict=True):
            np.testing.assert_allclose(one, other[order], atol=1e-10)

    def test_padding(self):
        for filler in (0.0, 5.0):
            for one, other in zip(answer(filler=filler), answer(nodes=N), strict=True):
                np.testing.assert_allclose(one, other, atol=1e-10)
        atoms, mask = padded(filler=5.0)
        for part in solve(atoms, mask, 0.7):
            assert not part[N:].any()

    def test_elements_and_noise_and_the_number_of_atoms_are_seen(self):
        positions, _ = answer()
        # too far away for a message to arrive by more than 1e-5
        far = np.r_[POSITIONS, [[1e3, 0, 0]]], np.r_[TYPES, TYPES[:1]]
        for other in (
            answer(POSITIONS, TYPES[:, ::-1])[0],
            answer(POSITIONS, TYPES, sigma=0.75)[0],
            answer(*far)[0][:N],
        ):
            assert np.abs((other - other[0]) - (positions - positions[0])).max() > 1e-3


class TestLimits:
    def test_little_noise_changes_little(self):
        positions, logits = answer(sigma=1e-4)
        np.testing.assert_allclose(positions, POSITIONS - POSITIONS.mean(axis=0), atol=1e-2)
        clean = CONFIG.type_scale * np.eye(3)[[0, 1, 2, 1, 0]]
        _, logits = answer(POSITIONS, clean, sigma=1e-3)
        assert (np.argmax(logits, axis=-1) == [0, 1, 2, 1, 0]).all()

    @pytest.mark.parametrize("positions", [np.zeros((N, 3)), 1e3 * POSITIONS])
    def test_gradients_are_finite(self, positions):
        for leaf in jax.tree.leaves(gradient(params(), *padded(positions), 6.0)):
            assert np.isfinite(leaf).all()

    def test_one_atom_alone_stays(self):
        positions, logits = answer(np.zeros((1, 3)), TYPES[:1])
        np.testing.assert_array_equal(positions, 0)
        assert np.isfinite(logits).all()


def test_denoise_function():
    atoms, mask = padded()
    denoise = jax.jit(typed_denoise_fn(MODEL, params(), mask))
    assert isinstance(typed_denoise_fn(MODEL, params(), mask), TypedDenoiseFunction)
    found = denoise(atoms, 0.7)
    positions, logits = answer()
    np.testing.assert_allclose(found.positions[:N], positions, atol=1e-10)
    np.testing.assert_allclose(found.types[:N], CONFIG.type_scale * jax.nn.softmax(logits), atol=1e-10)
    assert not found.types[N:].any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"species": ()}, "species must be different"),
        ({"species": (1, 1)}, "species must be different"),
        ({"species": (0, 1)}, "species must be different"),
        ({"channels": 0}, "channels must be positive, got 0"),
        ({"type_scale": -1.0}, "type_scale must be positive, got -1.0"),
    ],
)
def test_what_cannot_be_built(settings, message):
    with pytest.raises(ValueError, match=message):
        GeneratorConfig(**{"species": (1, 6), **settings})
