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
    """What moves, with a leading axis, but for step. A molecule under way has the status NOT_CONVERGED."""

    point: Point
    status: Int[Array, " b"]
    steps: Int[Array, " b"]
    memory: Any
    step: Int[Array, ""]


def begin(energy: MoleculeEnergy, method: Minimiser, limits: Limits, batch: Batch) -> Progress:
    """The first evaluation of each molecule."""

    def one(molecule, mask, positions):
        point = _evaluate(energy, molecule, mask, positions)
        status = _status(point, jnp.asarray(False), limits)
        return Progress(point, status, jnp.asarray(0), method.init(positions), jnp.asarray(0))

    progress = jax.vmap(one)(*batch)
    return progress._replace(step=jnp.asarray(0))


def advance(
    energy: MoleculeEnergy,
    method: Minimiser,
    limits: Limits,
    batch: Batch,
    progress: Progress,
    enough: Int[Any, ""] | int = 0,
) -> Progress:
    """Steps until at most `enough` molecules are under way, or the last step is done."""
    one = jax.vmap(functools.partial(_step, energy, method, limits), in_axes=(None, *[0] * 7))

    def body(progress: Progress) -> Progress:
        point, status, steps, memory = one(progress.step, *batch, *progress[:-1])
        return Progress(point, status, steps, memory, progress.step + 1)

    def under_way(progress: Progress) -> Bool[Array, ""]:
        return (running(progress) > enough) & (progress.step < limits.max_steps)

    return jax.lax.while_loop(under_way, body, progress)


def running(progress: Progress) -> Int[Array, ""]:
    """Number of molecules that have not ended."""
    return jnp.sum(progress.status == Status.NOT_CONVERGED)


def result(progress: Progress) -> Relaxation:
    """What the user sees of it."""
    point = progress.point
    return Relaxation(
        point.positions, point.energy, jax.vmap(longest)(point.gradient), progress.steps, progress.status
    )


def _step(energy, method, limits, step, molecule, mask, start, point, status, steps, memory):
    """One step of one molecule: its point, status, steps and memory after it."""
    active = status == Status.NOT_CONVERGED
    displacement, memory = method.propose(memory, step, point)
    # what has ended stays; its memory may fill with anything
    displacement = jnp.where(active & mask[:, None], displacement, 0.0)
    trial = _evaluate(energy, molecule, mask, point.positions + displacement)
    far = longest(trial.positions - start) > limits.max_displacement
    trial_status = _status(trial, far, limits)
    exploded = trial_status == Status.EXPLODED
    accepted, memory = method.judge(memory, step, point, trial)
    kept = active & accepted & ~exploded
    point = jax.tree.map(lambda new, old: jnp.where(kept, new, old), trial, point)
    status = jnp.where(active & (accepted | exploded), trial_status, status)
    return point, status, steps + active, memory


def _evaluate(energy: MoleculeEnergy, molecule: Any, mask: Bool[Array, " n"], positions: Any) -> Point:
    value, gradient = jax.value_and_grad(energy, argnums=1)(molecule, positions)
    return Point(positions, value, jnp.where(mask[:, None], gradient, 0.0))


def _status(point: Point, far: Bool[Array, ""], limits: Limits) -> Int[Array, ""]:
    finite = jnp.isfinite(point.energy) & jnp.all(jnp.isfinite(point.gradient))
    converged = longest(point.gradient) < limits.fmax
    status = jnp.where(converged, Status.CONVERGED, Status.NOT_CONVERGED)
    return jnp.where(finite & ~far, status, Status.EXPLODED)
