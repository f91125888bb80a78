"""How `experiments.debiasing` makes samples: by a denoiser, weights, annealing, and plain dynamics."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array

from experiments.debiasing_presets import Preset
from experiments.debiasing_systems import FLOAT, Denoiser, System
from jaxphys import diffusion, sampling

BATCH = 500


class Made(NamedTuple):
    """Samples of equal weight, (k, n, d); the calls of energy and force in all; what else is to be told; and
    of each sample the group of samples that it may be correlated with, its own if None."""

    positions: Array
    force_calls: int = 0
    facts: dict[str, Any] = {}  # noqa: RUF012  never changed
    groups: Array | None = None


def by_denoiser(system: System, denoise: Denoiser, params: Any, key: Any, *, count: int, levels: int) -> Made:
    """Ancestral sampling from the greatest to the least σ, and the denoised structure."""
    keys = jax.random.split(key, count)
    return Made(
        _ancestral(Partial(denoise, params), keys, _levels(system, levels), system.shape, system.centre)
    )


def by_weights(system: System, denoise: Denoiser, params: Any, key: Any, *, count: int, levels: int) -> Made:
    """Samples of the flow, resampled by exp(−E/kT) over the model's own density: one call a sample."""
    of_flow, of_choice = jax.random.split(key)
    keys = jax.random.split(of_flow, count)
    positions, log_density = _flow(
        Partial(denoise, params), keys, _levels(system, levels), system.shape, system.centre
    )
    energy = jax.jit(jax.vmap(system.energy_fn))(positions)
    log_weights = jnp.where(jnp.isfinite(energy + log_density), -energy / system.kt - log_density, -jnp.inf)
    weights = sampling.importance_weights(log_weights)
    fraction = float(sampling.effective_sample_size(log_weights).fraction)
    chosen = sampling.resample(of_choice, weights, count)
    return Made(positions[chosen], count, {"ess": fraction}, chosen)


def by_annealing(system: System, data: Array, key: Any, *, preset: Preset, regime: str) -> Made:
    """The biased samples carried to the target by sequential Monte Carlo, from the high temperature.

    Where their weights are wrong they are brought into equilibrium there first, at which barriers are low.
    """
    of_step, of_heat, of_rungs = jax.random.split(key, 3)
    few = data[: min(len(data), 500)]
    settings: dict[str, Any] = {"leapfrog": preset.leapfrog, "centre": system.centre}
    tuned = sampling.tune_step_size(
        system.energy_fn, of_step, few, kt=system.hot, start=system.step, sweeps=40, **settings
    )
    calls = tuned.force_calls
    if regime == "weights":
        heated = sampling.hmc(
            system.energy_fn,
            of_heat,
            data,
            kt=system.hot,
            step_size=tuned.step_size,
            sweeps=preset.heat,
            keep_every=preset.heat,
            **settings,
        )
        data, calls = heated.positions[-1], calls + heated.force_calls
    found = sampling.anneal(
        system.energy_fn,
        of_rungs,
        data,
        kt_start=system.hot,
        kt_end=system.kt,
        sweeps=preset.sweeps,
        step_size=float(tuned.step_size),
        ess_fraction=preset.ess_fraction,
        **settings,
    )
    facts = {
        "rungs": len(found.ess),
        "least ess": float(np.min(found.ess)),
        "ancestors": found.ancestors,
        "acceptance": float(np.min(found.acceptance)),
        "step": float(found.step_sizes[-1]),
    }
    return Made(found.positions, calls + found.force_calls, facts, found.lineage)


def by_dynamics(system: System, data: Array, key: Any, *, step: float, calls: int, leapfrog: int) -> Made:
    """The biased samples, moved at the target temperature for as many calls in all, each on its own."""
    sweeps = max(1, round(calls / len(data) / leapfrog))
    found = sampling.hmc(
        system.energy_fn,
        key,
        data,
        kt=system.kt,
        step_size=step,
        sweeps=sweeps,
        keep_every=sweeps,
        leapfrog=leapfrog,
        centre=system.centre,
    )
    return Made(found.positions[-1], found.force_calls, {"acceptance": float(found.acceptance)})


def by_crossing(system: System, data: Array, key: Any, *, step: float, calls: int) -> Made:
    """As `by_dynamics`, by the system's own moves across its barriers. Raises ValueError if it has none."""
    if system.crossing is None:
        raise ValueError(f"{system.name} has no moves across barriers")
    return Made(*system.crossing(key, data, step=step, calls=calls))


def _levels(system: System, count: int) -> Array:
    return jnp.geomspace(system.levels[1], system.levels[0], count).astype(FLOAT)


@partial(jax.jit, static_argnums=(3, 4))
def _ancestral(denoise_fn: Any, keys: Array, sigmas: Array, shape: tuple[int, int], centre: bool) -> Array:
    def one(key: Array) -> Array:
        first, rest = jax.random.split(key)
        start = sigmas[0] * _noise(first, shape, centre)
        return diffusion.stochastic(denoise_fn, rest, start, sigmas, centre=centre)

    return jax.lax.map(one, keys, batch_size=BATCH)


@partial(jax.jit, static_argnums=(3, 4))
def _flow(
    denoise_fn: Any, keys: Array, sigmas: Array, shape: tuple[int, int], centre: bool
) -> tuple[Array, Array]:
    def one(key: Array) -> tuple[Array, Array]:
        start = sigmas[0] * _noise(key, shape, centre)
        return diffusion.flow_with_density(denoise_fn, start, sigmas, centre=centre)

    return jax.lax.map(one, keys, batch_size=BATCH)


def _noise(key: Array, shape: tuple[int, int], centre: bool) -> Array:
    noise = jax.random.normal(key, shape, FLOAT)
    return diffusion.centred(noise) if centre else noise
