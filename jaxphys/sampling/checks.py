"""What a sampler asks of its arguments; what is traced by jit has no values to look at, and passes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def is_traced(*arrays: Any) -> bool:
    """Whether any of the arrays has no values yet."""
    return any(isinstance(array, jax.core.Tracer) for array in arrays)


def checked_positions(positions: Any, *, centre: bool, stacked: int = 1) -> Float[Array, "*stack n d"]:
    """Positions as floats, with so many leading axes.

    Raises ValueError for another number of axes, an empty one, a value that is not finite, and for a single
    particle whose centre is to be taken away.
    """
    positions = jnp.asarray(positions)
    if positions.ndim != stacked + 2 or 0 in positions.shape:
        axes = ("walkers, particles, dimensions", "ladders, temperatures, particles, dimensions")[stacked - 1]
        raise ValueError(f"positions must have shape ({axes}), none of them empty, got {positions.shape}")
    if centre and positions.shape[-2] == 1:
        raise ValueError("centre=True leaves nothing of a single particle: its positions are all that it has")
    if not is_traced(positions) and not bool(jnp.all(jnp.isfinite(positions))):
        finite = np.isfinite(np.asarray(positions)).all(axis=tuple(range(1, positions.ndim)))
        raise ValueError(f"positions of walker {np.argmin(finite)} are not finite at the start")
    return positions.astype(jnp.result_type(positions, jnp.float32))


def check_start(energies: Float[Any, ...]) -> None:
    """Raises ValueError naming the first walker that starts with an energy that is not finite."""
    if is_traced(energies):
        return
    flat = np.asarray(energies).ravel()
    if not np.isfinite(flat).all():
        first = int(np.argmin(np.isfinite(flat)))
        raise ValueError(
            f"walker {first} of {flat.size} starts with the energy {flat[first]}: every one must start where "
            "the energy is finite, e.g. at a relaxed structure"
        )


def check_positive(**values: Any) -> None:
    """Raises ValueError naming the first argument that is not positive and finite throughout."""
    for name, value in values.items():
        if is_traced(value):
            continue
        if not (np.all(np.asarray(value) > 0) and np.all(np.isfinite(np.asarray(value)))):
            raise ValueError(f"{name} must be positive and finite, got {value}")


def check_counts(**counts: int) -> None:
    """Raises ValueError naming the first argument that is not at least 1."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")


def check_fractions(**fractions: float) -> None:
    """Raises ValueError naming the first argument that does not lie between 0 and 1."""
    for name, fraction in fractions.items():
        if not 0 < fraction < 1:
            raise ValueError(f"{name} must lie between 0 and 1, got {fraction}")


def check_run(*, sweeps: int, leapfrog: int, keep_every: int, burn_in: int, jitter: float) -> None:
    """Raises ValueError for the first setting of a run that cannot be."""
    check_counts(sweeps=sweeps, leapfrog=leapfrog, keep_every=keep_every)
    if sweeps % keep_every:
        raise ValueError(f"sweeps must be a multiple of keep_every, got {sweeps} and {keep_every}")
    if burn_in < 0:
        raise ValueError(f"burn_in must not be negative, got {burn_in}")
    if not 0 <= jitter < 1:
        raise ValueError(f"jitter must be at least 0 and below 1, got {jitter}")
