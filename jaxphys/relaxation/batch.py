"""Minima of many molecules at once; those that have ended stop costing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Bool, Float

from jaxphys.relaxation.lbfgs import AS_ASE
from jaxphys.relaxation.loop import Batch, Limits, result, run
from jaxphys.relaxation.relax import batch_of
from jaxphys.relaxation.types import Minimiser, Relaxation

SMALL_BLOCK = 8


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
    block: int | None = None,
) -> Relaxation:
    """Each molecule of a padded batch to a minimum, in one compiled program; each stops on its own.

    energy_fn: of (molecule, positions (n, 3) in Å) to eV, (), for one molecule; molecules: a pytree with a
    leading axis b, whatever the energy needs besides positions, or None; positions: (b, n, 3) in Å; the rest
    as for `relax`, whose results these are. Programs are kept for an energy_fn, a shape and settings: pass
    the same function again. Parameters that change go in as `jax.tree_util.Partial(energy_fn, params)`, with
    energy_fn(params, molecule, positions), or as arguments of a `jax.jit` of your own around this.

    Energies are taken in blocks of molecules that are still under way, one block after the other: small ones
    fit a CPU's cache and waste less on molecules that have ended, large ones keep an accelerator busy. By
    default 8 on a CPU, elsewhere an eighth of the batch, and at least 8.
    Raises ValueError as `relax` does, and for shapes that do not match.
    """
    _check_shapes(molecules, np.shape(positions), None if mask is None else np.shape(mask))
    limits = Limits(fmax, max_steps, max_displacement)
    batch = batch_of(molecules, positions, mask)
    energy = energy_fn if isinstance(energy_fn, Partial) else Partial(energy_fn)
    if block is None:
        block = SMALL_BLOCK if jax.default_backend() == "cpu" else max(SMALL_BLOCK, len(batch.start) // 8)
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    return _relax(energy, method, limits, batch, block)


@functools.partial(jax.jit, static_argnums=(1, 2, 4))
def _relax(energy: Partial, method: Minimiser, limits: Limits, batch: Batch, block: int) -> Relaxation:
    return result(run(energy, method, limits, batch, block))


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
