"""An ensemble carried to another temperature: reweighted, resampled and moved, rung by rung."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int, Key, UInt32

from jaxphys.roles import EnergyFunction
from jaxphys.sampling import checks
from jaxphys.sampling.libraries import blackjax_module
from jaxphys.sampling.reweighting import effective_sample_size, resample
from jaxphys.sampling.walkers import Walkers, advance, as_partial, begin, centred


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["positions", "energies", "lineage", "kts", "ess", "acceptance", "step_sizes"],
    meta_fields=["log_z_ratio", "ancestors", "force_calls"],
)
@dataclass(frozen=True)
class Annealed:
    """An ensemble at the new temperature, and how it came there in r rungs.

    positions: (k, n, d) in Å, of equal weight; energies: (k,) in eV; lineage: (k,) which of the walkers at
    the start each descends from: those of one are correlated; kts: (r + 1,), the ladder from kt_start to
    kt_end; ess: (r,), fraction of the walkers that the weights of each rung left, before its resampling;
    acceptance, step_sizes: (r,), of the moves at each rung, step sizes in Å; log_z_ratio: ln Z(kt_end) −
    ln Z(kt_start), of the configurations; ancestors: how many of the walkers at the start have descendants at
    the end: were the moves to do nothing, the ensemble would hold so many different samples; force_calls: how
    often an energy and its gradient were evaluated for one walker.
    """

    positions: Float[Array, "k n d"]
    energies: Float[Array, " k"]
    lineage: Int[Array, " k"]
    kts: Float[np.ndarray, " temperatures"]
    ess: Float[np.ndarray, " rungs"]
    acceptance: Float[np.ndarray, " rungs"]
    step_sizes: Float[np.ndarray, " rungs"]
    log_z_ratio: float
    ancestors: int
    force_calls: int


class Rung(NamedTuple):
    """One rung climbed: the walkers with where each came from, and what `Annealed` says of it."""

    walkers: Walkers
    ancestors: Int[Array, " k"]
    part: Float[Array, ""]  # of what was left of the way in 1/kT; 1 at the last rung
    ess: Float[Array, ""]
    log_z_ratio: Float[Array, ""]
    step_size: Float[Array, ""]
    acceptance: Float[Array, ""]


def anneal(
    energy_fn: EnergyFunction,
    key: Key[Array, ""] | UInt32[Array, " 2"],
    positions: Float[Any, "k n d"],
    *,
    kt_start: float,
    kt_end: float,
    sweeps: int,
    step_size: float,
    leapfrog: int = 10,
    ess_fraction: float = 0.5,
    target: float = 0.8,
    centre: bool = False,
    jitter: float = 0.2,
    max_rungs: int = 1000,
) -> Annealed:
    """Walkers in equilibrium at kt_start carried to equilibrium at kt_end, by sequential Monte Carlo.

    energy_fn: of positions (n, d) in Å to eV; positions: (k, n, d), samples of exp(−E/kt_start): what is
    wrong with them stays wrong, and no basin is found that none of them is in; kt_start, kt_end: in eV, in
    either order; each next temperature is as far as leaves ess_fraction of the walkers by weight; sweeps: of
    Hamiltonian Monte Carlo at each rung, leapfrog steps each; step_size: in Å, at kt_start, as of
    `tune_step_size`; it goes with √kT, and by exp(acceptance − target) from rung to rung; centre, jitter: as
    of `hmc`. Not to be jitted as a whole: the number of rungs is found on the way, and each is one call of
    the same program.

    Weights move whole walkers between basins, where moves alone would leave them in the basin in which they
    were cooled. Few ancestors at the end mean that the weights did it all: take more walkers, or more sweeps.
    Source: Del Moral, Doucet, Jasra, J. R. Stat. Soc. B 68, 411 (2006); the next
    temperature after Jasra, Stephens, Doucet, Tsagaris, Scand. J. Stat. 38, 1 (2011); parts by blackjax.
    Raises ValueError as `hmc` does, for temperatures that are equal, and if max_rungs do not suffice.
    """
    checks.check_run(sweeps=sweeps, leapfrog=leapfrog, keep_every=1, burn_in=0, jitter=jitter)
    checks.check_positive(kt_start=kt_start, kt_end=kt_end, step_size=step_size)
    checks.check_fractions(ess_fraction=ess_fraction, target=target)
    if kt_start == kt_end:
        raise ValueError(f"kt_start and kt_end must differ, both are {kt_start}")
    positions = checks.checked_positions(positions, centre=centre)
    energy = as_partial(energy_fn)
    walkers = begin(energy, positions)
    checks.check_start(walkers.energies)
    settings = (ess_fraction, jitter, sweeps, leapfrog, centre)
    rungs, kts = _climb(energy, key, walkers, kt_start, kt_end, step_size, target, settings, max_rungs)
    return Annealed(
        positions=rungs[-1].walkers.positions,
        energies=rungs[-1].walkers.energies,
        lineage=rungs[-1].ancestors,
        kts=np.asarray(kts),
        ess=np.asarray([float(rung.ess) for rung in rungs]),
        acceptance=np.asarray([float(rung.acceptance) for rung in rungs]),
        step_sizes=np.asarray([float(rung.step_size) for rung in rungs]),
        log_z_ratio=sum(float(rung.log_z_ratio) for rung in rungs),
        ancestors=len(np.unique(np.asarray(rungs[-1].ancestors))),
        force_calls=len(positions) * (1 + leapfrog * sweeps * len(rungs)),
    )


def _climb(energy, key, walkers, kt_start, kt_end, step_size, target, settings, max_rungs):
    """The rungs one after the other, with walkers kept for the last one only, and their temperatures."""
    ancestors = jnp.arange(len(walkers.positions))
    beta, beta_end, kts, rungs = 1 / kt_start, 1 / kt_end, [float(kt_start)], []
    for number in range(max_rungs):
        own_key = jax.random.fold_in(key, number)
        rung = _rung(energy, own_key, walkers, ancestors, beta, beta_end, step_size, *settings)
        walkers, ancestors, part = rung.walkers, rung.ancestors, float(rung.part)
        if not part > 0:
            raise ValueError(
                f"no next temperature after kT = {kts[-1]:.6g}: the energies of {len(ancestors)} walkers "
                "spread too far for their weights; give more walkers, or samples of exp(−E/kt_start) to start"
            )
        beta = beta + part * (beta_end - beta)
        kts.append(float(kt_end) if part >= 1 else 1 / beta)
        rungs.append(rung if part >= 1 else rung._replace(walkers=None))
        if part >= 1:
            return rungs, kts
        step_size = float(rung.step_size) * math.exp(float(rung.acceptance) - target)
    raise ValueError(
        f"kT = {kts[-1]:.6g} after {max_rungs} rungs, on the way from {kt_start} to {kt_end}: allow more, or "
        "a smaller ess_fraction"
    )


@functools.partial(jax.jit, static_argnames=("leapfrog", "centre"))
def _rung(
    energy: Partial,
    key: Array,
    walkers: Walkers,
    ancestors: Int[Array, " k"],
    beta: Float[Any, ""] | float,
    beta_end: Float[Any, ""] | float,
    step_size: Float[Any, ""] | float,
    ess_fraction: Float[Any, ""] | float,
    jitter: Float[Any, ""] | float,
    sweeps: Int[Any, ""] | int,
    leapfrog: int,
    centre: bool,
) -> Rung:
    """To the next temperature: weights, a new generation, and its moves."""
    # blackjax's own tempering kernel evaluates every energy anew, which we have
    smc_ess = blackjax_module("blackjax.smc.ess")
    bisect = blackjax_module("blackjax.smc.solver").dichotomy
    mean, left = jnp.mean(walkers.energies), jnp.asarray(beta_end - beta, walkers.energies.dtype)
    # of differences, as large energies would leave no digits for the sums
    log_weights = -left * (walkers.energies - mean)
    part = smc_ess.ess_solver(lambda part_of: part_of, log_weights, ess_fraction, 1.0, bisect)
    log_weights = part * log_weights
    log_z_ratio = jax.nn.logsumexp(log_weights) - math.log(len(log_weights)) - part * left * mean
    resample_key, move_key = jax.random.split(key)
    places = resample(resample_key, jax.nn.softmax(log_weights), len(log_weights))
    walkers, ancestors = jax.tree.map(lambda leaf: leaf[places], (walkers, ancestors))
    new_beta = beta + part * left
    step_size = jnp.asarray(step_size * jnp.sqrt(beta / new_beta), walkers.energies.dtype)
    kt, step = (jnp.broadcast_to(x, ancestors.shape) for x in (1 / new_beta, step_size))
    walkers, acceptance = advance(energy, move_key, walkers, kt, step, jitter, sweeps, leapfrog=leapfrog)
    walkers = centred(walkers) if centre else walkers
    fraction = effective_sample_size(log_weights).fraction
    return Rung(walkers, ancestors, part, fraction, log_z_ratio, step_size, acceptance)
