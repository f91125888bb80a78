"""The energy model: symmetries, forces, padding, additivity, the cutoff, charge, unknown elements."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_differences import slope
from molecules import METHANOL
from scipy.spatial.transform import Rotation

from jaxphys.models import EnergyConfig, EnergyModel, check_species, energy_fn, reference_energy
from jaxphys.models.energy import SphereProduct
from jaxphys.models.layers.sphere import sphere_grid
from jaxphys.molecule import stack_graphs, to_graph
from jaxphys.neighbours import neighbour_graph, with_charge

CONFIG = EnergyConfig(
    species=(1, 6, 8),
    channels=4,
    lmax=2,
    radial=4,
    radial_hidden=(8,),
    hidden=8,
    cutoff=4.0,
    scale=0.7,
    shift=0.2,
    pair_energy=True,
    species_head=True,
)
NUMBERS, POSITIONS = METHANOL[0], np.array(METHANOL[1])
ROTATION = Rotation.from_rotvec([1.0, 0.4, -2.0]).as_matrix()
IMPROPER = ROTATION @ np.diag([1.0, 1.0, -1.0])


def _graph(numbers=NUMBERS, positions=POSITIONS, n_node=12, **sizes):
    """One padded size for all, so that little is compiled."""
    return jax.tree.map(jnp.asarray, to_graph(numbers, positions, n_node=n_node, **sizes))


@functools.cache
def _params(config=CONFIG, seed=0):
    """Every weight random and in float64, so that no path is silent; `init` would have to be compiled."""
    shapes = jax.eval_shape(EnergyModel(config).init, jax.random.key(seed), _graph())
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape) / np.sqrt(x.shape[0])), shapes)


@functools.cache
def _program(config=CONFIG):
    """Energy and forces; one compiled program a config and shape."""
    model = EnergyModel(config)

    def energy_and_forces(params, graph):
        energy, gradient = jax.value_and_grad(energy_fn(model, params, graph))(graph.nodes["positions"])
        return energy, -gradient

    return jax.jit(energy_and_forces)


def _energy_and_forces(graph, config=CONFIG, dtype=np.float64):
    graph = jax.tree.map(lambda x: x.astype(dtype) if x.dtype.kind == "f" else x, graph)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), _params(config))
    energy, forces = _program(config)(params, graph)
    assert energy.dtype == dtype and forces.dtype == dtype
    return np.asarray(energy), np.asarray(forces)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float64, 1e-12)])
@pytest.mark.parametrize("turn", [ROTATION, IMPROPER, -np.eye(3)])
def test_energy_stays_and_forces_turn(turn, dtype, tolerance):
    before, forces = _energy_and_forces(_graph(), dtype=dtype)
    after, turned = _energy_and_forces(_graph(positions=POSITIONS @ turn.T + 0.3), dtype=dtype)
    np.testing.assert_allclose(after, before, rtol=tolerance)
    np.testing.assert_allclose(turned, forces @ turn.T, rtol=0, atol=3 * tolerance * np.abs(forces).max())
    assert np.abs(turned - forces).max() > 0.1 * np.abs(forces).max()


def test_mirror_images_of_a_chiral_molecule_have_one_energy_and_others_do_not():
    moved = POSITIONS + np.random.default_rng(2).normal(size=POSITIONS.shape) * 0.02
    energies = [_energy_and_forces(_graph(positions=p))[0] for p in (POSITIONS, -POSITIONS, moved)]
    assert abs(energies[0] - energies[1]) < 1e-10 < abs(energies[0] - energies[2])


def test_order_of_atoms_only_orders_the_forces():
    order = np.random.default_rng(1).permutation(len(NUMBERS))
    energy, forces = _energy_and_forces(_graph())
    other, ordered = _energy_and_forces(_graph(NUMBERS[order], POSITIONS[order]))
    np.testing.assert_allclose(other, energy, rtol=1e-13)
    np.testing.assert_allclose(ordered[: len(order)], forces[order], rtol=0, atol=1e-10)


def test_forces_are_the_negative_slope():
    _, forces = _energy_and_forces(_graph())
    direction = np.random.default_rng(4).normal(size=POSITIONS.shape)

    def along(step):
        return _energy_and_forces(_graph(positions=POSITIONS + step * direction))[0]

    expected = -slope(along, 1e-3)
    assert abs(expected) > 0.1
    np.testing.assert_allclose(np.sum(forces[: len(NUMBERS)] * direction), expected, rtol=1e-6)


def test_padding_is_inert_alone_and_in_a_batch():
    energy, forces = _energy_and_forces(_graph(n_node=len(NUMBERS) + 1))
    padded, more = _energy_and_forces(_graph())
    np.testing.assert_allclose(padded, energy, rtol=1e-14)
    np.testing.assert_allclose(more[: len(NUMBERS)], forces[: len(NUMBERS)], rtol=0, atol=1e-11)
    assert not more[len(NUMBERS) :].any()

    water = _graph(NUMBERS[:3], POSITIONS[:3])
    batch = jax.tree.map(jnp.asarray, stack_graphs([_graph(), water]))
    energies, _ = jax.vmap(_program(), in_axes=(None, 0))(_params(), batch)
    np.testing.assert_allclose(energies, [energy, _energy_and_forces(water)[0]], rtol=1e-13)


def test_a_lone_atom_has_an_energy_and_no_force():
    energy, forces = _energy_and_forces(_graph(NUMBERS[:1], POSITIONS[:1]))
    assert np.isfinite(energy) and not forces.any()


def test_energies_of_molecules_beyond_the_cutoff_add_up():
    numbers, positions = np.array([8, 1]), np.array([[0.0, 0.0, 0.0], [0.3, 0.9, 0.1]])
    alone = _energy_and_forces(_graph())[0] + _energy_and_forces(_graph(numbers, positions))[0]
    far = positions - positions.min(axis=0) + POSITIONS.max(axis=0) + CONFIG.cutoff
    together = _graph(np.concatenate([NUMBERS, numbers]), np.concatenate([POSITIONS, far]))
    np.testing.assert_allclose(_energy_and_forces(together)[0], alone, rtol=1e-14)
    near = _graph(np.concatenate([NUMBERS, numbers]), np.concatenate([POSITIONS, far - CONFIG.cutoff / 2]))
    assert abs(_energy_and_forces(near)[0] - alone) > 1e-3


def test_energy_is_smooth_at_the_cutoff():
    """Beyond it the energy is constant; within, it departs at least as the cube of the distance."""

    def energy(gap):
        positions = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, CONFIG.cutoff - gap]])
        return _energy_and_forces(_graph(np.array([8, 6]), positions))

    beyond, _ = energy(-0.01)
    (near, force), (nearer, _) = energy(0.08), energy(0.04)
    assert abs(near - beyond) > 1e-9
    assert 6.5 < (near - beyond) / (nearer - beyond) < 9.5
    assert np.abs(force).max() < 5 * abs(near - beyond) / 0.08


def test_coincident_atoms_have_finite_energy_and_gradients():
    """In float32, where squares of small distances are lost; also of a loss on forces."""
    positions = POSITIONS.copy()
    positions[1] = positions[0]
    positions[2] = positions[3] + 1e-7
    graph = _graph(positions=positions.astype(np.float32))
    params = jax.tree.map(lambda leaf: leaf.astype(np.float32), _params())

    def loss(params, positions):
        energy, gradient = jax.value_and_grad(energy_fn(EnergyModel(CONFIG), params, graph))(positions)
        return energy + jnp.sum(gradient**2)

    value, gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(params, graph.nodes["positions"])
    assert np.isfinite(value)
    leaves = jax.tree.leaves(gradients)
    assert all(np.isfinite(leaf).all() and leaf.dtype == np.float32 for leaf in leaves)


def test_every_parameter_matters():
    """To the energy, or to the logits; but a neutral molecule without hidden atoms has rows that do not."""
    graph = with_charge(_graph(), 1)
    graph = graph._replace(nodes={**graph.nodes, "masked": jnp.arange(12) == 1})

    def total(params):
        outputs = EnergyModel(CONFIG).apply(params, graph, method="outputs")
        return outputs.energy + jnp.sum(outputs.logits**2)

    gradients = jax.jit(jax.grad(total))(_params())
    silent = [jax.tree_util.keystr(p) for p, g in jax.tree.leaves_with_path(gradients) if not np.any(g)]
    assert silent == []


@pytest.mark.parametrize("lmax", [0, 1, 2])
def test_the_smallest_grids_are_exact(lmax):
    values, weights = sphere_grid(lmax, 2 * lmax)
    np.testing.assert_allclose(values.T @ (weights[:, None] * values), np.eye((lmax + 1) ** 2), atol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_correlation_is_the_degree_in_the_sum_over_neighbours(order):
    product = SphereProduct(order, 1)
    features, elements = jnp.asarray(np.random.default_rng(0).normal(size=(3, 9, 2))), jnp.eye(3)
    params = product.init(jax.random.key(0), features, elements)
    scales = np.linspace(-1, 1, 9)
    values = [np.asarray(product.apply(params, scale * features, elements)).ravel() for scale in scales]
    coefficients = np.polynomial.polynomial.polyfit(scales, np.array(values), 5)
    assert np.abs(coefficients[order]).min() > 1e-6
    np.testing.assert_allclose(coefficients[order + 1 :], 0.0, atol=1e-6)


def test_charge_enters_and_zero_is_the_default():
    energy = jax.jit(EnergyModel(CONFIG).apply)
    energies = {q: float(energy(_params(), with_charge(_graph(), q))) for q in (-1, 0, 1)}
    np.testing.assert_allclose(energies[0], _energy_and_forces(_graph())[0], rtol=1e-14)
    assert len({round(energy, 3) for energy in energies.values()}) == 3


def test_reference_energies_are_added_atom_by_atom():
    config = dataclasses.replace(CONFIG, reference=(-13.6, -1027.2, -2041.1))
    expected = -1027.2 - 2041.1 - 4 * 13.6
    np.testing.assert_allclose(reference_energy(config, np.pad(NUMBERS, (0, 2))), expected)
    total = jax.jit(EnergyModel(config).apply)(_params(), _graph())
    np.testing.assert_allclose(total - _energy_and_forces(_graph())[0], expected, rtol=1e-13)
    assert reference_energy(CONFIG, NUMBERS) == 0.0


def test_hidden_elements_are_not_seen():
    """Neither logits nor what is learned depend on a hidden element; the others' logits are there too."""

    @jax.jit
    def outputs(graph, masked):
        graph = graph._replace(nodes={**graph.nodes, "masked": masked})
        model, params = EnergyModel(CONFIG), _params()
        return model.apply(params, graph, method="outputs"), model.apply(
            params, graph, method="species_logits"
        )

    hidden = jnp.arange(12) == 1
    other = NUMBERS.copy()
    other[1] = 6 if NUMBERS[1] != 6 else 1
    first, second = (outputs(_graph(numbers), hidden)[0] for numbers in (NUMBERS, other))
    np.testing.assert_array_equal(first.logits, second.logits)
    np.testing.assert_array_equal(first.energy, second.energy)
    assert first.logits.shape == (12, 3)
    (shown, logits), (changed, _) = (outputs(_graph(z), jnp.zeros(12, bool)) for z in (NUMBERS, other))
    assert np.abs(shown.logits - changed.logits).max() > 1e-3
    assert np.abs(shown.logits - first.logits).max() > 1e-3
    np.testing.assert_array_equal(logits, shown.logits)


