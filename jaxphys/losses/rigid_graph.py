"""Few pairs whose distances fix a structure: random regular graphs, and the test that they do; host."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

LARGEST_CHECKED = 200
"""Atoms; the check takes a second at this size, and as the cube of it."""
_ATTEMPTS = 1000


def rigid_graph(
    n: int, *, dimension: int = 3, seed: int = 0
) -> tuple[Int[np.ndarray, " e"], Int[np.ndarray, " e"]]:
    """Senders and receivers of n · dimension random pairs, each once, that fix n points up to an isometry.

    n: number of atoms; dimension: D, of space. Each atom is in 2D pairs, with 2D + 1 atoms or fewer in all
    pairs there are. The same seed gives the same graph. Up to 200 atoms graphs are drawn until
    `is_globally_rigid`; larger ones are so with a probability that grows with n, and are not checked. Draw
    some dozens for each n before the training, and give each sample one of them: their mean is 2D/(n − 1)
    of the sum over all pairs, where a single graph has more local minima to be caught in.
    The graph is the union of D random rings through all atoms, which is as good as a random regular graph:
    what is almost sure for one is for the other (Kim, Wormald, J. Comb. Theory B 81, 20 (2001)).
    Raises ValueError for fewer than one atom or dimension. Source: Kaba et al., NeurIPS 2025 (arXiv
    2511.02087).
    """
    if n < 1 or dimension < 1:
        raise ValueError(f"n and dimension must be at least 1, got {n} and {dimension}")
    if n <= 2 * dimension + 1:
        return _ordered(np.stack(np.triu_indices(n, 1), axis=1))
    rng = np.random.default_rng([seed, n, dimension])
    while True:
        edges = _ordered(_rings(rng, n, dimension))
        if n > LARGEST_CHECKED or is_globally_rigid(n, edges, dimension=dimension):
            return edges


def is_globally_rigid(
    n: int,
    edges: tuple[Int[np.ndarray, " e"], Int[np.ndarray, " e"]],
    *,
    dimension: int = 3,
    seed: int = 0,
) -> bool:
    """Whether the lengths of the edges fix n points in general position up to an isometry; O(n³).

    edges: senders and receivers, each pair once. Tests random points: the rigidity matrix has rank D n − D
    (D + 1)/2, so that no motion keeps all lengths, and a random stress in equilibrium has rank n − D − 1,
    the highest possible, so that no other points have them (graphs of up to D + 1 points: all pairs).
    A True is right but for rounding, a False with probability one. Points of special position, as on a line
    or in a symmetric molecule, may have more solutions.
    Source: Connelly, Discrete Comput. Geom. 33, 549 (2005); Gortler, Healy, Thurston, Am. J. Math. 132,
    897 (2010).
    """
    senders, receivers = map(np.asarray, edges)
    if n <= dimension + 1:
        return len(senders) == n * (n - 1) // 2
    rng = np.random.default_rng(seed)
    matrix = rigidity_matrix(rng.standard_normal((n, dimension)), senders, receivers)
    left, values, _ = np.linalg.svd(matrix)
    rank = _rank(values)
    if rank < dimension * n - dimension * (dimension + 1) // 2 or rank == len(senders):
        return False
    stress = left[:, rank:] @ rng.standard_normal(len(senders) - rank)
    balance = _laplacian(n, senders, receivers, stress)
    return _rank(np.linalg.svd(balance, compute_uv=False)) == n - dimension - 1


def rigidity_matrix(
    positions: Float[np.ndarray, "n d"], senders: Int[np.ndarray, " e"], receivers: Int[np.ndarray, " e"]
) -> Float[np.ndarray, "e nd"]:
    """Derivatives of half the squared lengths of edges by the coordinates, (e, n d), in the unit given."""
    n, d = positions.shape
    rows, difference = np.arange(len(senders)), positions[senders] - positions[receivers]
    matrix = np.zeros((len(senders), n, d))
    matrix[rows, senders] = difference
    matrix[rows, receivers] = -difference
    return matrix.reshape(len(senders), n * d)


def _laplacian(
    n: int, senders: np.ndarray, receivers: np.ndarray, weights: np.ndarray
) -> Float[np.ndarray, "n n"]:
    """The stress matrix: weights on the edges, with rows that add up to zero."""
    matrix = np.zeros((n, n))
    matrix[senders, receivers] = matrix[receivers, senders] = -weights
    return matrix - np.diag(matrix.sum(axis=1))


def _rank(values: np.ndarray) -> int:
    return int(np.sum(values > 1e-9 * values[0]))


def _rings(rng: np.random.Generator, n: int, count: int) -> Int[np.ndarray, "e 2"]:
    """Random rings through all points without a common pair, all pairs of them; anew where none is left."""
    while True:
        pairs = _ring(rng, n)
        for _ in range(_ATTEMPTS):
            if len(pairs) == count * n:
                return pairs
            more = np.concatenate([pairs, _ring(rng, n)])
            if len(np.unique(more[:, 0] * n + more[:, 1])) == len(more):
                pairs = more


def _ring(rng: np.random.Generator, n: int) -> Int[np.ndarray, "n 2"]:
    order = rng.permutation(n)
    return np.sort(np.stack([order, np.roll(order, 1)], axis=1), axis=1)


def _ordered(pairs: Int[np.ndarray, "e 2"]) -> tuple[Int[np.ndarray, " e"], Int[np.ndarray, " e"]]:
    """Sorted, so that neighbours in the list are neighbours in memory."""
    pairs = pairs[np.lexsort(pairs.T[::-1])].astype(np.int32)
    return pairs[:, 0], pairs[:, 1]
