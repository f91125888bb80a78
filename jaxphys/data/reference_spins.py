"""Spins that satisfy the bonds of a spanning tree: a gauge for couplings, and for labels."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree


def reference_spins(
    couplings: Float[np.ndarray, " bonds"],
    senders: Int[np.ndarray, " bonds"],
    receivers: Int[np.ndarray, " bonds"],
    spins: int,
    *,
    strongest: bool = True,
) -> Int[np.ndarray, " spins"]:
    """Spins ±1 that satisfy every bond of a spanning tree; the first of each connected part is +1.

    couplings: J of each bond, once each; senders, receivers: its two spins, from 0; spins: their number.
    strongest: the maximum spanning tree of |J|; else that of the shortest ways from the first spins, whatever
    the couplings. Under a gauge transformation, J_ij → J_ij e_i e_j with e = ±1, they become t_i e_i but for
    the sign of a part: what is found from J_ij t_i t_j, times t, follows it. Bonds of zero count as positive.
    """
    joined = coo_array((np.ones(len(senders)), (senders, receivers)), (spins, spins))
    parts, part = connected_components(joined, directed=False)
    # a further node that holds the parts together
    one = np.concatenate([senders, np.full(parts, spins)])
    other = np.concatenate([receivers, np.unique(part, return_index=True)[1]])
    size = np.concatenate([np.abs(couplings), np.zeros(parts)]) if strongest else np.zeros(len(one))
    # scipy takes a weight of zero for no edge at all
    weights = -1.0 - size / (np.max(size) or 1.0)
    tree = coo_array((weights, (one, other)), (spins + 1, spins + 1)).tocsr()
    if strongest:
        tree = minimum_spanning_tree(tree)
    _, before = breadth_first_order(tree, spins, directed=False)
    negative = np.concatenate([couplings < 0, np.zeros(parts, dtype=bool)])
    return _along(before, _sign_to(before, one, other, negative))


def lattice_reference(
    right: Float[np.ndarray, "count rows columns"],
    down: Float[np.ndarray, "count rows columns"],
    *,
    strongest: bool = True,
) -> Int[np.ndarray, "count rows columns"]:
    """`reference_spins` of square lattices, couplings as of `random_lattices`; the first corner is +1."""
    places = np.arange(right.size).reshape(right.shape)
    spins = reference_spins(
        np.concatenate([right[:, :, :-1].ravel(), down[:, :-1].ravel()]),
        np.concatenate([places[:, :, :-1].ravel(), places[:, :-1].ravel()]),
        np.concatenate([places[:, :, 1:].ravel(), places[:, 1:].ravel()]),
        right.size,
        strongest=strongest,
    )
    return spins.reshape(right.shape)


def align_spins(
    spins: Int[np.ndarray, " count *shape"], reference: Int[np.ndarray, " count *shape"]
) -> Int[np.ndarray, " count *shape"]:
    """Each state or its flip, whichever agrees with more of the reference; at a draw, with its first spin."""
    flat = (spins * reference).reshape(len(spins), -1)
    overlap = 2 * flat.sum(axis=1) + flat[:, 0]
    return spins * np.where(overlap < 0, -1, 1).reshape(-1, *[1] * (spins.ndim - 1))


def _sign_to(before: np.ndarray, one: np.ndarray, other: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Sign of the bond between each node and the one before it in the tree; the root's is +1."""
    sign = np.ones(len(before), dtype=int)
    for child, parent in ((one, other), (other, one)):
        on_tree = before[child] == parent
        sign[child[on_tree]] = np.where(negative[on_tree], -1, 1)
    return sign


def _along(before: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """Products of the signs on the way to the root, the last node, by doubling the stride."""
    root = len(before) - 1
    before = np.where(before < 0, root, before)
    while np.any(before != root):
        sign = sign * sign[before]
        before = before[before]
    return sign[:root]
