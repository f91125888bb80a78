"""The loop behind `relax` and `relax_batch`: every molecule of a batch on its own way, in one program."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxphys.relaxation.types import Minimiser, Point, Relaxation, Status, longest

MoleculeEnergy = Callable[[Any, Float[Any, "n 3"]], Float[Array, ""]]


@dataclass(frozen=True)
class Limits:
    """When a molecule stops: fmax in eV/Å, max_steps, max_displacement of an atom from its start in Å."""

    fmax: float
    max_steps: int
    max_displacement: float

    def __post_init__(self):
        for name in ("fmax", "max_displacement"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.max_steps < 0:
            raise ValueError(f"max_steps must not be negative, got {self.max_steps}")


class Batch(NamedTuple):
    """What does not move, with a leading axis: what each energy needs, real atoms, and where they started."""

    molecules: Any
    mask: Bool[Array, "b n"]
    start: Float[Array, "b n 3"]


class Progress(NamedTuple):
    """What moves, with a leading axis, but for step. A molecule under way has the status NOT_CONVERGED.

    step: of the next proposal; −1 before the first evaluation, which moves nothing.
    """

    point: Point
    status: Int[Array, " b"]
    steps: Int[Array, " b"]
    memory: Any
    step: Int[Array, ""]


def run(energy: MoleculeEnergy, method: Minimiser, limits: Limits, batch: Batch, block: int) -> Progress:
    """Steps until no molecule is under way, or the last step is done; energies in blocks of so many."""
    propose = jax.vmap(method.propose, in_axes=(0, None, 0))
    judge = jax.vmap(functools.partial(_judge, method, limits), in_axes=(None, *[0] * 6))

    def body(progress: Progress) -> Progress:
        point, status, steps, memory, step = progress
        active = status == Status.NOT_CONVERGED
        displacement, memory = propose(memory, step, point)
        # what has ended stays; its memory may fill with anything
        moves = active[:, None, None] & batch.mask[..., None] & (step >= 0)
        positions = point.positions + jnp.where(moves, displacement, 0.0)
        trial = _evaluate(energy, batch, positions, active, block)
        point, status, memory = judge(step, batch.start, active, point, trial, status, memory)
        return Progress(point, status, steps + active, memory, step + 1)

    def under_way(progress: Progress) -> Bool[Array, ""]:
        going = jnp.any(progress.status == Status.NOT_CONVERGED)
        return going & (progress.step < limits.max_steps)

    return jax.lax.while_loop(under_way, body, _before(energy, method, batch))


def _before(energy: MoleculeEnergy, method: Minimiser, batch: Batch) -> Progress:
    """Nothing evaluated: a step without a displacement will do it, so that one program holds one energy."""
    count, start = len(batch.start), batch.start
    one = jax.eval_shape(energy, *jax.tree.map(lambda leaf: leaf[0], (batch.molecules, start)))
    point = Point(start, jnp.full(count, jnp.inf, one.dtype), jnp.zeros_like(start))
    status = jnp.full(count, int(Status.NOT_CONVERGED))
    steps = jnp.full(count, -1)
    return Progress(point, status, steps, jax.vmap(method.init)(start), jnp.asarray(-1))


def result(progress: Progress) -> Relaxation:
    """What the user sees of it."""
    point = progress.point
    return Relaxation(
        point.positions, point.energy, jax.vmap(longest)(point.gradient), progress.steps, progress.status
    )


def _judge(method, limits, step, start, active, point, trial, status, memory):
    """The point, status and memory of one molecule after its step."""
    far = longest(trial.positions - start) > limits.max_displacement
    trial_status = _status(trial, far, limits)
    exploded = trial_status == Status.EXPLODED
    accepted, memory = method.judge(memory, step, point, trial)
    first = step < 0
    accepted = accepted | first
    kept = active & accepted & (~exploded | first)
    point = jax.tree.map(lambda new, old: jnp.where(kept, new, old), trial, point)
    status = jnp.where(active & (accepted | exploded), trial_status, status)
    return point, status, memory


def _evaluate(
    energy: MoleculeEnergy,
    batch: Batch,
    positions: Float[Array, "b n 3"],
    chosen: Bool[Array, " b"],
    block: int,
) -> Point:
    """Points of the chosen molecules, the others' are anything; as few blocks as hold them."""

    def one(molecule, mask, positions):
        value, gradient = jax.value_and_grad(energy, argnums=1)(molecule, positions)
        return Point(positions, value, jnp.where(mask[:, None], gradient, 0.0))

    every = (batch.molecules, batch.mask, positions)
    if block >= len(positions):
        return jax.vmap(one)(*every)
    # those chosen first; the last block may hold others, or one of them again
    order = jnp.pad(jnp.argsort(~chosen), (0, -len(positions) % block), mode="edge")

    def next_block(i, found):
        places = jax.lax.dynamic_slice(order, (i * block,), (block,))
        points = jax.vmap(one)(*jax.tree.map(lambda leaf: jnp.asarray(leaf)[places], every))
        return jax.tree.map(lambda whole, part: whole.at[places].set(part), found, points)

    shapes = jax.eval_shape(jax.vmap(one), *every)
    empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.lax.fori_loop(0, (jnp.sum(chosen) + block - 1) // block, next_block, empty)


def _status(point: Point, far: Bool[Array, ""], limits: Limits) -> Int[Array, ""]:
    finite = jnp.isfinite(point.energy) & jnp.all(jnp.isfinite(point.gradient))
    converged = longest(point.gradient) < limits.fmax
    status = jnp.where(converged, Status.CONVERGED, Status.NOT_CONVERGED)
    return jnp.where(finite & ~far, status, Status.EXPLODED)
