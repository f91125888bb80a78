"""Random graphs whose lengths fix a structure, and the test of it on graphs that are known."""

import itertools

import numpy as np
import pytest

from jaxphys.losses import is_globally_rigid, rigid_graph
from jaxphys.losses.rigid_graph import rigidity_matrix


def edges_of(pairs):
    senders, receivers = zip(*pairs, strict=True)
    return np.array(senders), np.array(receivers)


def complete(n):
    return set(itertools.combinations(range(n), 2))


def bipartite(left, right):
    return set(itertools.product(range(left), range(left, left + right)))


OCTAHEDRON = complete(6) - {(0, 1), (2, 3), (4, 5)}
WHEEL = {(0, i) for i in range(1, 6)} | {(1, 2), (2, 3), (3, 4), (4, 5), (1, 5)}


@pytest.mark.parametrize(
    ("n", "dimension", "pairs", "rigid"),
    [
        (5, 3, complete(5), True),
        (6, 3, complete(6) - {(0, 1)}, True),
        # a triangulated sphere has no pair to spare
        (6, 3, OCTAHEDRON, False),
        (6, 3, OCTAHEDRON | {(0, 1)}, True),
        # rigid with any pair taken out, but of two shapes: Connelly, On generic global rigidity (1991)
        (10, 3, bipartite(5, 5), False),
        # a hinge through two atoms
        (8, 3, complete(5) | {(i, j) for i, j in itertools.combinations((0, 1, 5, 6, 7), 2)}, False),
        (4, 3, complete(4), True),
        (4, 3, complete(4) - {(0, 1)}, False),
        (6, 2, WHEEL, True),
        (6, 2, bipartite(3, 3), False),
        (4, 2, complete(4) - {(0, 1)}, False),
    ],
)
def test_global_rigidity_of_known_graphs(n, dimension, pairs, rigid):
    assert is_globally_rigid(n, edges_of(pairs), dimension=dimension) == rigid


@pytest.mark.parametrize(("n", "dimension"), [(8, 3), (9, 3), (12, 3), (30, 3), (6, 2), (20, 2), (250, 3)])
def test_each_atom_is_in_twice_as_many_pairs_as_there_are_dimensions(n, dimension):
    senders, receivers = rigid_graph(n, dimension=dimension, seed=1)
    assert len(senders) == n * dimension
    assert len(set(zip(senders.tolist(), receivers.tolist(), strict=True))) == n * dimension
    assert np.all(senders < receivers)
    np.testing.assert_array_equal(np.bincount(np.concatenate([senders, receivers])), 2 * dimension)


@pytest.mark.parametrize("n", [8, 20, 60])
def test_random_graphs_leave_only_rigid_motions(n):
    edges = rigid_graph(n)
    assert is_globally_rigid(n, edges, seed=5)
    positions = np.random.default_rng(0).normal(size=(n, 3))
    assert np.linalg.matrix_rank(rigidity_matrix(positions, *edges)) == 3 * n - 6


def test_the_seed_decides():
    first, again, other = (np.stack(rigid_graph(40, seed=seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_small_molecules_have_all_pairs(n):
    senders, receivers = rigid_graph(n)
    assert len(senders) == n * (n - 1) // 2 and np.all(senders != receivers)


def test_all_pairs_are_as_likely():
    counts = np.zeros((10, 10))
    for seed in range(60):
        np.add.at(counts, rigid_graph(10, seed=seed), 1)
    counts = counts[np.triu_indices(10, 1)]
    # 60 graphs with 30 of 45 pairs: 40 ± 3.7 each
    assert np.all(np.abs(counts - 40) < 16) and counts.sum() == 1800


@pytest.mark.parametrize("wrong", [{"n": 0}, {"n": 5, "dimension": 0}])
def test_what_is_no_graph(wrong):
    with pytest.raises(ValueError, match="must be at least 1"):
        rigid_graph(**wrong)
