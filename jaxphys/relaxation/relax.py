"""The minimum next to one geometry."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from jaxphys.relaxation.lbfgs import AS_ASE
from jaxphys.relaxation.loop import Batch, Limits, result, run
from jaxphys.relaxation.types import Minimiser, Relaxation
from jaxphys.roles import EnergyFunction


def relax(
    energy_fn: EnergyFunction,
    positions: Float[Any, "n 3"],
    *,
    mask: Bool[Any, " n"] | None = None,
    method: Minimiser = AS_ASE,
    fmax: float = 0.05,
    max_steps: int = 500,
    max_displacement: float = 10.0,
) -> Relaxation:
    """Move one molecule to a minimum of its energy, until no atom feels a force of fmax or more.

    energy_fn: of positions (n, 3) in Å to eV, (); mask: (n,) True for real atoms, all if None: others stay.
    method: `LBFGS()` or `FIRE()`; fmax: in eV/Å, of an atom; max_steps: evaluations after the first one.
    A molecule whose energy or force is not finite, or with an atom more than max_displacement, in Å, from
    where it started, stops as EXPLODED with its last good geometry: look at `status`, nothing is raised.
    Pure: jit, vmap as you like; under vmap the slowest molecule holds the others, which `relax_batch` avoids.
    Not differentiable in reverse. Raises ValueError for limits and settings that are not positive.
    """
    limits = Limits(fmax, max_steps, max_displacement)
    batch = batch_of(None, jnp.asarray(positions)[None], None if mask is None else jnp.asarray(mask)[None])

    def energy(_: None, positions: Any) -> Any:
        return energy_fn(positions)

    return jax.tree.map(lambda leaf: leaf[0], result(run(energy, method, limits, batch, block=1)))


def batch_of(molecules: Any, positions: Float[Any, "b n 3"], mask: Bool[Any, "b n"] | None) -> Batch:
    """Positions as floats and a mask of the right shape, beside what the energies need."""
    positions = jnp.asarray(positions)
    positions = positions.astype(jnp.result_type(positions, jnp.float32))
    mask = jnp.ones(positions.shape[:-1], bool) if mask is None else jnp.asarray(mask)
    return Batch(molecules, mask, positions)
