"""Predicted spins against exact ground states, and the baselines that need no training."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.spins_data import Gauge, Lattices, Solved, in_gauge
from experiments.spins_training import model_logits
from experiments.stages import map_batches
from jaxphys.data import lattice_energies
from jaxphys.energies import ising_lattice
from jaxphys.metrics import summarise_spins
from jaxphys.models import SpinConfig
from jaxphys.relaxation import relax_spins

HOTTEST, COLDEST = 3.0, 0.05
"""Temperatures of simulated annealing in units of J."""

BLOCK = 100

Decode = Callable[[Lattices], Any]
Result = dict[str, dict[str, Any]]


def evaluate(decode: Decode, sets: Mapping[str, Solved], gauge: Gauge = "corner") -> Result:
    """By test set, the gaps of decoded spins, those after greedy descent, and the time a lattice takes.

    decode: (lattices) → spins ±1, a block at a time, of lattices in the gauge given, compiled.
    """
    return {name: _evaluate(decode, test, in_gauge(test, gauge)) for name, test in sets.items()}


def _evaluate(decode: Decode, test: Solved, lattices: Lattices) -> dict[str, Any]:
    block = min(BLOCK, len(test.lowest))
    spins = np.asarray(map_batches(decode, lattices, block))
    relaxed = np.asarray(map_batches(_relax, (lattices, spins), block))
    started = time.perf_counter()
    jax.block_until_ready(map_batches(decode, lattices, block))
    seconds = time.perf_counter() - started
    summaries = (summarise_spins(_energies(test, some), test.lowest) for some in (spins, relaxed))
    direct, descended = (dataclasses.asdict(summary) for summary in summaries)
    return {"direct": direct, "descended": descended, "milliseconds": 1e3 * seconds / len(test.lowest)}


def _energies(test: Solved, spins: np.ndarray) -> np.ndarray:
    return lattice_energies(spins.astype(np.float64), test.right, test.down)


@jax.jit
def _relax(some: tuple[Lattices, Any]) -> Any:
    lattices, spins = some
    return jax.vmap(lambda r, d, s: relax_spins(ising_lattice(r, d), s))(lattices.right, lattices.down, spins)


def by_model(config: SpinConfig, params: Any) -> Decode:
    """The sign of the model's logits."""

    return partial(_signs, config, params)


@partial(jax.jit, static_argnums=0)
def _signs(config: SpinConfig, params: Any, lattices: Lattices) -> Any:
    """One program serves all arms of a config."""
    logits = jax.vmap(partial(model_logits, config, params))(lattices)
    return jnp.where(logits >= 0, 1.0, -1.0)


def by_reference(lattices: Lattices) -> Any:
    """The spins that the model starts from."""
    return lattices.reference


def by_chance(seed: int) -> Decode:
    """Random spins."""
    return lambda lattices: jax.random.rademacher(jax.random.key(seed), lattices.label.shape, jnp.float32)


def by_annealing(sweeps: int, seed: int) -> Decode:
    """Simulated annealing with so many sweeps."""

    return partial(_annealed, sweeps, jax.random.key(seed))


@partial(jax.jit, static_argnums=0)
def _annealed(sweeps: int, key: Any, lattices: Lattices) -> Any:
    return jax.vmap(partial(anneal, sweeps))(lattices, jax.random.split(key, len(lattices.label)))


def anneal(sweeps: int, lattice: Lattices, key: Any) -> Any:
    """Spins of one lattice at the end of heat-bath sweeps, the temperature falling geometrically.

    All spins of one colour of the checkerboard are drawn at once; they do not couple to each other.
    """
    slope = jax.grad(ising_lattice(lattice.right, lattice.down))
    rows, columns = lattice.right.shape
    black = (jnp.arange(rows)[:, None] + jnp.arange(columns)) % 2 == 0
    temperatures = jnp.geomspace(HOTTEST, COLDEST, sweeps)

    def sweep(spins: Any, step: Any) -> tuple[Any, None]:
        temperature, key = step
        chances = jax.random.uniform(key, (2, rows, columns), spins.dtype)
        for colour, chance in zip((black, ~black), chances, strict=True):
            up = chance < jax.nn.sigmoid(-2 * slope(spins) / temperature)
            spins = jnp.where(colour, jnp.where(up, 1.0, -1.0), spins)
        return spins, None

    start, moves = jax.random.split(key)
    spins = jax.random.rademacher(start, (rows, columns), jnp.float32)
    return jax.lax.scan(sweep, spins, (temperatures, jax.random.split(moves, sweeps)))[0]
