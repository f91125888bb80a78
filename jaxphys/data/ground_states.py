"""Spin lattices with random couplings, and their exact ground states by a transfer matrix over minima."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

WIDEST = 20
BLOCK = 2**15  # states that are worked on at once: they fit into a cache


def random_lattices(
    count: int, rows: int, columns: int, *, seed: int | Sequence[int]
) -> tuple[Float[np.ndarray, "count rows columns"], Float[np.ndarray, "count rows columns"]]:
    """Couplings of square lattices with open boundaries, J ~ U[−1, 1] on each bond: (right, down).

    right[k, i, j]: of spin (i, j) with (i, j + 1), zero in the last column; down[k, i, j]: with (i + 1, j),
    zero in the last row. seed: one number or several, as NumPy takes it.
    Source: Edwards and Anderson, J. Phys. F 5, 965 (1975). Raises ValueError for a size below 1.
    """
    if min(count, rows, columns) < 1:
        raise ValueError(f"count, rows and columns must be at least 1, got {count}, {rows} and {columns}")
    right, down = np.random.default_rng(seed).uniform(-1, 1, (2, count, rows, columns))
    right[:, :, -1] = 0.0
    down[:, -1] = 0.0
    return right, down


def ground_states(
    right: ArrayLike, down: ArrayLike
) -> tuple[Int[np.ndarray, "count rows columns"], Float[np.ndarray, " count"]]:
    """Exact ground states of square lattices with open boundaries, (spins, energies).

    right, down: (count, rows, columns) as `random_lattices` gives them. spins: ±1, +1 in the first corner; of
    several states of the lowest energy one is given. energies: E = −Σ J_ij s_i s_j, in units of J.
    Exact but for rounding. Site by site, a minimum over the spin that leaves the frontier: time and memory
    grow as 2^width, the width being the shorter side; a 16×16 takes a quarter of a second and 2 MB.
    Raises ValueError as `check_lattices` does, and for a width above 20.
    """
    right, down = check_lattices(right, down)
    count, rows, columns = right.shape
    if columns > rows:
        spins, energies = ground_states(down.swapaxes(1, 2), right.swapaxes(1, 2))
        return spins.swapaxes(1, 2), energies
    if columns > WIDEST:
        raise ValueError(f"exact up to a width of {WIDEST} spins, got lattices of {rows}×{columns}")
    block = max(1, BLOCK // 2**columns)
    parts = [
        _sweep(right[start : start + block], down[start : start + block]) for start in range(0, count, block)
    ]
    spins = np.concatenate(parts)
    return spins * spins[:, :1, :1], lattice_energies(spins, right, down)


def lattice_energies(spins: ArrayLike, right: ArrayLike, down: ArrayLike) -> Float[np.ndarray, " count"]:
    """E = −Σ J_ij s_i s_j of lattices (count, rows, columns), in units of J."""
    spins, right, down = np.asarray(spins), np.asarray(right), np.asarray(down)
    along = np.einsum("kij,kij,kij->k", right[:, :, :-1], spins[:, :, :-1], spins[:, :, 1:])
    across = np.einsum("kij,kij,kij->k", down[:, :-1], spins[:, :-1], spins[:, 1:])
    return -(along + across)


def check_lattices(
    right: ArrayLike, down: ArrayLike
) -> tuple[Float[np.ndarray, "count rows columns"], Float[np.ndarray, "count rows columns"]]:
    """Both couplings in float64. Raises ValueError: other shapes, not finite, bonds across the boundary."""
    right, down = np.asarray(right, dtype=np.float64), np.asarray(down, dtype=np.float64)
    if right.ndim != 3 or right.shape != down.shape or not right.size:
        raise ValueError(
            f"right and down must be of one shape (count, rows, columns), got {right.shape} and {down.shape}"
        )
    if not (np.isfinite(right).all() and np.isfinite(down).all()):
        raise ValueError("couplings must be finite, got NaN or infinity")
    if right[:, :, -1].any() or down[:, -1].any():
        raise ValueError(
            "boundaries are open: right must be zero in the last column and down in the last row"
        )
    return right, down


def _sweep(right: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Ground states (k, rows, columns) of one block of lattices."""
    count, rows, columns = right.shape
    lowest = np.zeros((count, 2**columns))
    choices = []
    for row in range(rows):
        for column in range(columns):
            up = down[:, row - 1, column] if row else np.zeros(count)
            left = right[:, row, column - 1] if column else np.zeros(count)
            lowest, choice = _add_site(lowest, column, up, left)
            choices.append(choice)
    return _trace_back(np.argmin(lowest, axis=1), choices, rows, columns)


def _add_site(
    lowest: np.ndarray, column: int, up: np.ndarray, left: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Lowest energies by the frontier's spins once a site took its column, and the spins that left, as bits.

    lowest: (k, 2^columns), the frontier's first column being the highest bit, set for spin −1.
    """
    count, states = lowest.shape
    pairs = lowest.reshape(count, 2**column, 2, -1)
    by_up = up[:, None, None]
    plus, minus = pairs[:, :, 0], pairs[:, :, 1]
    # the spin that leaves is + or −, the new one + in the first and − in the second
    same, other = (plus - by_up, minus + by_up), (plus + by_up, minus - by_up)
    found = np.stack([np.minimum(*same), np.minimum(*other)], axis=2)
    choice = np.stack([same[1] < same[0], other[1] < other[0]], axis=2)
    if column:
        by_left = left[:, None, None]
        fields = found.reshape(count, 2 ** (column - 1), 2, 2, -1)
        fields[:, :, 0, 0] -= by_left
        fields[:, :, 1, 1] -= by_left
        fields[:, :, 0, 1] += by_left
        fields[:, :, 1, 0] += by_left
    return found.reshape(count, states), np.packbits(choice.reshape(count, states), axis=1)


def _trace_back(state: np.ndarray, choices: list[np.ndarray], rows: int, columns: int) -> np.ndarray:
    """The spins on the way to the last frontier."""
    every = np.arange(len(state))
    spins = np.empty((len(state), rows * columns), dtype=int)
    for site in reversed(range(rows * columns)):
        bit = columns - 1 - site % columns
        spins[:, site] = 1 - 2 * (state >> bit & 1)
        left = choices[site][every, state >> 3] >> (7 - (state & 7)) & 1
        state = state & ~(1 << bit) | left.astype(int) << bit
    return spins.reshape(-1, rows, columns)
