"""Equilibrium samples for `experiments.debiasing`: runs of Hamiltonian Monte Carlo that are checked."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxphys import sampling
from jaxphys.roles import EnergyFunction


def equilibrium(
    energy_fn: EnergyFunction,
    key: Any,
    start: Array,
    *,
    kt: float,
    step: float,
    burn_in: int,
    draws: int,
    keep_every: int,
    leapfrog: int = 10,
) -> sampling.Samples:
    """Samples of walkers (k, n, 3) that begin anywhere: the step is tuned on the way, and again there."""
    of_first, of_second, of_run = jax.random.split(key, 3)
    settings: dict[str, Any] = {"kt": kt, "leapfrog": leapfrog, "centre": True}
    few = start[: min(len(start), 250)]
    first = sampling.tune_step_size(energy_fn, of_first, few, start=step, sweeps=100, **settings)
    second = sampling.tune_step_size(
        energy_fn, of_second, first.positions, start=first.step_size, sweeps=40, **settings
    )
    return sampling.hmc(
        energy_fn,
        of_run,
        start,
        step_size=second.step_size,
        burn_in=burn_in,
        sweeps=draws * keep_every,
        keep_every=keep_every,
        **settings,
    )


def pooled(samples: sampling.Samples) -> Array:
    """All draws of all walkers, (draws · k, n, d)."""
    return jnp.reshape(samples.positions, (-1, *samples.positions.shape[2:]))
