"""Molecules, their checks, and their padded graphs."""

import chex
import jax
import jax.numpy as jnp
import jraph
import numpy as np
import pytest

from jaxphys.molecule import Molecule, check_molecule, graph_sizes, stack_graphs, to_graph

WATER = np.array([8, 1, 1])
WATER_POSITIONS = np.array([[0.0, 0.0, 0.1173], [0.0, 0.7572, -0.4692], [0.0, -0.7572, -0.4692]])
METHANE = np.array([6, 1, 1, 1, 1])
METHANE_POSITIONS = 0.629 * np.array([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], float)


def pair_energy(graph: jraph.GraphsTuple) -> jax.Array:
    """Coulomb-like energy of the real edges: all that a model does with a graph, in three lines."""
    mask = jraph.get_edge_padding_mask(graph)
    positions, numbers = graph.nodes["positions"], graph.nodes["numbers"]
    squares = jnp.sum((positions[graph.senders] - positions[graph.receivers]) ** 2, axis=1)
    distances = jnp.sqrt(jnp.where(mask, squares, 1.0))
    edges = jnp.where(mask, numbers[graph.senders] * numbers[graph.receivers] / distances, 0.0)
    return jraph.segment_sum(edges, graph.receivers, len(numbers), indices_are_sorted=True).sum() / 2


class TestMolecule:
    def test_holds_64_bit_arrays(self):
        numbers, positions = np.array([8, 1], np.int32), np.array([[0, 0, 0], [0, 0, 1]], np.float32)
        hydroxide = Molecule(numbers, positions, charge=-1, name="[OH-]")
        assert hydroxide.numbers.dtype == np.int64
        assert hydroxide.positions.dtype == np.float64
        assert hydroxide.charge == -1

    def test_is_a_read_only_copy(self):
        positions = WATER_POSITIONS.copy()
        water = Molecule(WATER, positions)
        positions[:] = 0.0
        np.testing.assert_array_equal(water.positions, WATER_POSITIONS)
        with pytest.raises(ValueError, match="read-only"):
            water.positions[0] = 0.0

    def test_is_checked(self):
        with pytest.raises(ValueError, match=r"^atom 1 has atomic number 0; elements have 1 to 118$"):
            Molecule(np.array([8, 0, 1]), WATER_POSITIONS)


def with_row(row: int, value) -> np.ndarray:
    positions = WATER_POSITIONS.copy()
    positions[row] = value
    return positions


