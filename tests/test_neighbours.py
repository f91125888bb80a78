"""Graphs by neighbour lists: the edges of ASE's lists, padded rows, and errors."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list

from jaxphys.neighbours import neighbour_graph, with_charge

QUARTZ_LIKE = bulk("Si", "diamond", a=5.43) * (2, 1, 1)
SLAB = Atoms("OHH", molecule("H2O").positions, cell=[[4.0, 0.3, 0.0], [0.0, 4.2, 0.0], [0.0, 0.0, 0.0]])
SLAB.pbc = [True, True, False]


@pytest.mark.parametrize("atoms", [molecule("C6H6"), QUARTZ_LIKE, SLAB], ids=["molecule", "bulk", "slab"])
def test_edges_are_those_of_ase(atoms):
    cutoff = 4.5
    graph = neighbour_graph(
        atoms.numbers, atoms.positions, cutoff, cell=np.asarray(atoms.cell), pbc=atoms.pbc
    )
    real = graph.n_edge[0]
    i, j, vectors = neighbor_list("ijD", atoms, cutoff)
    positions, shifts = graph.nodes["positions"], graph.edges["shifts"]
    found = positions[graph.senders] + shifts - positions[graph.receivers]
    expected = np.column_stack([i, j, vectors])
    ours = np.column_stack([graph.receivers, graph.senders, found])[:real]
    np.testing.assert_allclose(_in_order(ours), _in_order(expected), atol=1e-9)
    assert real == len(i) > 0


def _in_order(rows):
    return rows[np.lexsort(np.round(rows, 6).T)]


def test_rows_hold_each_real_edge_once_and_padding_is_inert():
    atoms = QUARTZ_LIKE
    graph = neighbour_graph(atoms.numbers, atoms.positions, 4.0, cell=np.asarray(atoms.cell), n_node=8)
    rows = graph.nodes["edges"]
    kept = rows < len(graph.senders)
    np.testing.assert_array_equal(np.sort(rows[kept]), np.arange(graph.n_edge[0]))
    np.testing.assert_array_equal(graph.receivers[rows[kept]], np.nonzero(kept)[0])
    assert (rows[~kept] == len(graph.senders)).all()
    padding = slice(graph.n_edge[0], None)
    assert (graph.senders[padding] == 4).all() and (graph.receivers[padding] == 4).all()
    assert not graph.edges["shifts"][padding].any()
    assert graph.n_node.tolist() == [4, 4] and graph.n_edge.sum() == len(graph.senders)


def test_sizes_can_be_given_and_the_dtype_stays():
    atoms = molecule("H2O")
    graph = neighbour_graph(
        atoms.numbers, atoms.positions.astype(np.float32), 3.0, n_node=6, n_edge=10, n_neighbour=3
    )
    assert graph.nodes["edges"].shape == (6, 3) and graph.senders.shape == (10,)
    assert graph.nodes["positions"].dtype == graph.edges["shifts"].dtype == np.float32


def test_atoms_without_neighbours():
    graph = neighbour_graph(np.array([2, 2]), np.array([[0.0, 0, 0], [50.0, 0, 0]]), 4.0)
    assert graph.n_edge[0] == 0 and (graph.nodes["edges"] == len(graph.senders)).all()


def test_charge_is_that_of_the_real_graph():
    graph = neighbour_graph(np.array([2]), np.zeros((1, 3)), 4.0)
    assert with_charge(graph, -1).globals["charge"].tolist() == [-1, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_node": 3}, "needs n_node >= 4, got 3"),
        ({"n_edge": 5}, "needs n_edge >= 6, got 5"),
        ({"n_neighbour": 1}, "needs n_neighbour >= 2, got 1"),
        ({"cutoff": 0.0}, "cutoff must be positive"),
        ({"pbc": True}, "cannot repeat along pbc"),
        ({"cell": np.ones((3, 3))}, "must span space"),
        ({"cell": np.ones(3)}, r"\(3, 3\), got \(3,\)"),
        ({"positions": np.zeros((2, 3))}, r"got \(3,\), \(2, 3\)"),
        ({"positions": np.full((3, 3), np.nan)}, "must be finite"),
    ],
)
def test_errors(change, message):
    arguments = {"numbers": np.array([8, 1, 1]), "positions": molecule("H2O").positions, "cutoff": 3.0}
    with pytest.raises(ValueError, match=message):
        neighbour_graph(**{**arguments, **change})
