"""L-BFGS with ASE's settings, and a step taken back where it went uphill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxphys.relaxation.types import Point, divided, longest

SOFTEST = 1e-4
"""eV/Å²: a pair with less curvature along its step, or with negative curvature, is not remembered."""
ALLOWED_RISE = 1e-3
"""eV: small rises are part of the method's way; far above the rounding of small molecules in float64."""


class Memory(NamedTuple):
    """Steps s and changes of the gradient y, (m, n, 3), with 1/(s·y), (m,); 0 for a pair that does not count.

    radius: the longest displacement of an atom allowed in the next step, in Å.
    """

    steps: Float[Array, "m n 3"]
    changes: Float[Array, "m n 3"]
    inverse: Float[Array, " m"]
    radius: Float[Array, ""]


@dataclass(frozen=True)
class LBFGS:
    """Limited-memory BFGS, a `Minimiser`.

    memory: pairs that are kept, at 48 bytes an atom in float64; curvature: of the first Hessian guess, in
    eV/Å²; max_step: longest displacement of an atom in a step, in Å. Defaults are those of ASE's LBFGS, whose
    steps these are on a convex surface. Elsewhere two things differ, so that every direction leads downhill:
    pairs of negative curvature are left out, and a step that raises the energy by more than 1e-3 eV (and the
    rounding) is taken back and tried again at half its length, with what it taught about the curvature.
    Source: Nocedal, Math. Comp. 35, 773 (1980); Liu and Nocedal, Math. Program. 45, 503 (1989).
    """

    memory: int = 100
    curvature: float = 70.0
    max_step: float = 0.2

    def __post_init__(self):
        for name in ("memory", "curvature", "max_step"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    def init(self, positions: Float[Array, "n 3"]) -> Memory:
        """No pairs, and the full step length."""
        pairs = jnp.zeros((self.memory, *positions.shape), positions.dtype)
        radius = jnp.asarray(self.max_step, positions.dtype)
        return Memory(pairs, pairs, jnp.zeros(self.memory, positions.dtype), radius)

    def propose(
        self, memory: Memory, step: Int[Array, ""], point: Point
    ) -> tuple[Float[Array, "n 3"], Memory]:
        """−H g by the two-loop recursion, shortened as a whole to the radius."""
        kept = jnp.minimum(step, self.memory)

        def newest_first(i, carry):
            q, weights = carry
            slot = (step - 1 - i) % self.memory
            weight = memory.inverse[slot] * jnp.sum(memory.steps[slot] * q)
            return q - weight * memory.changes[slot], weights.at[slot].set(weight)

        def oldest_first(i, z):
            slot = (step - kept + i) % self.memory
            weight = memory.inverse[slot] * jnp.sum(memory.changes[slot] * z)
            return z + (weights[slot] - weight) * memory.steps[slot]

        q, weights = jax.lax.fori_loop(
            0, kept, newest_first, (point.gradient, jnp.zeros_like(memory.inverse))
        )
        direction = -jax.lax.fori_loop(0, kept, oldest_first, q / self.curvature)
        return direction * jnp.minimum(1.0, divided(memory.radius, longest(direction))), memory

    def judge(
        self, memory: Memory, step: Int[Array, ""], point: Point, trial: Point
    ) -> tuple[Bool[Array, ""], Memory]:
        """Remember the pair, taken or not; take the step unless it led uphill."""
        rounding = 16 * jnp.finfo(point.energy.dtype).eps * jnp.abs(point.energy)
        accepted = trial.energy - point.energy <= ALLOWED_RISE + rounding
        moved, change = trial.positions - point.positions, trial.gradient - point.gradient
        product = jnp.sum(moved * change)
        inverse = jnp.where(
            product > SOFTEST * jnp.sum(moved**2), divided(jnp.ones_like(product), product), 0.0
        )
        radius = jnp.where(accepted, jnp.minimum(2 * memory.radius, self.max_step), longest(moved) / 2)
        slot = step % self.memory
        return accepted, Memory(
            memory.steps.at[slot].set(moved),
            memory.changes.at[slot].set(change),
            memory.inverse.at[slot].set(inverse),
            radius,
        )


AS_ASE = LBFGS()
"""The default method."""
