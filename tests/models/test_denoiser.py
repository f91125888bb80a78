"""The denoiser and the energy beside it: symmetries, handedness, padding, limits, gradients, errors."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_differences import slope
from rdkit import Chem
from scipy.spatial.transform import Rotation

from jaxphys.data import bond_graph, embed_conformers, parse_smiles, positions_of
from jaxphys.models import (
    Denoiser,
    DenoiserConfig,
    EnergyConfig,
    EnergyModel,
    MultiTask,
    check_species,
    denoise_fn,
    energy_fn,
    reference_energy,
)
from jaxphys.molecule import stack_graphs, to_graph
from jaxphys.roles import DenoiseFunction, EnergyFunction

CONFIG = DenoiserConfig(
    species=(1, 6, 8), reference=(-0.3, 0.2, 0.5), channels=6, layers=2, hidden=5, scale=0.7, shift=0.2
)
MODEL = MultiTask(CONFIG)
NODES = 14
ROTATION = Rotation.from_rotvec([1.0, 0.4, -2.0]).as_matrix()
MIRROR = ROTATION @ np.diag([1.0, 1.0, -1.0])


@functools.cache
def _molecule(smiles):
    """The graph and (n, 3) in Å about their mean."""
    mol = parse_smiles(smiles)
    positions = positions_of(embed_conformers(mol, 1, seed=1, method=None))[0]
    return mol, positions - positions.mean(axis=0)


MOL, REST = _molecule("C/C=C/[C@H](O)[O-]")  # a chiral anion with a double bond
N = len(REST)
NOISY = REST + 0.4 * np.random.default_rng(0).normal(size=REST.shape)


def _graph(positions=REST, n_node=NODES, mol=MOL, **options):
    return jax.tree.map(jnp.asarray, bond_graph(mol, positions, n_node=n_node, **options))


def _at(graph, positions):
    padded = jnp.zeros_like(graph.nodes["positions"]).at[: len(positions)].set(positions)
    return graph._replace(nodes={**graph.nodes, "positions": padded})


@functools.cache
def _params(config=CONFIG):
    """Every weight random and in float64, so that no path is silent."""
    shapes = jax.eval_shape(MultiTask(config).init, jax.random.key(0), _graph(), 1.0)
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape) / np.sqrt(x.shape[0])), shapes)


@jax.jit
def _program(params, graph, sigma):
    return MODEL.apply(params, graph, sigma)


def _both(graph, sigma=0.6, dtype=np.float64):
    graph = jax.tree.map(lambda x: x.astype(dtype) if x.dtype.kind == "f" else x, graph)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), _params())
    structure, energy = _program(params, graph, jnp.asarray(sigma, dtype))
    assert structure.dtype == dtype and energy.dtype == dtype
    return np.asarray(structure), np.asarray(energy)


def _turned_over(graph):
    """The graph of the mirror image: two corners of each tetrahedron exchanged."""
    return graph._replace(
        nodes={**graph.nodes, "tetrahedron": graph.nodes["tetrahedron"][:, jnp.array([1, 0, 2, 3])]}
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-12)])
@pytest.mark.parametrize("turn", [ROTATION, MIRROR, -np.eye(3)])
def test_structure_turns_and_energy_stays(turn, dtype, tolerance):
    """Also under translation; mirror images with tetrahedra turned over, and not without."""
    graph = _graph()
    before, energy = _both(_at(graph, NOISY), dtype=dtype)
    turned = _at(graph, NOISY @ turn.T + 0.3)
    improper = np.linalg.det(turn) < 0
    after, same = _both(_turned_over(turned) if improper else turned, dtype=dtype)
    scale = np.abs(before).max()
    np.testing.assert_allclose(after, before @ turn.T, rtol=0, atol=3 * tolerance * scale)
    np.testing.assert_allclose(same, energy, rtol=10 * tolerance)
    if improper:
        wrong, other = _both(turned, dtype=dtype)
        assert np.abs(wrong - before @ turn.T).max() > 0.01 * scale and abs(other - energy) > 1e-3


def test_enantiomers_differ_from_the_same_noise():
    graph = _graph()
    (one, energy), (other, another) = (_both(_at(g, NOISY)) for g in (graph, _turned_over(graph)))
    assert np.abs(one - other).max() > 0.01 and abs(energy - another) > 1e-3


@pytest.mark.parametrize("name", ["bond", "separation", "planar"])
def test_bonds_matter(name):
    """As does their direction: the answer is another one with a table of other values."""
    graph = _at(_graph(), NOISY)
    changed = {**graph.edges, name: jnp.where(graph.edges[name] == 1, 2, graph.edges[name])}
    (one, energy), (other, another) = _both(graph), _both(graph._replace(edges=changed))
    assert np.abs(one - other).max() > 1e-3 and abs(energy - another) > 1e-4


def test_order_of_atoms_only_orders_the_structure():
    order = np.random.default_rng(1).permutation(N)
    shuffled = Chem.RenumberAtoms(MOL, order.tolist())
    structure, energy = _both(_at(_graph(), NOISY))
    ordered, same = _both(_at(_graph(REST[order], mol=shuffled), NOISY[order]))
    np.testing.assert_allclose(ordered[:N], structure[order], rtol=0, atol=1e-12)
    np.testing.assert_allclose(same, energy, rtol=1e-12)


def test_padding_is_inert_alone_and_in_a_batch():
    structure, energy = _both(_at(_graph(n_node=N + 1), NOISY))
    padded, same = _both(_at(_graph(), NOISY))
    np.testing.assert_allclose(padded[:N], structure[:N], rtol=0, atol=1e-13)
    np.testing.assert_allclose(same, energy, rtol=1e-13)
    assert not padded[N:].any()
    away = _at(_graph(), NOISY)
    away = away._replace(nodes={**away.nodes, "positions": away.nodes["positions"].at[N:].set(7.0)})
    np.testing.assert_array_equal(_both(away)[0], padded)

    small, rest = _molecule("CO")
    water = _graph(rest, mol=small)
    batch = jax.tree.map(jnp.asarray, stack_graphs([_at(_graph(), NOISY), water]))
    structures, energies = jax.vmap(_program, in_axes=(None, 0, None))(_params(), batch, 0.6)
    alone = _both(water)
    np.testing.assert_allclose(structures, [padded, alone[0]], rtol=0, atol=1e-13)
    np.testing.assert_allclose(energies, [energy, alone[1]], rtol=1e-13)


def test_structure_has_its_mean_at_zero():
    structure, _ = _both(_at(_graph(), NOISY + 5.0), sigma=3.0)
    np.testing.assert_allclose(structure[:N].mean(axis=0), 0.0, atol=1e-14)


def test_structure_tends_to_the_positions_without_noise():
    centred = NOISY - NOISY.mean(axis=0)
    errors = [np.abs(_both(_at(_graph(), NOISY), sigma=s)[0][:N] - centred).max() for s in (0.0, 1e-4, 2e-4)]
    assert errors[0] < 1e-14 and 1.9 < errors[2] / errors[1] < 2.1


@pytest.mark.parametrize("sigma", [0.0, 1e-3, 0.1, 1.0, 20.0])
def test_single_precision_keeps_up_at_every_noise_level(sigma):
    noisy = REST + sigma * np.random.default_rng(3).normal(size=REST.shape)
    (single, energy), (double, exact) = (
        _both(_at(_graph(), noisy), sigma, dtype) for dtype in (np.float32, np.float64)
    )
    np.testing.assert_allclose(single, double, rtol=0, atol=1e-4 * np.abs(double).max())
    np.testing.assert_allclose(energy, exact, rtol=1e-4)


def test_an_untrained_network_of_default_size_answers_thirty_atoms_by_ordinary_numbers():
    """Sums over all pairs that grow from round to round gave 10²³ eV, and structures of NaN."""
    model, mol = MultiTask(DenoiserConfig(species=(1, 6, 8))), parse_smiles("CCCCCCCCCO")
    graph = jax.tree.map(jnp.asarray, bond_graph(mol))
    params = jax.jit(model.init)(jax.random.key(0), graph, 1.0)
    noise = 6 * np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    structure, energy = jax.jit(model.apply)(params, _at(graph, noise), jnp.float32(6.0))
    lengths = np.linalg.norm(structure[:30], axis=1)
    assert lengths.min() > 1e-3 and lengths.max() < 5 and abs(energy) < 30


def test_atoms_far_apart_know_nothing_of_each_other():
    """Not even by their bonds, which no distance changes."""
    graph = _graph()
    changed = {**graph.edges, "bond": jnp.where(graph.edges["bond"] == 1, 2, graph.edges["bond"])}
    for scale, matters in ((1.0, True), (1e5, False)):
        here, there = (_both(_at(g, scale * REST))[1] for g in (graph, graph._replace(edges=changed)))
        assert (abs(here - there) > 1e-6) == matters


def test_gradients_are_slopes():
    """Of the energy by the positions, and of a sum over the structure by positions and noise level."""
    graph = _graph()
    energy, denoise = energy_fn(MODEL, _params(), graph), denoise_fn(MODEL, _params(), graph)
    direction = np.random.default_rng(4).normal(size=(N, 3))
    weights = np.random.default_rng(5).normal(size=(N, 3))

    def total(positions, sigma):
        return energy(positions), jnp.sum(weights * denoise(positions, sigma))

    found = jax.jit(jax.jacrev(total, argnums=(0, 1)))(NOISY, 0.6)
    values = jax.jit(total)
    for i, (by_positions, by_sigma) in enumerate(found):
        expected = slope(lambda h, i=i: float(values(NOISY + h * direction, 0.6)[i]), 1e-3)
        assert abs(expected) > 0.1
        np.testing.assert_allclose(np.sum(by_positions * direction), expected, rtol=1e-6)
        if i:
            expected = slope(lambda h: float(values(NOISY, 0.6 + h)[1]), 1e-3)
            np.testing.assert_allclose(by_sigma, expected, rtol=1e-6)


def test_coincident_atoms_have_finite_values_and_gradients():
    """In float32: all atoms in one place, two there, two nearly; also of a loss on forces."""
    graph = _graph(REST.astype(np.float32))
    params = jax.tree.map(lambda leaf: leaf.astype(np.float32), _params())
    close = REST.astype(np.float32).copy()
    close[1], close[2] = close[0], close[3] + np.float32(1e-7)

    @jax.jit
    @functools.partial(jax.value_and_grad, argnums=(0, 1))
    def loss(params, positions):
        energy, gradient = jax.value_and_grad(energy_fn(MODEL, params, graph))(positions)
        return energy + jnp.sum(gradient**2) + jnp.sum(denoise_fn(MODEL, params, graph)(positions, 0.5) ** 2)

    for positions in (close, np.zeros_like(close)):
        value, gradients = loss(params, positions)
        assert np.isfinite(value) and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_every_parameter_matters_and_each_head_only_to_its_own():
    graph = _at(_graph(), NOISY)

    def heads(params):
        structure, energy = MODEL.apply(params, graph, 0.6)
        return jnp.sum(structure**2), energy

    by_structure, by_energy = (gradients["params"] for gradients in jax.jit(jax.jacrev(heads))(_params()))
    assert set(by_structure) == {"encoder", "structure", "energy"}
    moved = {
        (head, group): [bool(np.any(leaf)) for leaf in jax.tree.leaves(gradients[group])]
        for head, gradients in (("structure", by_structure), ("energy", by_energy))
        for group in gradients
    }
    assert all(moved["structure", "encoder"]) and all(moved["structure", "structure"])
    assert all(moved["energy", "energy"]) and not any(moved["structure", "energy"])
    # the last round's vectors end in the structure
    assert sum(moved["energy", "encoder"]) >= len(moved["energy", "encoder"]) - 1
    assert not any(moved["energy", "structure"])


def test_a_denoiser_is_the_structure_of_a_multi_task_model():
    params = {"params": {k: v for k, v in _params()["params"].items() if k != "energy"}}
    shapes = jax.eval_shape(Denoiser(CONFIG).init, jax.random.key(0), _graph(), 1.0)
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, params)
    graph = _graph()
    functions = [denoise_fn(Denoiser(CONFIG), params, graph), denoise_fn(MODEL, _params(), graph)]
    one, other = (jax.jit(function)(jnp.asarray(NOISY), 0.6) for function in functions)
    assert one.shape == (N, 3) and isinstance(functions[0], DenoiseFunction)
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-13)
    np.testing.assert_allclose(one, _both(_at(graph, NOISY))[0][:N], rtol=0, atol=1e-13)
    assert isinstance(energy_fn(MODEL, _params(), graph), EnergyFunction)


def test_energy_has_its_references_and_scale():
    plain = MultiTask(dataclasses.replace(CONFIG, reference=(), scale=1.0, shift=0.0))
    learned = jax.jit(energy_fn(plain, _params(), _graph()))(REST)
    expected = CONFIG.scale * learned + N * CONFIG.shift + reference_energy(CONFIG, _graph().nodes["numbers"])
    np.testing.assert_allclose(_both(_graph())[1], expected, rtol=1e-12)


def test_an_energy_model_reads_the_same_graph():
    """Bonds in a graph's edges are no shifts of periodic images."""
    config = EnergyConfig(species=(1, 6, 8), channels=2, lmax=1, layers=1)
    model, plain = EnergyModel(config), to_graph(_graph().nodes["numbers"][:N], REST, n_node=NODES)
    params = jax.jit(model.init)(jax.random.key(0), plain)
    energy = jax.jit(model.apply)
    np.testing.assert_allclose(energy(params, _graph()), energy(params, plain), rtol=1e-14)


