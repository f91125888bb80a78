"""Many walkers at once, moved by blackjax's Hamiltonian Monte Carlo, each at its own temperature."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int, Key, UInt32

from jaxphys.roles import EnergyFunction
from jaxphys.sampling.libraries import blackjax_module


class Walkers(NamedTuple):
    """Where k walkers are, with the energy and its gradient there, both without temperature.

    positions: (k, n, d) in Å; energies: (k,) in eV; gradients: (k, n, d) in eV/Å. As they do not depend on
    the temperature, a walker that changes it needs no new evaluation.
    """

    positions: Float[Array, "k n d"]
    energies: Float[Array, " k"]
    gradients: Float[Array, "k n d"]


def as_partial(energy_fn: EnergyFunction) -> Partial:
    """The energy as a pytree: an argument of a compiled program, which is kept for the same function."""
    return energy_fn if isinstance(energy_fn, Partial) else Partial(energy_fn)


@jax.jit
def begin(energy: Partial, positions: Float[Array, "k n d"]) -> Walkers:
    """Walkers at these positions, (k, n, d) in Å, by one evaluation each."""

    def one(position: Float[Array, "n d"]) -> Float[Array, ""]:
        return jnp.asarray(energy(position)).astype(position.dtype)

    return Walkers(positions, *jax.vmap(jax.value_and_grad(one))(positions))


def sweep(
    energy: Partial,
    key: Key[Array, ""] | UInt32[Array, " 2"],
    walkers: Walkers,
    kt: Float[Array, " k"],
    step_size: Float[Array, " k"],
    jitter: Float[Any, ""] | float,
    *,
    leapfrog: int,
) -> tuple[Walkers, Float[Array, " k"]]:
    """One trajectory for each walker, and the probability with which it was accepted, (k,).

    energy: of positions (n, d) in Å to eV; kt: (k,) in eV; step_size: (k,) in Å: with unit masses, momenta of
    unit variance and the forces −∇E/kT, which is blackjax's convention for the log density −E/kT; jitter:
    each trajectory's step is scaled by a factor drawn anew from [1 − jitter, 1 + jitter], so that none stays
    in resonance with a vibration. leapfrog evaluations a walker. One that ends in NaN is not accepted.
    """
    hmc = blackjax_module("blackjax.mcmc.hmc")
    kernel = hmc.build_kernel()
    dtype = walkers.positions.dtype
    jitter_key, sweep_key = jax.random.split(key)
    factors = 1 + jitter * jax.random.uniform(jitter_key, step_size.shape, dtype, -1.0, 1.0)
    masses = jnp.ones(walkers.positions[0].size, dtype)

    def one(own_key, walker: Walkers, kt, step) -> tuple[Walkers, Array]:
        def log_density(position: Array) -> Array:
            return -jnp.asarray(energy(position)).astype(dtype) / kt

        state = hmc.HMCState(walker.positions, -walker.energies / kt, -walker.gradients / kt)
        state, info = kernel(own_key, state, log_density, step, masses, leapfrog)
        moved = Walkers(state.position, -state.logdensity * kt, -state.logdensity_grad * kt)
        # one that stays keeps its numbers: scaled to and fro they would drift by rounding
        moved = jax.tree.map(lambda new, old: jnp.where(info.is_accepted, new, old), moved, walker)
        return moved, info.acceptance_rate

    keys = jax.random.split(sweep_key, len(walkers.positions))
    return jax.vmap(one)(keys, walkers, kt, (step_size * factors).astype(dtype))


def advance(
    energy: Partial,
    key: Key[Array, ""] | UInt32[Array, " 2"],
    walkers: Walkers,
    kt: Float[Array, " k"],
    step_size: Float[Array, " k"],
    jitter: Float[Any, ""] | float,
    count: Int[Any, ""] | int,
    *,
    leapfrog: int,
) -> tuple[Walkers, Float[Array, ""]]:
    """The walkers after so many sweeps, and their mean acceptance, 0 for no sweeps; the rest as for `sweep`.

    The count need not be known when the program is compiled.
    """

    def body(i: Array, carry: tuple[Walkers, Array]) -> tuple[Walkers, Array]:
        walkers, total = carry
        own_key = jax.random.fold_in(key, i)
        walkers, accepted = sweep(energy, own_key, walkers, kt, step_size, jitter, leapfrog=leapfrog)
        return walkers, total + jnp.mean(accepted)

    walkers, total = jax.lax.fori_loop(0, count, body, (walkers, jnp.zeros((), kt.dtype)))
    return walkers, total / jnp.maximum(count, 1).astype(kt.dtype)


def centred(walkers: Walkers) -> Walkers:
    """The walkers with their mean position taken away; energies and gradients are those of free systems."""
    mean = jnp.mean(walkers.positions, axis=-2, keepdims=True)
    return walkers._replace(positions=walkers.positions - mean)
