"""Graphs of large and periodic systems: the edges within a cutoff, from vesin's neighbour lists."""

from __future__ import annotations

from typing import SupportsFloat

import jraph
import numpy as np
from ase.cell import Cell
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from vesin import NeighborList

from jaxphys.molecule import graph_sizes


def neighbour_graph(
    numbers: ArrayLike,
    positions: ArrayLike,
    cutoff: float,
    cell: ArrayLike | None = None,
    pbc: bool | ArrayLike | None = None,
    n_node: int | None = None,
    n_edge: int | None = None,
    n_neighbour: int | None = None,
) -> jraph.GraphsTuple:
    """One system as a directed graph of all pairs within the cutoff, padded, in NumPy arrays on the host.

    numbers: (n,) integers. positions: (n, 3) in Å. cutoff: in Å. cell: (3, 3) in Å, one vector a row. pbc: in
    which of its directions it repeats, by default in all that the cell has. n_node, n_edge, n_neighbour:
    padded sizes, by default rounded up, so that few distinct shapes occur.

    Returns a graph as `to_graph` does, edges sorted by receiver, with two additions: `edges["shifts"]`
    (n_edge, 3) in Å, by which the sender's image is displaced, so that the edge is the vector
    positions[sender] + shift − positions[receiver]; and `nodes["edges"]` (n_node, n_neighbour), the edges
    that each node receives, n_edge where there are no more. An atom may be its own neighbour in a small cell.
    While atoms move, the list holds until one has gone half the distance by which this cutoff exceeds the
    model's. Raises ValueError for a cell that does not fit pbc and for sizes that are too small.
    """
    numbers, positions = np.asarray(numbers), np.asarray(positions)
    _check(numbers, positions, cutoff)
    cell, periodic = _cell(cell, pbc)
    receivers, senders, shifts = _pairs(positions, cutoff, cell, periodic)
    degree = np.bincount(receivers, minlength=len(numbers))
    n_node = graph_sizes(len(numbers))[0] if n_node is None else n_node
    n_edge = _rounded(len(senders), 64) if n_edge is None else n_edge
    n_neighbour = _rounded(int(degree.max()), 4) if n_neighbour is None else n_neighbour
    _check_size("n_node", n_node, len(numbers) + 1)
    _check_size("n_edge", n_edge, len(senders))
    _check_size("n_neighbour", n_neighbour, int(degree.max()))
    more_nodes, more_edges = n_node - len(numbers), n_edge - len(senders)
    return jraph.GraphsTuple(
        nodes={
            "numbers": np.pad(numbers, (0, more_nodes)).astype(np.int32),
            "positions": np.pad(positions, ((0, more_nodes), (0, 0))),
            "edges": _rows(degree, n_node, n_neighbour, n_edge),
        },
        edges={"shifts": np.pad(shifts, ((0, more_edges), (0, 0))).astype(positions.dtype)},
        receivers=np.pad(receivers, (0, more_edges), constant_values=len(numbers)).astype(np.int32),
        senders=np.pad(senders, (0, more_edges), constant_values=len(numbers)).astype(np.int32),
        globals=None,
        n_node=np.array([len(numbers), more_nodes], np.int32),
        n_edge=np.array([len(senders), more_edges], np.int32),
    )


def with_charge(graph: jraph.GraphsTuple, charge: SupportsFloat) -> jraph.GraphsTuple:
    """The graph with its total charge, in units of e, in `globals["charge"]` (2,), on the host."""
    dtype = graph.nodes["positions"].dtype
    return graph._replace(globals={**(graph.globals or {}), "charge": np.array([float(charge), 0], dtype)})


def _pairs(
    positions: Float[np.ndarray, "n 3"], cutoff: float, cell: np.ndarray, periodic: np.ndarray
) -> tuple[Int[np.ndarray, " e"], Int[np.ndarray, " e"], Float[np.ndarray, "e 3"]]:
    """Receivers, senders and shifts in Å of all ordered pairs within the cutoff, in a fixed order."""
    finder = NeighborList(cutoff=cutoff, full_list=True, n_threads=1)
    i, j, images = finder.compute(positions.astype(np.float64), cell, periodic, "ijS")
    order = np.lexsort((*images.T[::-1], j, i))
    return i[order].astype(np.int64), j[order].astype(np.int64), images[order] @ cell


def _rows(
    degree: Int[np.ndarray, " n"], n_node: int, n_neighbour: int, n_edge: int
) -> Int[np.ndarray, "nodes d"]:
    """Numbers of the edges that each node receives, which follow each other; n_edge for none."""
    degree = np.pad(degree, (0, n_node - len(degree)))
    start = np.cumsum(degree) - degree
    slots = np.arange(n_neighbour)
    return np.where(slots < degree[:, None], start[:, None] + slots, n_edge).astype(np.int32)


def _cell(cell: ArrayLike | None, pbc: bool | ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    """A full cell and where it repeats."""
    vectors = np.zeros((3, 3)) if cell is None else np.asarray(cell, np.float64)
    if vectors.shape != (3, 3):
        raise ValueError(f"cell must hold three vectors, (3, 3), got {vectors.shape}")
    given = np.any(vectors != 0, axis=1)
    periodic = given if pbc is None else np.broadcast_to(np.asarray(pbc, bool), (3,))
    if np.any(periodic & ~given):
        raise ValueError(
            f"a cell with vectors {vectors.tolist()} cannot repeat along pbc = {periodic.tolist()}"
        )
    complete = np.asarray(Cell(vectors).complete())
    if not abs(np.linalg.det(complete)) > 0:
        raise ValueError(f"the cell's vectors must span space, got {vectors.tolist()}")
    return complete, periodic.copy()


def _rounded(count: int, least: int) -> int:
    """Up to an eighth more than count, so that few distinct sizes occur."""
    step = max(least, 2 ** count.bit_length() // 8)
    return max(-(-count // step), 1) * step


def _check(numbers: np.ndarray, positions: np.ndarray, cutoff: float) -> None:
    if numbers.ndim != 1 or positions.shape != (*numbers.shape, 3) or not numbers.size:
        raise ValueError(
            f"numbers and positions must have shapes (n,) and (n, 3), got {numbers.shape}, {positions.shape}"
        )
    if not np.all(np.isfinite(positions)):
        raise ValueError("positions must be finite")
    if not cutoff > 0:
        raise ValueError(f"cutoff must be positive, in Å, got {cutoff}")


def _check_size(name: str, size: int, needed: int) -> None:
    if size < needed:
        raise ValueError(f"the system needs {name} >= {needed}, got {size}")
