"""Sums over the primitive Gaussians of a basis, or over pairs of them, in tiles that bound the memory."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxphys.dft.shells import Basis, Shells

Positions = Float[Array, "a 3"]
Index = Int[Array, "t *two"]
"""One tile: which primitives, or which pairs of primitives."""


@dataclass(frozen=True)
class Primitives:
    """All primitives of one angular momentum in a row, and at its end one that is empty.

    The row is in the order (number of primitives in the shell, primitive, shell).
    """

    l: int
    blocks: tuple[tuple[int, int], ...]  # numbers of shells, and of primitives in each
    shell: np.ndarray  # (p − 1,) the shell of each but the last
    first: Int[Array, " s"]  # first function of each shell
    centre: Int[Array, " p"]  # index of the atom
    exponent: Float[Array, " p"]
    coefficient: Float[Array, " p"]
    function: Int[Array, " p"]  # first function of the shell; of the last, the number of functions

    def __len__(self) -> int:
        return len(self.shell)


def primitives(basis: Basis, functions: int, highest: int) -> list[Primitives]:
    """The primitives of a basis by ascending angular momentum; ValueError if that goes beyond the highest.

    Exponents and coefficients are constants: derivatives are those with respect to positions.
    """
    momenta = sorted({shells.l for shells in basis})
    if max(momenta) > highest:
        raise ValueError(f"shells of angular momentum {max(momenta)} where {highest} is the highest possible")
    return [_row([shells for shells in basis if shells.l == l], functions) for l in momenta]


def _row(group: list[Shells], functions: int) -> Primitives:
    group = jax.tree.map(jnp.asarray, group)
    blocks = tuple(shells.exponents.shape for shells in group)
    starts = np.cumsum([0, *(count for count, _ in blocks[:-1])])
    shell = [np.tile(np.arange(count) + start, k) for (count, k), start in zip(blocks, starts, strict=True)]

    def row(columns: list[Array], empty: int | float) -> Array:
        parts = [
            jnp.broadcast_to(column, block).T.ravel() for column, block in zip(columns, blocks, strict=True)
        ]
        return jnp.concatenate([*parts, jnp.full(1, empty, parts[0].dtype)])

    return Primitives(
        l=group[0].l,
        blocks=blocks,
        shell=np.concatenate(shell),
        first=jnp.concatenate([shells.first for shells in group]),
        centre=row([shells.centre[:, None] for shells in group], 0),
        exponent=jax.lax.stop_gradient(row([shells.exponents for shells in group], 1.0)),
        coefficient=jax.lax.stop_gradient(row([shells.coefficients for shells in group], 0.0)),
        function=row([shells.first[:, None] for shells in group], functions),
    )


def sum_over_pairs(
    groups: list[Primitives],
    positions: Positions,
    n: int,
    width: int,
    tile: int,
    values: Callable[[Primitives, Primitives, Positions, Index], Float[Array, "t f w"]],
) -> Float[Array, "{n}*({n}+1)//2 {width}"]:
    """Values of primitive pairs, (t, functions of a × of b, width), summed for pairs i ≥ j of n functions."""
    total = jnp.zeros((n * (n + 1) // 2, width))
    for number, a in enumerate(groups):
        for b in groups[: number + 1]:
            pairs = np.indices((len(a), len(b))).reshape(2, -1).T
            if a is b:
                pairs = pairs[a.shell[pairs[:, 0]] >= a.shell[pairs[:, 1]]]
            rows, new = functools.partial(_pair_rows, a, b, n), functools.partial(values, a, b)
            total = _add_tiles(total, positions, pairs, (len(a), len(b)), tile, rows, new)
    return total


def sum_over_singles(
    groups: list[Primitives],
    positions: Positions,
    m: int,
    width: int,
    tile: int,
    values: Callable[[Primitives, Positions, Index], Float[Array, "t f w"]],
) -> Float[Array, "{m} {width}"]:
    """Values of primitives, (t, functions, width), summed for m functions."""
    total = jnp.zeros((m, width))
    for a in groups:
        rows, new = functools.partial(_single_rows, a), functools.partial(values, a)
        total = _add_tiles(total, positions, np.arange(len(a)), len(a), tile, rows, new)
    return total


def _add_tiles(
    total: Float[Array, "r w"],
    positions: Positions,
    items: np.ndarray,
    empty: int | tuple[int, int],
    tile: int,
    rows: Callable[[Index], Array],
    values: Callable[[Positions, Index], Array],
) -> Float[Array, "r w"]:
    """Add the values (t, f, w) of all items, t at a time, to rows (t, f) of the total where those exist.

    The last tile is filled up with what is empty. In reverse mode nothing but the items is stored.
    """
    tile = max(1, min(tile, len(items)))
    filling = np.full((-len(items) % tile, *items.shape[1:]), empty)
    tiles = np.concatenate([items, filling]).astype(np.int32).reshape(-1, tile, *items.shape[1:])

    def step(total: Array, index: Array) -> tuple[Array, None]:
        new = jax.checkpoint(values, prevent_cse=False)(positions, index)
        return total.at[rows(index).ravel()].add(new.reshape(-1, new.shape[-1]), mode="drop"), None

    return jax.lax.scan(step, total, jnp.asarray(tiles))[0]


def _pair_rows(a: Primitives, b: Primitives, n: int, index: Index) -> Int[Array, "t f"]:
    """Packed places of pairs of functions; one past the end for padding, and for the second of ij and ji."""
    i, j = a.function[index[:, 0]][:, None, None], b.function[index[:, 1]][:, None, None]
    one, two = i + jnp.arange(2 * a.l + 1)[:, None], j + jnp.arange(2 * b.l + 1)
    high, low = jnp.maximum(one, two), jnp.minimum(one, two)
    absent = (high >= n) | ((i == j) & (one < two))
    return jnp.where(absent, n * (n + 1) // 2, high * (high + 1) // 2 + low).reshape(len(index), -1)


def _single_rows(a: Primitives, index: Index) -> Int[Array, "t f"]:
    return a.function[index][:, None] + jnp.arange(2 * a.l + 1)