def test_unknown_elements_are_refused_on_the_host_and_never_pass_silently():
    numbers = NUMBERS.copy()
    numbers[0] = 16
    with pytest.raises(ValueError, match=r"knows the elements \[1, 6, 8\], not \[16\]"):
        check_species(CONFIG, numbers)
    check_species(CONFIG, np.pad(NUMBERS, (0, 3)))
    assert np.isnan(_energy_and_forces(_graph(numbers))[0])


def test_nan_never_passes_silently():
    """NaN positions, and edges out of order, which would be left out."""
    positions = POSITIONS.copy()
    positions[2, 1] = np.nan
    energy, forces = _energy_and_forces(_graph(positions=positions))
    assert np.isnan(energy) and np.isnan(forces[2]).all()
    graph = _graph()
    graph = graph._replace(senders=graph.senders[::-1], receivers=graph.receivers[::-1])
    assert np.isnan(_energy_and_forces(graph)[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"species": (6, 1)}, r"ascending order, got \(6, 1\)"),
        ({"reference": (1.0,)}, "each of 3 species, got 1"),
        ({"feature_lmax": 3}, "feature_lmax must be 0 to lmax = 2, got 3"),
        ({"correlation": 4}, "correlation must be 1, 2 or 3, got 4"),
        ({"cutoff": 0.0}, "cutoff must be positive"),
    ],
)
def test_configs_that_cannot_be_built(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **change)