@pytest.mark.parametrize(
    ("numbers", "positions", "charge", "message"),
    [
        ([], [], 0, "a molecule needs at least one atom, got none"),
        ([[8, 1, 1]], WATER_POSITIONS, 0, r"numbers must have shape \(n,\), got \(1, 3\)"),
        ([8, 1], WATER_POSITIONS, 0, r"positions of 2 atoms must have shape \(2, 3\), got \(3, 3\)"),
        (WATER, WATER_POSITIONS.ravel(), 0, r"positions of 3 atoms must have shape \(3, 3\), got \(9,\)"),
        ([8.0, 1.0, 1.0], WATER_POSITIONS, 0, "numbers must be integers, got float64"),
        ([8, 1, 119], WATER_POSITIONS, 0, "atom 2 has atomic number 119; elements have 1 to 118"),
        ([-8, 1, 1], WATER_POSITIONS, 0, "atom 0 has atomic number -8; elements have 1 to 118"),
        (WATER, WATER_POSITIONS * 1j, 0, "positions must be real numbers in Å, got complex128"),
        (WATER, with_row(1, np.nan), 0, r"positions must be finite, got \[nan, nan, nan\] for atom 1"),
        (
            WATER,
            with_row(2, [0, np.inf, 0]),
            0,
            r"positions must be finite, got \[0.0, inf, 0.0\] for atom 2",
        ),
        (
            WATER,
            with_row(2, WATER_POSITIONS[0] + [0.05, 0, 0]),
            0,
            "atoms 0 and 2 are 0.05 Å apart; no two stand closer than 0.1 Å",
        ),
        (WATER, WATER_POSITIONS, 0.5, "charge must be a whole number of e, got 0.5"),
        (WATER, WATER_POSITIONS, 11, "charge must not exceed that of the nuclei, 10, got 11"),
    ],
)
def test_what_is_no_molecule(numbers, positions, charge, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        check_molecule(numbers, positions, charge)


def test_what_is_a_molecule():
    check_molecule(WATER, WATER_POSITIONS)
    check_molecule([1], [[0, 0, 0]], 1)  # a proton
    check_molecule(np.array([118], np.int32), np.zeros((1, 3), np.float32), np.int64(-1))


class TestGraph:
    def test_all_ordered_pairs_by_receiver(self):
        graph = to_graph(WATER, WATER_POSITIONS, n_node=5, n_edge=8)
        assert list(zip(graph.receivers, graph.senders, strict=True)) == [
            *[(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)],
            *[(3, 3), (3, 3)],
        ]

    def test_is_padded_as_jraph_pads(self):
        receivers, senders = np.nonzero(~np.eye(3, dtype=bool))
        bare = jraph.GraphsTuple(
            nodes={"numbers": WATER.astype(np.int32), "positions": WATER_POSITIONS},
            edges=None,
            receivers=receivers.astype(np.int32),
            senders=senders.astype(np.int32),
            globals=None,
            n_node=np.array([3]),
            n_edge=np.array([6]),
        )
        ours = to_graph(WATER, WATER_POSITIONS, n_node=7, n_edge=20)
        chex.assert_trees_all_equal(ours, jraph.pad_with_graphs(bare, n_node=7, n_edge=20))

    @pytest.mark.parametrize("n_edge", [6, 7, 30])
    def test_masks(self, n_edge):
        graph = to_graph(WATER, WATER_POSITIONS, n_node=4, n_edge=n_edge)
        np.testing.assert_array_equal(jraph.get_node_padding_mask(graph), [True] * 3 + [False])
        np.testing.assert_array_equal(jraph.get_edge_padding_mask(graph), np.arange(n_edge) < 6)
        np.testing.assert_array_equal(jraph.get_graph_padding_mask(graph), [True, False])

    def test_masks_under_vmap(self):
        graphs = stack_graphs(
            [
                to_graph(WATER, WATER_POSITIONS, n_node=8, n_edge=30),
                to_graph(METHANE, METHANE_POSITIONS, n_node=8, n_edge=30),
            ]
        )
        nodes = jax.jit(jax.vmap(jraph.get_node_padding_mask))(graphs)
        edges = jax.jit(jax.vmap(jraph.get_edge_padding_mask))(graphs)
        np.testing.assert_array_equal(nodes.sum(1), [3, 5])
        np.testing.assert_array_equal(edges.sum(1), [6, 20])

    def test_of_one_atom(self):
        graph = to_graph(np.array([2]), np.zeros((1, 3)), n_node=2, n_edge=0)
        assert graph.senders.shape == graph.receivers.shape == (0,)
        assert pair_energy(graph) == 0.0
        assert pair_energy(to_graph(np.array([2]), np.zeros((1, 3)))) == 0.0

    def test_keeps_the_dtype_and_the_host(self):
        graph = to_graph(WATER, WATER_POSITIONS.astype(np.float32))
        assert graph.nodes["positions"].dtype == np.float32
        assert graph.nodes["numbers"].dtype == np.int32
        assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(graph))

    def test_of_device_arrays_stays_on_the_device(self):
        graph = to_graph(WATER, jnp.asarray(WATER_POSITIONS))
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(graph))

    def test_of_traced_positions(self):
        def energy(positions):
            return pair_energy(to_graph(WATER, positions))

        forces = jax.jit(jax.grad(energy))(jnp.asarray(WATER_POSITIONS))
        step = np.zeros((3, 3))
        step[1, 2] = 1e-5
        slope = (energy(WATER_POSITIONS + step) - energy(WATER_POSITIONS - step)) / 2e-5
        np.testing.assert_allclose(forces[1, 2], slope, rtol=1e-8)

    def test_padding_and_batching_are_inert(self):
        molecules = [(WATER, WATER_POSITIONS), (METHANE, METHANE_POSITIONS)]
        alone = [pair_energy(to_graph(*m, n_node=len(m[0]) + 1)) for m in molecules]
        graphs = stack_graphs([to_graph(*m, n_node=12) for m in molecules])
        np.testing.assert_allclose(jax.vmap(pair_energy)(graphs), alone, rtol=1e-14)

    def test_gradient_is_finite_and_zero_on_padding(self):
        graph = to_graph(WATER, WATER_POSITIONS)
        slope = jax.grad(lambda x: pair_energy(graph._replace(nodes={**graph.nodes, "positions": x})))
        padding = slope(jnp.asarray(graph.nodes["positions"]))[3:]
        np.testing.assert_array_equal(padding, np.zeros_like(padding))

    def test_one_bucket_is_one_compilation(self):
        compiled = jax.jit(chex.assert_max_traces(pair_energy, n=1))
        for n_atoms in (8, 9, 10, 11):
            compiled(to_graph(np.ones(n_atoms, int), np.arange(3.0 * n_atoms).reshape(-1, 3)))

    @pytest.mark.parametrize(
        ("numbers", "sizes", "message"),
        [
            (WATER, {"n_node": 3}, "3 atoms and a padding node need n_node >= 4, got 3"),
            (WATER, {"n_edge": 5}, "3 atoms need n_edge >= 6, got 5"),
            (METHANE, {}, r"positions of 5 atoms must have shape \(5, 3\), got \(3, 3\)"),
            (np.array([[8, 1, 1]]), {}, r"numbers must have shape \(n,\), got \(1, 3\)"),
        ],
    )
    def test_errors(self, numbers, sizes, message):
        with pytest.raises(ValueError, match=f"^{message}$"):
            to_graph(numbers, WATER_POSITIONS, **sizes)


class TestSizes:
    def test_fit_and_waste_little(self):
        for n_atoms in range(1, 500):
            n_node, n_edge = graph_sizes(n_atoms)
            assert n_atoms < n_node <= max(n_atoms + 4, 1.25 * (n_atoms + 1))
            assert n_edge >= n_atoms * (n_atoms - 1)

    def test_are_few(self):
        assert {graph_sizes(n)[0] for n in range(1, 64)} == {4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64}
        assert len({graph_sizes(n) for n in range(1, 64)}) == 12


class TestStack:
    def test_adds_a_leading_axis(self):
        graphs = stack_graphs([to_graph(WATER, WATER_POSITIONS)] * 3)
        assert graphs.nodes["positions"].shape == (3, 4, 3)
        assert graphs.n_node.shape == (3, 2)

    def test_refuses_different_sizes(self):
        graphs = [to_graph(WATER, WATER_POSITIONS), to_graph(METHANE, METHANE_POSITIONS)]
        with pytest.raises(ValueError, match=r"one padded size .*, got \[\(4, 6\), \(8, 42\)\]$"):
            stack_graphs(graphs)

    def test_refuses_none(self):
        with pytest.raises(ValueError, match=r"got no graphs$"):
            stack_graphs([])
