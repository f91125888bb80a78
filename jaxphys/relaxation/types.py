"""What passes between a minimiser, the loop that drives it, and the user."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Status(enum.IntEnum):
    """How a relaxation ended."""

    CONVERGED = 0
    NOT_CONVERGED = 1
    EXPLODED = 2


class Relaxation(NamedTuple):
    """Where a relaxation ended; with a leading axis for a batch.

    positions: (n, 3) in Å, padded atoms where they were; energy: in eV, and max_force: the largest |F_i| in
    eV/Å, both at these positions; steps: evaluations after the first one, as ASE counts them; status: a
    `Status`. An exploded molecule keeps its last good geometry: finite energy and forces, every atom within
    the limit. Only one that was bad from the start has an energy or a force that is not finite.
    """

    positions: Float[Array, "*batch n 3"]
    energy: Float[Array, "*batch"]
    max_force: Float[Array, "*batch"]
    steps: Int[Array, "*batch"]
    status: Int[Array, "*batch"]


class Point(NamedTuple):
    """A geometry: positions (n, 3) in Å, energy in eV, gradient (n, 3) in eV/Å, which is 0 in padding."""

    positions: Float[Array, "n 3"]
    energy: Float[Array, ""]
    gradient: Float[Array, "n 3"]


@runtime_checkable
class Minimiser(Protocol):
    """An algorithm for one molecule. Its memory is a pytree; step counts proposals from 0, alike in a batch.

    Hashable by its settings, which are static in a compiled program. Before anything is evaluated both are
    called once with step −1, at a point of infinite energy and zero gradient that then becomes the trial: the
    displacement is left out, and the memory must not count it.
    """

    def init(self, positions: Float[Array, "n 3"]) -> Any:
        """The memory before the first step."""

    def propose(self, memory: Any, step: Int[Array, ""], point: Point) -> tuple[Float[Array, "n 3"], Any]:
        """A displacement (n, 3) in Å, and the memory."""

    def judge(
        self, memory: Any, step: Int[Array, ""], point: Point, trial: Point
    ) -> tuple[Bool[Array, ""], Any]:
        """Whether to move to the trial point, and the memory."""


def longest(vectors: Float[Array, "n 3"]) -> Float[Array, ""]:
    """Length of the longest of the vectors, ()."""
    return jnp.sqrt(jnp.max(jnp.sum(vectors**2, axis=-1)))


def divided(numerator: Array, denominator: Array) -> Array:
    """The quotient, 0 where the denominator is 0."""
    return jnp.where(denominator != 0, numerator / jnp.where(denominator != 0, denominator, 1.0), 0.0)
