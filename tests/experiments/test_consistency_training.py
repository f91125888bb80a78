"""The laws of the consistency experiment as one loss: what each moves, where it holds, padding, labels."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.consistency_data import Examples
from experiments.consistency_presets import ARMS, PRESETS, Weights
from experiments.consistency_training import (
    CONSISTENCY,
    _noise_levels,
    _shares,
    arm_loss,
    initial_params,
)
from jaxphys.data import bond_graph, embed_conformers, parse_smiles, positions_of
from jaxphys.models import DenoiserConfig
from jaxphys.molecule import stack_graphs

CONFIG = DenoiserConfig(species=(1, 6, 8), channels=4, layers=1, radial=3, hidden=4)
KEY = jax.random.key(4)
EVERYWHERE = {f"{law}_noise": (0.3, 0.9) for law in CONSISTENCY}
WEIGHTS = Weights(structure=0.7, energy=1.3, optimality=1.9, score=0.4, proximal=3.0)
PRESET = dataclasses.replace(PRESETS["smoke"], weights=WEIGHTS, noise=(0.3, 0.9), torsion_noise=(0.3, 0.9))
PRESET = dataclasses.replace(PRESET, **EVERYWHERE)


def batch(n_node=12):
    """Four examples in double precision, with labels that only the test can want."""
    rng, graphs, displaced, forces = np.random.default_rng(0), [], [], []
    for smiles in ("CO", "CCO", "O", "C=O"):
        mol = parse_smiles(smiles)
        own = positions_of(embed_conformers(mol, 1, seed=0))[0]
        own -= own.mean(axis=0)
        graphs.append(bond_graph(mol, own, n_node=n_node, n_edge=(n_node - 1) * (n_node - 2)))
        padding = ((0, 0), (0, n_node - len(own)), (0, 0))
        displaced.append(np.pad(own + 0.05 * rng.normal(size=(3, *own.shape)), padding))
        forces.append(np.pad(rng.normal(size=(3, *own.shape)), padding))
    graph = jax.tree.map(jnp.asarray, stack_graphs(graphs))
    energy, low = rng.normal(size=(2, 4, 3))
    return Examples(graph, graph.nodes["numbers"] > 0, *map(jnp.asarray, (displaced, energy, forces, low)))


@pytest.fixture(scope="module")
def params():
    """In double precision; the heads' first answers are not zero."""
    return jax.tree.map(lambda leaf: leaf.astype(float), initial_params(CONFIG, batch(), 0))


def moved(gradient):
    """By group of parameters, whether anything in it is."""
    return {name: any(np.any(leaf) for leaf in jax.tree.leaves(own)) for name, own in gradient.items()}


def test_consistency_moves_the_structure_and_never_the_energy(params):
    """Nor do labels of energy move the structure; the loss is the weighted sum of all."""
    loss = arm_loss(CONFIG, PRESET, ("structure", "energy", *CONSISTENCY))

    def values(params):
        total, count, sums = loss(params, batch(), KEY)
        return {"total": total, **sums}, (count, {"total": total, **sums})

    gradients, (count, found) = jax.jit(jax.jacrev(values, has_aux=True))(params)
    gradients = {law: own["params"] for law, own in gradients.items()}
    assert count == 4 and set(found) == {"total", "structure", "energy", *CONSISTENCY}
    for law in ("structure", *CONSISTENCY):
        assert moved(gradients[law]) == {"encoder": True, "structure": True, "energy": False}, law
    assert moved(gradients["energy"]) == {"encoder": True, "structure": False, "energy": True}
    weights = {law: 1.0 if law == "energy" else getattr(WEIGHTS, law) for law in found if law != "total"}
    for whole, parts in ((found, found), (gradients, gradients)):
        added = [jax.tree.map(lambda leaf, w=w: w * leaf, parts[law]) for law, w in weights.items()]
        added = jax.tree.map(lambda *leaves: sum(leaves), *added)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10), whole["total"], added
        )


def test_each_law_has_its_own_examples_at_its_own_noise():
    """And the other half of the batch has that of the denoising loss."""
    preset = dataclasses.replace(
        PRESET,
        noise=(2.0, 4.0),
        torsion_noise=(2.0, 4.0),
        optimality_noise=(0.2, 0.3),
        score_noise=(0.01, 0.02),
    )
    shares = _shares(16, ("optimality", "score"))
    assert shares == {"optimality": slice(0, 4), "score": slice(4, 8)}
    draws = jax.vmap(lambda key: _noise_levels(preset, shares, 16, key))(jax.random.split(KEY, 100))
    for own, (low, high) in ((slice(0, 4), (0.2, 0.3)), (slice(4, 8), (0.01, 0.02)), (slice(8, 16), (2, 4))):
        assert low <= draws[:, own].min() < 1.1 * low and 0.9 * high < draws[:, own].max() <= high


def test_more_laws_than_examples_are_refused():
    with pytest.raises(ValueError, match="3 laws"):
        _shares(2, CONSISTENCY)


def test_padding_changes_no_loss(params):
    """No random number either: those of an atom are of its index."""
    laws = ("structure", "energy", "proximal")
    loss = jax.jit(arm_loss(CONFIG, PRESET, laws))
    one, other = (loss(params, batch(n_node), KEY) for n_node in (12, 16))
    assert set(one[2]) == set(laws) and all(one[2].values())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), one, other)


@pytest.mark.parametrize(("arm", "own"), [("multitask", "energy"), ("control", "low_energy")])
def test_an_arm_learns_from_its_own_labels_alone(params, arm, own):
    examples = batch()
    loss = jax.jit(arm_loss(CONFIG, PRESET, ARMS[arm]))
    before = loss(params, examples, KEY)[0]
    for name in ("energy", "low_energy", "forces"):
        changed = dataclasses.replace(examples, **{name: getattr(examples, name) + 1.0})
        assert (loss(params, changed, KEY)[0] != before) == (name == own)


def test_noise_is_drawn_from_both_ranges():
    preset = dataclasses.replace(PRESET, noise=(0.02, 8.0), torsion_noise=(0.1, 2.0))
    sigmas = np.asarray(_noise_levels(preset, {}, 4000, KEY))
    assert 0.02 <= sigmas.min() < 0.03 and 6 < sigmas.max() <= 8
    # ln 20 of the ln 400 of the whole
    inside = 0.6 + 0.4 * np.log(20) / np.log(400)
    found = np.mean((sigmas > 0.1) & (sigmas < 2.0))
    assert abs(found - inside) < 3.5 * np.sqrt(inside * (1 - inside) / 4000)
