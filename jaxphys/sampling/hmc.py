"""Samples of exp(−E/kT) by Hamiltonian Monte Carlo, and the step size that it wants."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt32

from jaxphys.roles import EnergyFunction
from jaxphys.sampling import checks
from jaxphys.sampling.walkers import Walkers, advance, as_partial, begin, centred, sweep


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Samples:
    """What a run left.

    positions: (draws, k, n, d) in Å; energies: (draws, k) in eV; acceptance: (), mean probability over the
    sweeps after burn-in; force_calls: how often an energy and its gradient were evaluated for one walker,
    burn-in included.
    """

    positions: Float[Array, "draws k n d"]
    energies: Float[Array, "draws k"]
    acceptance: Float[Array, ""]
    force_calls: int = field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class StepSize:
    """A tuned step.

    step_size: () in Å; acceptance: (), with which this very step was accepted in the last sweeps; positions:
    (k, n, d) in Å, where the walkers ended; force_calls: what it cost.
    """

    step_size: Float[Array, ""]
    acceptance: Float[Array, ""]
    positions: Float[Array, "k n d"]
    force_calls: int = field(metadata={"static": True})


class Search(NamedTuple):
    """A search for a step size: ln of the step, which way it went last, and for how long it has been near."""

    log_step: Float[Array, ""]
    direction: Float[Array, ""]
    near: Float[Array, ""]

    def next(self, excess: Float[Array, ""]) -> Search:
        """With acceptance that much above the target: factors of two until it crosses the target, then less
        and less of the excess."""
        crossed = (self.near > 0) | (self.direction * excess < 0)
        near = jnp.where(crossed, self.near + 1, 0.0)
        # around 0.8 acceptance falls by about 0.4 when the step grows by e
        change = jnp.where(crossed, 2 * excess / (1 + near / 10), jnp.log(2.0) * jnp.sign(excess))
        return Search(self.log_step + change, jnp.sign(excess), near)


def hmc(
    energy_fn: EnergyFunction,
    key: Key[Array, ""] | UInt32[Array, " 2"],
    positions: Float[Any, "k n d"],
    *,
    kt: Float[Any, ...] | float,
    step_size: Float[Any, ...] | float,
    sweeps: int,
    leapfrog: int = 10,
    keep_every: int = 1,
    burn_in: int = 0,
    centre: bool = False,
    jitter: float = 0.2,
) -> Samples:
    """Each walker's trajectory through exp(−E/kT), every keep_every-th of its states kept.

    energy_fn: of positions (n, d) in Å to eV, or reduced units; positions: (k, n, d), where k walkers start;
    kt: in the energy's unit, () or (k,), one for each walker; step_size: in Å, () or (k,), as of
    `tune_step_size`: with unit masses, momenta of unit variance and the forces −∇E/kT; sweeps: trajectories
    of leapfrog steps each, after burn_in of them that are not kept; jitter: the step of each is scaled by a
    random factor in 1 ± jitter. centre: take the mean position away after each state that is kept. That is
    right for an energy that does not change when all particles move together, whose centre would drift off;
    for any other it samples something else.

    A program is kept for an energy_fn, a shape and counts: pass the same function again; what changes in it
    goes in as `jax.tree_util.Partial(energy_fn, params)`. On a CPU a thousand walkers run faster in float32,
    in which an energy must keep its differences to about 0.01 kT. Can be jitted as a whole.
    Source: Neal, Handbook of MCMC (2011), ch. 5; the kernel is blackjax's.
    Raises ValueError for wrong shapes and settings, a start or an energy there that is not finite, outside of
    jit; ModuleNotFoundError without blackjax.
    """
    checks.check_run(sweeps=sweeps, leapfrog=leapfrog, keep_every=keep_every, burn_in=burn_in, jitter=jitter)
    checks.check_positive(kt=kt, step_size=step_size)
    positions = checks.checked_positions(positions, centre=centre)
    energy = as_partial(energy_fn)
    walkers = begin(energy, positions)
    checks.check_start(walkers.energies)
    kt, step_size = (_for_each(positions, name, x) for name, x in (("kt", kt), ("step_size", step_size)))
    counts = (burn_in, keep_every)
    static = {"leapfrog": leapfrog, "draws": sweeps // keep_every, "centre": centre}
    kept, energies, acceptance = _run(energy, key, walkers, kt, step_size, jitter, *counts, **static)
    return Samples(kept, energies, acceptance, len(positions) * (1 + leapfrog * (burn_in + sweeps)))


def tune_step_size(
    energy_fn: EnergyFunction,
    key: Key[Array, ""] | UInt32[Array, " 2"],
    positions: Float[Any, "k n d"],
    *,
    kt: Float[Any, ""] | float,
    leapfrog: int = 10,
    target: float = 0.8,
    start: Float[Any, ""] | float = 0.01,
    sweeps: int = 100,
    centre: bool = False,
    jitter: float = 0.2,
) -> StepSize:
    """The step at which `hmc` accepts so many of its trajectories, from the walkers on their way.

    target: acceptance probability, mean over the walkers; start: in Å, the first step, which may be wrong by
    orders of magnitude; sweeps: of the search, one step each, and a fifth as many more that measure the
    result; the rest as for `hmc`. Walkers that start far from equilibrium go there meanwhile, with steps
    small enough to be accepted on the way; the step then fits the place where they are: tune again after a
    long way. The mean acceptance of a batch of walkers has little noise, so that factors of two and then
    Robbins and Monro's steps do it; dual averaging, made for one chain, ends less exactly after as many.
    Source: Robbins, Monro, Ann. Math. Stat. 22, 400 (1951).
    Raises ValueError as `hmc` does, and for a step that is accepted less than half as often as it should,
    outside of jit.
    """
    checks.check_run(sweeps=sweeps, leapfrog=leapfrog, keep_every=1, burn_in=0, jitter=jitter)
    checks.check_positive(kt=kt, start=start)
    checks.check_fractions(target=target)
    positions = checks.checked_positions(positions, centre=centre)
    energy = as_partial(energy_fn)
    walkers = begin(energy, positions)
    checks.check_start(walkers.energies)
    kt = _for_each(positions, "kt", kt)
    last = sweeps // 5 + 1
    first = jnp.asarray(start, positions.dtype)
    settings = (target, jitter, sweeps, last)
    step, acceptance, end = _tune(
        energy, key, walkers, kt, first, *settings, leapfrog=leapfrog, centre=centre
    )
    if not checks.is_traced(step) and not float(acceptance) > target / 2:
        raise ValueError(
            f"no step size found: {float(step):.3g} is accepted with probability {float(acceptance):.2f}, "
            f"not {target}; start elsewhere than {start}, or give more sweeps than {sweeps}"
        )
    return StepSize(step, acceptance, end, len(positions) * (1 + leapfrog * (sweeps + last)))


@functools.partial(jax.jit, static_argnames=("leapfrog", "draws", "centre"))
def _run(energy, key, walkers, kt, step_size, jitter, burn_in, keep_every, *, leapfrog, draws, centre):
    """Positions and energies of each draw, and the mean acceptance."""
    # burn-in as a draw that is thrown away: a second loop would double the time of compilation
    counts = jnp.full(draws + 1, keep_every).at[0].set(burn_in)

    def body(walkers: Walkers, inputs: tuple[Array, Array]) -> tuple[Walkers, tuple[Array, Array, Array]]:
        own_key, count = inputs
        walkers, acceptance = advance(
            energy, own_key, walkers, kt, step_size, jitter, count, leapfrog=leapfrog
        )
        walkers = centred(walkers) if centre else walkers
        return walkers, (walkers.positions, walkers.energies, acceptance)

    keys = jax.random.split(key, draws + 1)
    _, (positions, energies, acceptance) = jax.lax.scan(body, walkers, (keys, counts))
    return positions[1:], energies[1:], jnp.mean(acceptance[1:])


@functools.partial(jax.jit, static_argnames=("leapfrog", "centre"))
def _tune(energy, key, walkers, kt, start, target, jitter, sweeps, last, *, leapfrog, centre):
    """The step, its acceptance in the last sweeps, and where the walkers ended."""

    def body(i, carry):
        walkers, search, total = carry
        own_key = jax.random.fold_in(key, i)
        steps = jnp.broadcast_to(jnp.exp(search.log_step), kt.shape)
        walkers, accepted = sweep(energy, own_key, walkers, kt, steps, jitter, leapfrog=leapfrog)
        walkers, accepted = centred(walkers) if centre else walkers, jnp.mean(accepted)
        tuning, found = i < sweeps, search.next(accepted - target)
        search = jax.tree.map(lambda new, old: jnp.where(tuning, new, old), found, search)
        return walkers, search, total + jnp.where(tuning, 0.0, accepted)

    search = Search(jnp.log(start), jnp.zeros_like(start), jnp.zeros_like(start))
    carry = (walkers, search, jnp.zeros_like(start))
    walkers, search, total = jax.lax.fori_loop(0, sweeps + last, body, carry)
    return jnp.exp(search.log_step), total / last, walkers.positions


def _for_each(positions: Float[Array, "k n d"], name: str, value: Any) -> Float[Array, " k"]:
    """A number for each walker. Raises ValueError for another count."""
    value = jnp.asarray(value, positions.dtype)
    if value.shape not in ((), positions.shape[:1]):
        raise ValueError(
            f"{name} must be one number, or one for each of {len(positions)} walkers, got {value.shape}"
        )
    return jnp.broadcast_to(value, positions.shape[:1])
