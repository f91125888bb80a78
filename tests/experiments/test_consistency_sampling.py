"""The sampler of the consistency experiment on denoisers in closed form."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import consistency_sampling
from experiments.consistency_sampling import Sampler, sample
from jaxphys.diffusion import centred
from jaxphys.molecule import stack_graphs, to_graph

KEY = jax.random.key(0)
CLEAN = {n: np.asarray(centred(np.random.default_rng(n).normal(size=(n, 3)))) for n in (3, 5)}


def graphs(*sizes, n_node=8):
    """Molecules of these sizes whose clean structures stand in nodes["clean"]."""
    found = []
    for n in sizes:
        graph = to_graph(np.ones(n, int), np.zeros((n, 3), np.float32), n_node=n_node)
        clean = np.pad(CLEAN[n], ((0, n_node - n), (0, 0))).astype(np.float32)
        found.append(graph._replace(nodes=graph.nodes | {"clean": clean}))
    return stack_graphs(found)


def gaussian(width, graph, positions, sigma):
    """The best answer for structures `width` about the clean one."""
    return graph.nodes["clean"] + (positions - graph.nodes["clean"]) * width**2 / (width**2 + sigma**2)


def unsure(params, graph, positions, sigma):
    """Finds the clean structure below 0.5 Å alone, twice of it above."""
    return graph.nodes["clean"] * jnp.where(sigma < params, 1.0, 2.0)


def test_a_sure_denoiser_is_obeyed_and_padding_is_zero():
    found = sample(gaussian, 1e-3, graphs(3, 5), KEY, Sampler())
    assert found.shape == (2, 8, 3) and found.dtype == np.float32
    for positions, n in zip(found, (3, 5), strict=True):
        np.testing.assert_allclose(positions[:n], CLEAN[n], atol=0.01)
        assert not positions[n:].any()


def test_a_structure_is_the_same_alone_and_in_blocks():
    many = graphs(3, 5, 3, 5, 5)
    whole = sample(gaussian, 0.3, many, KEY, Sampler())
    np.testing.assert_allclose(sample(gaussian, 0.3, many, KEY, Sampler(), block=2), whole, atol=1e-6)
    alone = sample(gaussian, 0.3, graphs(3), KEY, Sampler())
    np.testing.assert_allclose(alone[0], whole[0], atol=1e-6)
    assert np.abs(whole[0] - whole[2]).max() > 0.01
    assert np.abs(whole[0] - sample(gaussian, 0.3, many, jax.random.key(1), Sampler())[0]).max() > 0.01


def test_restarts_and_settling_mend_what_the_first_steps_did_wrong():
    """One step from 6 Å ends where all is wrong; a restart asks again at 0.3 Å, or settling at 0.2 Å."""
    rough = Sampler(steps=1, restarts=0, settle=())
    first = sample(unsure, 0.5, graphs(5), KEY, rough)[0, :5]
    np.testing.assert_allclose(first, 2 * CLEAN[5], atol=1e-5)
    for mending in ({"restarts": 1, "settle": ()}, {"restarts": 0, "settle": (0.2,)}):
        mended = sample(unsure, 0.5, graphs(5), KEY, Sampler(steps=1, **mending))[0, :5]
        np.testing.assert_allclose(mended, CLEAN[5], atol=1e-5)


def test_settling_takes_the_spread_out_of_samples():
    """s²/(s² + σ²) of the distance from the minimum is left by each level."""
    sampler = Sampler(restarts=0, settle=())
    before = sample(gaussian, 0.3, graphs(5), KEY, sampler)[0, :5] - CLEAN[5]
    settled = dataclasses.replace(sampler, settle=(0.3, 0.3, 0.6))
    after = sample(gaussian, 0.3, graphs(5), KEY, settled)[0, :5] - CLEAN[5]
    assert np.abs(before).max() > 0.1
    np.testing.assert_allclose(after, before / 2 / 2 / 5, atol=1e-6)


def test_another_key_compiles_nothing_and_calls_are_counted():
    def counted(params, graph, positions, sigma):
        jax.debug.callback(lambda: calls.append(1))
        return gaussian(params, graph, positions, sigma)

    calls, sampler = [], Sampler(steps=4, restarts=2, restart_steps=3, settle=[0.2, 0.1])
    sample(counted, 0.1, graphs(3), KEY, sampler)
    jax.effects_barrier()
    assert len(calls) == sampler.calls == 12 and sampler.settle == (0.2, 0.1)
    before = consistency_sampling._block._cache_size()
    sample(counted, 0.2, graphs(5), jax.random.key(1), sampler)
    assert consistency_sampling._block._cache_size() == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps and restart_steps must be at least 1"),
        ({"restarts": -1}, "restarts not negative, got 12, 6 and -1"),
        ({"sigma_min": 0.4}, "below sigma_max and restart_sigma, got 0.4, 6.0 and 0.3 Å"),
        ({"settle": (0.1, 0.0)}, r"levels to settle at must be positive, got \(0\.1, 0\.0\) Å"),
        ({"settle": (float("nan"),)}, r"levels to settle at must be positive, got \(nan,\) Å"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Sampler(**settings)


def test_a_block_of_nothing():
    with pytest.raises(ValueError, match="block must be at least 1, got 0"):
        sample(gaussian, 0.1, graphs(3), KEY, Sampler(), block=0)