def test_logits_need_their_head():
    config = dataclasses.replace(CONFIG, species_head=False)
    with pytest.raises(ValueError, match="species_head=True"):
        jax.eval_shape(lambda: EnergyModel(config).apply(_params(), _graph(), method="species_logits"))


def _neighbour_graph(numbers, positions, **options):
    options = {"n_node": 8, "n_edge": 256, "n_neighbour": 48, **options}
    return jax.tree.map(jnp.asarray, neighbour_graph(numbers, positions, CONFIG.cutoff + 0.3, **options))


def test_neighbour_lists_give_the_energy_of_dense_graphs():
    energy, forces = _energy_and_forces(_graph())
    listed, same = _energy_and_forces(_neighbour_graph(NUMBERS, POSITIONS))
    np.testing.assert_allclose(listed, energy, rtol=1e-14)
    n = len(NUMBERS)
    np.testing.assert_allclose(same[:n], forces[:n], rtol=0, atol=1e-11)


def test_more_atoms_than_are_gathered_by_a_matrix_product():
    """Copies beyond the cutoff: each has the energy and the forces of the molecule alone."""
    count = 12
    shifts = 20.0 * np.arange(count)[:, None, None] * np.eye(3)[0]
    sizes = {"n_node": None, "n_edge": None, "n_neighbour": None}
    graph = _neighbour_graph(np.tile(NUMBERS, count), (POSITIONS + shifts).reshape(-1, 3), **sizes)
    energy, forces = _energy_and_forces(_graph())
    total, each = _energy_and_forces(graph)
    np.testing.assert_allclose(total, count * energy, rtol=1e-13)
    n = len(NUMBERS)
    np.testing.assert_allclose(
        each[: count * n].reshape(count, n, 3), np.tile(forces[:n], (count, 1, 1)), atol=1e-10
    )


