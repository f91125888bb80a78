"""Minima of many molecules at once; those that have ended stop costing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Bool, Float, Int

from jaxphys.relaxation.lbfgs import AS_ASE
from jaxphys.relaxation.loop import Batch, Limits, Progress, advance, begin, result, running
from jaxphys.relaxation.relax import batch_of
from jaxphys.relaxation.types import Minimiser, Relaxation, Status


def relax_batch(
    energy_fn: Callable[[Any, Float[Any, "n 3"]], Float[Array, ""]],
    molecules: Any,
    positions: Float[Any, "b n 3"],
    *,
    mask: Bool[Any, "b n"] | None = None,
    method: Minimiser = AS_ASE,
    fmax: float = 0.05,
    max_steps: int = 500,
    max_displacement: float = 10.0,
    smallest_batch: int | None = 8,
) -> Relaxation:
    """Each molecule of a padded batch to a minimum, in one compiled program; each stops on its own.

    energy_fn: of (molecule, positions (n, 3) in Å) to eV, (), for one molecule; molecules: a pytree with a
    leading axis b, whatever the energy needs besides positions, or None; positions: (b, n, 3) in Å; the rest
    as for `relax`, whose results these are. Programs are kept for an energy_fn, a shape and settings: pass
    the same function again. Parameters that change go in as `jax.tree_util.Partial(energy_fn, params)`, with
    energy_fn(params, molecule, positions), or as arguments of a `jax.jit` of your own around this.

    Whenever half have ended, the rest go on in a batch half as large, down to smallest_batch, each size a
    program of its own at the first time. None keeps one batch and one program, and works under `jax.jit`.
    Raises ValueError as `relax` does, for shapes that do not match, and TypeError under jit with a
    smallest_batch.
    """
    _check_shapes(molecules, np.shape(positions), None if mask is None else np.shape(mask))
    limits = Limits(fmax, max_steps, max_displacement)
    batch = batch_of(molecules, positions, mask)
    energy = energy_fn if isinstance(energy_fn, Partial) else Partial(energy_fn)
    if smallest_batch is None:
        return _relax_whole(energy, method, limits, batch)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((energy, batch))):
        raise TypeError("shrinking batches are chosen on the host: under jit pass smallest_batch=None")
    if smallest_batch < 1:
        raise ValueError(f"smallest_batch must be at least 1, or None, got {smallest_batch}")
    return _relax_shrinking(energy, method, limits, batch, smallest_batch)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _relax_whole(energy: Partial, method: Minimiser, limits: Limits, batch: Batch) -> Relaxation:
    return result(advance(energy, method, limits, batch, begin(energy, method, limits, batch)))


def _relax_shrinking(
    energy: Partial, method: Minimiser, limits: Limits, batch: Batch, smallest: int
) -> Relaxation:
    size = len(batch.start)
    places = np.arange(size)
    progress = _begin(energy, method, limits, batch)
    found: Any = jax.tree.map(np.array, result(progress))
    while True:
        enough = _enough(size, smallest)
        progress, ended = _go_on(energy, method, limits, batch, progress, enough)
        for whole, part in zip(found, ended, strict=True):
            whole[places] = part
        if not enough or progress.step >= limits.max_steps or not running(progress):
            return Relaxation(*map(jnp.asarray, found))
        size = enough
        # those under way first, behind them as many others as the size needs
        chosen = np.argsort(np.asarray(progress.status) != Status.NOT_CONVERGED, kind="stable")[:size]
        places = places[chosen]
        batch, progress = _take(batch, progress, chosen)


def _enough(size: int, smallest: int) -> int:
    """How few molecules are worth a smaller batch, and its size; 0 if none is."""
    return size // 2 if size // 2 >= smallest else 0


_begin = jax.jit(begin, static_argnums=(1, 2))


@functools.partial(jax.jit, static_argnums=(1, 2))
def _go_on(
    energy: Partial,
    method: Minimiser,
    limits: Limits,
    batch: Batch,
    progress: Progress,
    enough: Int[Any, ""] | int,
) -> tuple[Progress, Relaxation]:
    progress = advance(energy, method, limits, batch, progress, enough)
    return progress, result(progress)


@jax.jit
def _take(batch: Batch, progress: Progress, chosen: Int[Any, " s"]) -> tuple[Batch, Progress]:
    batch, moving = jax.tree.map(lambda leaf: leaf[chosen], (batch, progress[:-1]))
    point, status, steps, memory = moving
    return batch, Progress(point, status, steps, memory, progress.step)


def _check_shapes(molecules: Any, positions: tuple[int, ...], mask: tuple[int, ...] | None) -> None:
    if len(positions) != 3 or positions[0] == 0 or positions[2] != 3:
        raise ValueError(f"positions must have shape (molecules, atoms, 3), got {positions}")
    if mask is not None and mask != positions[:2]:
        raise ValueError(f"mask must have shape {positions[:2]}, got {mask}")
    for leaf in jax.tree.leaves(molecules):
        if np.shape(leaf)[:1] != positions[:1]:
            raise ValueError(
                f"every array of molecules needs a leading axis of {positions[0]}, got shape {np.shape(leaf)}"
            )
