"""Samples at several temperatures that exchange their walkers: over barriers that the lowest cannot cross."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, UInt32

from jaxphys.roles import EnergyFunction
from jaxphys.sampling import checks
from jaxphys.sampling.hmc import tune_step_size
from jaxphys.sampling.walkers import Walkers, as_partial, begin, centred, sweep


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Tempered:
    """What a run over a ladder of t temperatures left, k ladders at once.

    positions: (draws, k, t, n, d) in Å, those at kts[i] in [:, :, i]; energies: (draws, k, t) in eV;
    acceptance: (t,), mean probability of the trajectories at each temperature; swap_acceptance: (t − 1,), of
    an exchange between a temperature and the next: with less than about 0.1 they are too far apart;
    round_trips: (k,), how often a replica of each ladder came from the lowest temperature to the highest and
    back; all after burn-in; step_sizes: (t,) in Å; force_calls: how often an energy and its gradient were
    evaluated for one walker, tuning and burn-in included.
    """

    positions: Float[Array, "draws k t n d"]
    energies: Float[Array, "draws k t"]
    acceptance: Float[Array, " t"]
    swap_acceptance: Float[Array, " pairs"]
    round_trips: Int[Array, " k"]
    step_sizes: Float[Array, " t"]
    force_calls: int = field(metadata={"static": True})


class Ladders(NamedTuple):
    """The walkers of k ladders, each leaf (k, t, ...); where each has been, and what is counted.

    been: (k, t), of the replica that is there: 1 after the lowest temperature, 2 after the highest later on;
    trips: (k,); swaps, tries: (t − 1,); accepted: (t,), sums over sweeps.
    """

    walkers: Walkers
    been: Int[Array, "k t"]
    trips: Int[Array, " k"]
    swaps: Float[Array, " pairs"]
    tries: Float[Array, " pairs"]
    accepted: Float[Array, " t"]


def parallel_tempering(
    energy_fn: EnergyFunction,
    key: Key[Array, ""] | UInt32[Array, " 2"],
    positions: Float[Any, "k n d"] | Float[Any, "k t n d"],
    *,
    kts: Float[Any, " t"],
    sweeps: int,
    leapfrog: int = 10,
    step_sizes: Float[Any, " t"] | None = None,
    burn_in: int = 0,
    keep_every: int = 1,
    centre: bool = False,
    jitter: float = 0.2,
) -> Tempered:
    """Samples of exp(−E/kT) at all temperatures of a ladder, every keep_every-th sweep kept.

    energy_fn: of positions (n, d) in Å to eV; positions: (k, t, n, d), or (k, n, d) for ladders whose
    walkers all start alike; kts: (t,) in eV, ascending, so close that neighbours exchange at least every
    fifth time, the highest such that no barrier holds; step_sizes: (t,) in Å, one for each temperature, by
    `tune_step_size` to an acceptance of 0.8 if None, from the start given; sweeps: after burn_in, each a
    trajectory of every walker and one round of exchanges, of the pairs (0, 1), (2, 3), … and of (1, 2),
    (3, 4), … in turn; centre, jitter: as of `hmc`. The draws of one ladder depend on each other, the ladders
    do not. Can be jitted as a whole with step_sizes given.
    Source: Geyer, Computing Science and Statistics 23, 156 (1991); Hansmann, Chem. Phys. Lett. 281, 140
    (1997); pairs in turn: Lingenheil et al., Chem. Phys. Lett. 478, 80 (2009). The moves are blackjax's.
    Raises ValueError as `hmc` does, and for a ladder that is not ascending or has less than two temperatures.
    """
    checks.check_run(sweeps=sweeps, leapfrog=leapfrog, keep_every=keep_every, burn_in=burn_in, jitter=jitter)
    kts = _ladder(kts)
    positions = _on_ladders(jnp.asarray(positions), len(kts))
    positions = checks.checked_positions(positions, centre=centre, stacked=2)
    kts = kts.astype(positions.dtype)
    tuning_calls = 0
    if step_sizes is None:
        key, own_key = jax.random.split(key)
        settings = {"leapfrog": leapfrog, "centre": centre, "jitter": jitter}
        step_sizes, positions, tuning_calls = _tuned(energy_fn, own_key, positions, kts, settings)
    checks.check_positive(step_sizes=step_sizes)
    step_sizes = jnp.asarray(step_sizes, positions.dtype)
    if step_sizes.shape != kts.shape:
        raise ValueError(f"step_sizes must be one for each of {len(kts)} kts, got {step_sizes.shape}")
    energy = as_partial(energy_fn)
    count = positions.shape[0] * positions.shape[1]
    walkers = begin(energy, positions.reshape(count, *positions.shape[2:]))
    checks.check_start(walkers.energies)
    walkers = jax.tree.map(lambda leaf: leaf.reshape(*positions.shape[:2], *leaf.shape[1:]), walkers)
    counts, static = (burn_in, keep_every), {"leapfrog": leapfrog, "draws": sweeps // keep_every}
    end, kept = _run(energy, key, walkers, kts, step_sizes, jitter, *counts, **static, centre=centre)
    force_calls = tuning_calls + count * (1 + leapfrog * (burn_in + sweeps))
    swap_acceptance = end.swaps / jnp.maximum(end.tries, 1)
    acceptance = end.accepted / sweeps
    return Tempered(kept[0], kept[1], acceptance, swap_acceptance, end.trips, step_sizes, force_calls)


def _tuned(energy_fn, key, positions, kts, settings):
    """A step size for each temperature, where its walkers ended, and the force calls that it took."""
    found = [
        tune_step_size(energy_fn, jax.random.fold_in(key, i), positions[:, i], kt=kt, **settings)
        for i, kt in enumerate(kts)
    ]
    steps = jnp.stack([tuned.step_size for tuned in found])
    positions = jnp.stack([tuned.positions for tuned in found], axis=1)
    return steps, positions, sum(tuned.force_calls for tuned in found)


@functools.partial(jax.jit, static_argnames=("leapfrog", "draws", "centre"))
def _run(energy, key, walkers, kts, step_sizes, jitter, burn_in, keep_every, *, leapfrog, draws, centre):
    """The ladders at the end, and positions and energies of each draw."""
    k, t = walkers.energies.shape
    kt, steps = jnp.tile(kts, k), jnp.tile(step_sizes, k)

    def once(number: Array, ladders: Ladders) -> Ladders:
        sweep_key, swap_key = jax.random.split(jax.random.fold_in(key, number))
        flat = jax.tree.map(lambda leaf: leaf.reshape(k * t, *leaf.shape[2:]), ladders.walkers)
        flat, accepted = sweep(energy, sweep_key, flat, kt, steps, jitter, leapfrog=leapfrog)
        flat = centred(flat) if centre else flat
        moved = jax.tree.map(lambda leaf: leaf.reshape(k, t, *leaf.shape[1:]), flat)
        accepted = ladders.accepted + jnp.mean(accepted.reshape(k, t), axis=0)
        return _exchange(swap_key, ladders._replace(walkers=moved, accepted=accepted), kts, number % 2)

    # burn-in is a draw that is thrown away with its counts: a second loop would compile for twice as long
    bounds = jnp.append(0, burn_in + keep_every * jnp.arange(draws + 1))

    def draw(ladders: Ladders, i: Array) -> tuple[Ladders, tuple[Array, Array]]:
        ladders = jax.lax.fori_loop(bounds[i], bounds[i + 1], once, ladders)
        counted = jax.tree.map(lambda x: jnp.where(i == 0, jnp.zeros_like(x), x), ladders)
        ladders = counted._replace(walkers=ladders.walkers, been=ladders.been)
        return ladders, (ladders.walkers.positions, ladders.walkers.energies)

    sums = (jnp.zeros(size, kts.dtype) for size in (t - 1, t - 1, t))
    start = Ladders(walkers, jnp.zeros((k, t), int), jnp.zeros(k, int), *sums)
    end, kept = jax.lax.scan(draw, start, jnp.arange(draws + 1))
    return end, jax.tree.map(lambda leaf: leaf[1:], kept)


def _exchange(key: Array, ladders: Ladders, kts: Float[Array, " t"], parity: Array) -> Ladders:
    """One round of exchanges between every other pair of neighbours."""
    energies, t = ladders.walkers.energies, len(kts)
    tried = jnp.arange(t - 1) % 2 == parity
    log_ratio = (1 / kts[:-1] - 1 / kts[1:]) * (energies[:, :-1] - energies[:, 1:])
    chance = jnp.where(tried, jnp.exp(jnp.minimum(log_ratio, 0.0)), 0.0)
    up = jax.random.uniform(key, chance.shape, chance.dtype) < chance
    up, down = jnp.pad(up, ((0, 0), (0, 1))), jnp.pad(up, ((0, 0), (1, 0)))
    places = jnp.arange(t) + up - down
    walkers, been = jax.tree.map(
        lambda leaf: jax.vmap(lambda own, place: own[place])(leaf, places), (ladders.walkers, ladders.been)
    )
    returned = been[:, 0] == 2
    been = been.at[:, 0].set(1)
    been = been.at[:, -1].set(jnp.where(been[:, -1] > 0, 2, 0))
    return ladders._replace(
        walkers=walkers,
        been=been,
        trips=ladders.trips + returned,
        swaps=ladders.swaps + jnp.mean(chance, axis=0),
        tries=ladders.tries + tried,
    )


def _ladder(kts: Any) -> Float[Array, " t"]:
    """The temperatures. Raises ValueError for what is no ladder."""
    kts = jnp.asarray(kts, float)
    checks.check_positive(kts=kts)
    if kts.ndim != 1 or len(kts) < 2:
        raise ValueError(f"kts must hold at least two temperatures, got shape {kts.shape}")
    if not checks.is_traced(kts) and not np.all(np.diff(np.asarray(kts)) > 0):
        raise ValueError(f"kts must be ascending, got {[float(kt) for kt in kts]}")
    return kts


def _on_ladders(positions: Array, temperatures: int) -> Array:
    """Positions with an axis for the temperatures. Raises ValueError for another number of them."""
    if positions.ndim == 3:
        return jnp.repeat(positions[:, None], temperatures, axis=1)
    if positions.ndim == 4 and positions.shape[1] != temperatures:
        raise ValueError(
            f"positions of shape (ladders, temperatures, particles, dimensions) must have {temperatures} "
            f"temperatures, as kts has, got {positions.shape}"
        )
    return positions