def test_periodic_images_count_and_only_the_crystal_matters():
    cell = np.array([[3.1, 0.0, 0.0], [0.4, 3.3, 0.0], [-0.2, 0.3, 3.6]])
    numbers, positions = np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.0], [0.9, 0.2, 0.1], [-0.3, 0.8, 0.3]])
    energy, forces = _energy_and_forces(_neighbour_graph(numbers, positions, cell=cell))
    # an atom in another cell; another choice of the cell
    moved = positions + np.array([[0, 0, 0], [1, 0, -1], [0, 2, 0]]) @ cell
    again, same = _energy_and_forces(
        _neighbour_graph(numbers, moved, cell=np.array([cell[1], cell[0] + cell[1], cell[2]]))
    )
    np.testing.assert_allclose(again, energy, rtol=1e-13)
    np.testing.assert_allclose(same, forces, rtol=0, atol=1e-10)
    # two cells as one
    double = cell * np.array([[1], [2], [1]])
    both, pair = _energy_and_forces(
        _neighbour_graph(np.tile(numbers, 2), np.concatenate([positions, positions + cell[1]]), cell=double)
    )
    np.testing.assert_allclose(both, 2 * energy, rtol=1e-13)
    np.testing.assert_allclose(pair[:6], np.tile(forces[:3], (2, 1)), rtol=0, atol=1e-10)
    assert abs(energy - _energy_and_forces(_neighbour_graph(numbers, positions))[0]) > 1e-3


def test_graphs_with_shifts_must_list_their_edges():
    graph = _neighbour_graph(NUMBERS, POSITIONS)
    nodes = {name: value for name, value in graph.nodes.items() if name != "edges"}
    with pytest.raises(ValueError, match=r"nodes\['edges'\]"):
        jax.eval_shape(lambda: EnergyModel(CONFIG).apply(_params(), graph._replace(nodes=nodes)))