def test_nan_never_passes_silently():
    """Unknown elements, NaN positions, and edges in another order."""
    graph = _graph()
    nodes, order = graph.nodes, jnp.arange(len(graph.senders))[::-1]
    unknown = {**nodes, "numbers": nodes["numbers"].at[0].set(7)}
    lost = {**nodes, "positions": nodes["positions"].at[2, 1].set(jnp.nan)}
    mixed = graph._replace(senders=graph.senders[order], receivers=graph.receivers[order])
    for wrong in (graph._replace(nodes=unknown), graph._replace(nodes=lost), mixed):
        structure, energy = _both(wrong)
        assert np.isnan(structure[:N]).all() and np.isnan(energy)
    with pytest.raises(ValueError, match=r"knows the elements \[1, 6, 8\], not \[7\]"):
        check_species(CONFIG, unknown["numbers"])


def test_models_without_the_head_and_graphs_without_bonds():
    with pytest.raises(ValueError, match="Denoiser has no energy head; EnergyModel and MultiTask have one"):
        energy_fn(Denoiser(CONFIG), _params(), _graph())
    with pytest.raises(ValueError, match="EnergyModel has no structure head"):
        denoise_fn(EnergyModel(EnergyConfig(species=(1,))), _params(), _graph())
    bare = to_graph(_graph().nodes["numbers"][:N], REST, n_node=NODES)
    with pytest.raises(ValueError, match=r"data\.bond_graph writes them"):
        jax.eval_shape(lambda: MODEL.apply(_params(), bare, 1.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"species": (6, 1)}, r"ascending order, got \(6, 1\)"),
        ({"reference": (1.0,)}, "each of 3 species, got 1"),
        ({"layers": 0}, "layers must be positive, got 0"),
        ({"spread": -1.0}, "spread must be positive, got -1.0"),
    ],
)
def test_configs_that_cannot_be_built(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **change)
