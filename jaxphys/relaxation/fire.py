"""FIRE with ASE's settings: damped dynamics that gains speed downhill and stops dead uphill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxphys.relaxation.types import Point, divided


class Memory(NamedTuple):
    """Velocity (n, 3) in Å per unit of time, time step, mixing, and steps since the last one uphill."""

    velocity: Float[Array, "n 3"]
    time_step: Float[Array, ""]
    mixing: Float[Array, ""]
    downhill: Int[Array, ""]


@dataclass(frozen=True)
class FIRE:
    """Fast inertial relaxation engine, a `Minimiser`; its steps are those of ASE's FIRE.

    time_step and max_time_step: in units in which every atom has mass 1; max_step: length of the whole
    displacement vector of a molecule in Å, not of an atom, as in ASE; patience: steps downhill before the
    time step grows; growth and shrinkage: factors of the time step; mixing: of velocity and force at the
    start; mixing_decay: its factor a step. Source: Bitzek et al., PRL 97, 170201 (2006).
    """

    time_step: float = 0.1
    max_time_step: float = 1.0
    max_step: float = 0.2
    patience: int = 5
    growth: float = 1.1
    shrinkage: float = 0.5
    mixing: float = 0.1
    mixing_decay: float = 0.99

    def __post_init__(self):
        for name in ("time_step", "max_time_step", "max_step"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    def init(self, positions: Float[Array, "n 3"]) -> Memory:
        """At rest."""
        time_step, mixing = (jnp.asarray(x, positions.dtype) for x in (self.time_step, self.mixing))
        return Memory(jnp.zeros_like(positions), time_step, mixing, jnp.asarray(0))

    def propose(
        self, memory: Memory, step: Int[Array, ""], point: Point
    ) -> tuple[Float[Array, "n 3"], Memory]:
        """One step of the dynamics, semi-implicit Euler."""
        forces = -point.gradient
        downhill = jnp.sum(forces * memory.velocity) > 0
        faster = downhill & (memory.downhill > self.patience)
        slower = ~downhill & (step > 0)
        along = forces * divided(_norm(memory.velocity), _norm(forces))
        velocity = jnp.where(downhill, (1 - memory.mixing) * memory.velocity + memory.mixing * along, 0.0)
        factor = jnp.where(faster, self.growth, jnp.where(slower, self.shrinkage, 1.0))
        time_step = jnp.minimum(memory.time_step * factor, self.max_time_step)
        mixing = jnp.where(faster, memory.mixing * self.mixing_decay, memory.mixing)
        mixing = jnp.where(slower, self.mixing, mixing)
        velocity += time_step * forces
        displacement = time_step * velocity
        displacement *= jnp.minimum(
            1.0, divided(jnp.asarray(self.max_step, displacement.dtype), _norm(displacement))
        )
        count = jnp.where(downhill, memory.downhill + 1, 0)
        return displacement, Memory(velocity, time_step, mixing, count)

    def judge(
        self, memory: Memory, step: Int[Array, ""], point: Point, trial: Point
    ) -> tuple[Bool[Array, ""], Memory]:
        """Every step counts."""
        return jnp.asarray(True), memory


def _norm(vectors: Float[Array, "n 3"]) -> Float[Array, ""]:
    return jnp.sqrt(jnp.sum(vectors**2))
