"""Molecules on the host, and their fully connected graphs, padded to a few fixed sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, SupportsFloat

import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from scipy.spatial import KDTree

HEAVIEST_ELEMENT = 118
CLOSEST_ATOMS = 0.1  # Å; the shortest bond, that of H2, is 0.74 Å long


@dataclass(frozen=True, eq=False)
class Molecule:
    """Atoms at rest, with a total charge; valid by construction, and read-only.

    numbers: (n,) atomic numbers. positions: (n, 3) in Å. charge: in units of e. name: free text, a SMILES
    where there is one. The arrays are copied. Raises ValueError as `check_molecule` does.
    """

    numbers: Int[np.ndarray, "n"]
    positions: Float[np.ndarray, "n 3"]
    charge: int = 0
    name: str = ""

    def __post_init__(self):
        check_molecule(self.numbers, self.positions, self.charge)
        numbers = np.array(self.numbers, dtype=np.int64)
        positions = np.array(self.positions, dtype=np.float64)
        numbers.setflags(write=False)
        positions.setflags(write=False)
        # A frozen dataclass admits no other way to set its own fields.
        object.__setattr__(self, "numbers", numbers)
        object.__setattr__(self, "positions", positions)
        object.__setattr__(self, "charge", int(self.charge))


def check_molecule(numbers: ArrayLike, positions: ArrayLike, charge: SupportsFloat = 0) -> None:
    """Raise a ValueError unless the arrays describe a molecule.

    numbers: (n,) integers. positions: (n, 3) in Å. charge: in units of e. All must be concrete, not traced.
    Refused: no atoms, shapes that do not match, unknown elements, positions that are not finite, atoms closer
    than 0.1 Å, a charge that is fractional or above that of the nuclei.
    """
    numbers, positions = np.asarray(numbers), np.asarray(positions)
    if numbers.size == 0:
        raise ValueError("a molecule needs at least one atom, got none")
    _check_shapes(numbers.shape, positions.shape)
    _check_elements(numbers)
    _check_positions(positions)
    if not float(charge).is_integer():
        raise ValueError(f"charge must be a whole number of e, got {charge}")
    if float(charge) > numbers.sum():
        raise ValueError(f"charge must not exceed that of the nuclei, {numbers.sum()}, got {charge}")


def graph_sizes(n_atoms: int) -> tuple[int, int]:
    """Rounded sizes (n_node, n_edge) of the padded graph of a molecule, so that few distinct shapes occur.

    n_node leaves room for at least one padding node, and grows in steps of 4, from 32 on of 8, from 64 on of
    16 and so on: a quarter too much at most. n_edge is what the largest molecule of that n_node needs.
    """
    needed = n_atoms + 1
    step = max(4, 2 ** needed.bit_length() // 8)
    n_node = -(-needed // step) * step
    return n_node, _edges_of_size(n_node)


def to_graph(
    numbers: np.ndarray | jax.Array,
    positions: np.ndarray | jax.Array,
    *,
    n_node: int | None = None,
    n_edge: int | None = None,
) -> jraph.GraphsTuple:
    """One molecule as a fully connected directed graph, padded as by `jraph.pad_with_graphs`.

    numbers: (n,) integers. positions: (n, 3) in Å. Both may be traced; NumPy arrays stay on the host.
    n_node, n_edge: the padded sizes, by default those of `graph_sizes`.

    Returns a graph with nodes `numbers` (n_node,) int32 and `positions` (n_node, 3) in the dtype given, edges
    over all ordered pairs i ≠ j sorted by receiver, and n_node = [n, n_node − n]: its last graph is padding.
    Padding nodes have number 0 and stand at the origin: a rotation leaves them there. Padding edges are
    self-loops on the first padding node, of length zero wherever it stands: norms must be safe at zero.
    Raises ValueError if the shapes do not match or the molecule does not fit the sizes.
    """
    _check_shapes(np.shape(numbers), np.shape(positions))
    n_atoms = np.shape(numbers)[0]
    n_node = graph_sizes(n_atoms)[0] if n_node is None else n_node
    n_edge = _edges_of_size(n_node) if n_edge is None else n_edge
    _check_sizes(n_atoms, n_node, n_edge)
    receivers, senders = _edges(n_atoms, n_edge)
    padding, real_edges = n_node - n_atoms, n_atoms * (n_atoms - 1)
    xp = jnp if isinstance(numbers, jax.Array) or isinstance(positions, jax.Array) else np
    graph = jraph.GraphsTuple(
        nodes={
            "numbers": xp.pad(numbers, (0, padding)).astype(np.int32),
            "positions": xp.pad(positions, ((0, padding), (0, 0))),
        },
        edges=None,
        receivers=receivers,
        senders=senders,
        globals=None,
        n_node=np.array([n_atoms, padding], dtype=np.int32),
        n_edge=np.array([real_edges, n_edge - real_edges], dtype=np.int32),
    )
    # Inside jit jraph's masks index n_node and n_edge with a tracer, which NumPy arrays refuse.
    return jax.tree.map(xp.asarray, graph)


def stack_graphs(graphs: Sequence[jraph.GraphsTuple]) -> jraph.GraphsTuple:
    """Graphs of one padded shape as one, with a leading axis for `jax.vmap`, on the host.

    Raises ValueError if there are none or their padded sizes differ.
    """
    sizes = sorted({(len(graph.nodes["numbers"]), len(graph.senders)) for graph in graphs})
    if len(sizes) != 1:
        raise ValueError(
            f"graphs to stack must have one padded size (n_node, n_edge), got {sizes or 'no graphs'}"
        )
    return jax.tree.map(lambda *leaves: np.stack(leaves), *graphs)


def centred(positions: Float[Any, "n d"], mask: Bool[Any, " n"] | None = None) -> Float[jax.Array, "n d"]:
    """The structure with the mean position of its real atoms at zero, (n, d), in the unit given.

    mask: (n,) True for real atoms, all if None; padded ones get zero.
    """
    positions = jnp.asarray(positions)
    if mask is None:
        return positions - jnp.mean(positions, axis=0)
    real = jnp.where(mask[:, None], positions, 0.0)
    count = jnp.maximum(jnp.sum(mask, dtype=positions.dtype), 1.0)
    return jnp.where(mask[:, None], real - jnp.sum(real, axis=0) / count, 0.0)


def _edges_of_size(n_node: int) -> int:
    """The edges of the largest molecule that fits n_node nodes, one of which is padding."""
    return (n_node - 1) * (n_node - 2)


def _edges(n_atoms: int, n_edge: int) -> tuple[np.ndarray, np.ndarray]:
    """Receivers and senders of all ordered pairs; then self-loops on the first padding node up to n_edge."""
    receivers, senders = np.nonzero(~np.eye(n_atoms, dtype=bool))
    loops = np.full(n_edge - len(senders), n_atoms)
    return (
        np.concatenate([receivers, loops]).astype(np.int32),
        np.concatenate([senders, loops]).astype(np.int32),
    )


def _check_sizes(n_atoms: int, n_node: int, n_edge: int) -> None:
    if n_node <= n_atoms:
        raise ValueError(f"{n_atoms} atoms and a padding node need n_node >= {n_atoms + 1}, got {n_node}")
    if n_edge < n_atoms * (n_atoms - 1):
        raise ValueError(f"{n_atoms} atoms need n_edge >= {n_atoms * (n_atoms - 1)}, got {n_edge}")


def _check_shapes(numbers: tuple[int, ...], positions: tuple[int, ...]) -> None:
    if len(numbers) != 1:
        raise ValueError(f"numbers must have shape (n,), got {numbers}")
    if positions != (*numbers, 3):
        raise ValueError(f"positions of {numbers[0]} atoms must have shape {(*numbers, 3)}, got {positions}")


def _check_elements(numbers: np.ndarray) -> None:
    if numbers.dtype.kind not in "iu":
        raise ValueError(f"numbers must be integers, got {numbers.dtype}")
    for atom in np.flatnonzero((numbers < 1) | (numbers > HEAVIEST_ELEMENT)):
        raise ValueError(
            f"atom {atom} has atomic number {numbers[atom]}; elements have 1 to {HEAVIEST_ELEMENT}"
        )


def _check_positions(positions: np.ndarray) -> None:
    if positions.dtype.kind not in "fiu":
        raise ValueError(f"positions must be real numbers in Å, got {positions.dtype}")
    for atom in np.flatnonzero(~np.isfinite(positions).all(axis=1)):
        raise ValueError(f"positions must be finite, got {positions[atom].tolist()} for atom {atom}")
    pairs = KDTree(positions).query_pairs(CLOSEST_ATOMS, output_type="ndarray")
    if len(pairs):
        distances = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
        i, j = sorted(pairs[distances.argmin()].tolist())
        raise ValueError(
            f"atoms {i} and {j} are {distances.min():.3g} Å apart; no two stand closer than {CLOSEST_ATOMS} Å"
        )
