"""The network for spins: lattice and graph alike, its symmetries, padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.data import from_lattice, lattice_reference, random_lattices, spin_graph
from jaxphys.models import SpinConfig, SpinModel

SIZES = {"channels": 8, "layers": 3}
LATTICES = random_lattices(1, 5, 4, seed=0)


def logits_of(right, down, pinned=False, strongest=True, seed=0):
    model = SpinModel(SpinConfig(**SIZES, pinned=pinned))
    reference = lattice_reference(right, down, strongest=strongest)
    arrays = [jnp.asarray(part[0], jnp.float64) for part in (right, down, reference)]

    @jax.jit
    def run(*arrays):
        params = model.init(jax.random.key(seed), *arrays, method="lattice")
        params = jax.tree.map(lambda leaf: leaf + 0.1, params)  # biases too
        return params, model.apply(params, *arrays, method="lattice")

    return run(*arrays)


@pytest.mark.parametrize("pinned", [True, False])
def test_a_lattice_is_a_graph_and_padding_is_inert(pinned):
    params, expected = logits_of(*LATTICES, pinned=pinned)
    glass, model = (
        from_lattice(*(part[0] for part in LATTICES)),
        SpinModel(SpinConfig(**SIZES, pinned=pinned)),
    )
    apply = jax.jit(model.apply)
    for sizes in ({}, {"n_node": 25, "n_edge": 80}):
        graph = jax.tree.map(jnp.asarray, spin_graph(glass, **sizes))
        np.testing.assert_allclose(apply(params, graph)[:20], expected.ravel(), rtol=1e-4, atol=1e-5)


def test_logits_follow_a_gauge_transformation():
    right, down = LATTICES
    signs = np.random.default_rng(1).choice([1, -1], size=right.shape)
    turned_right, turned_down = right.copy(), down.copy()
    turned_right[:, :, :-1] *= signs[:, :, :-1] * signs[:, :, 1:]
    turned_down[:, :-1] *= signs[:, :-1] * signs[:, 1:]
    _, before = logits_of(right, down)
    _, after = logits_of(turned_right, turned_down)
    np.testing.assert_allclose(after, before * (signs * signs[:, :1, :1])[0], rtol=1e-9)
    assert np.abs(before).min() > 1e-6


def test_logits_follow_a_reflection_of_the_lattice():
    right, down = LATTICES
    reflected = np.roll(right[:, :, ::-1], -1, axis=2), down[:, :, ::-1]
    _, before = logits_of(right, down)
    _, after = logits_of(*reflected)
    sign = np.sign(after[0, 0] * before[0, -1])
    np.testing.assert_allclose(after, sign * before[:, ::-1], rtol=1e-9)


def test_a_pinned_corner_breaks_that_symmetry():
    right, down = LATTICES
    reflected = np.roll(right[:, :, ::-1], -1, axis=2), down[:, :, ::-1]
    one, other = (logits_of(*lattice, pinned=True)[1] for lattice in (LATTICES, reflected))
    assert not np.allclose(np.abs(one), np.abs(other[:, ::-1]), rtol=1e-3)


def test_sizes_below_one_are_refused():
    with pytest.raises(ValueError, match="at least 1, got 0 and 3"):
        SpinConfig(channels=0, layers=3)
