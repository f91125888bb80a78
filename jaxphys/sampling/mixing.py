"""Tests that make a run a reference: what a run must show before others are measured against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from jaxphys.roles import EnergyFunction
from jaxphys.sampling.checks import check_positive
from jaxphys.sampling.estimates import Estimate, deviation, mean_of_walkers
from jaxphys.sampling.libraries import blackjax_module
from jaxphys.sampling.walkers import as_partial, begin

BATCH = 4096
"""Samples evaluated at once: as many more would not be faster, and need not fit into memory."""


class NotMixed(ValueError):
    """A run that must not serve as a reference."""


@dataclass(frozen=True)
class Quantity:
    """What two runs say of one quantity, in its unit.

    first, second: its mean in each; apart: their difference in standard errors; drift: of each run's second
    half against its first, in standard errors; rhat: split R̂ over the walkers of both, 1 for perfect mixing.
    """

    first: Estimate
    second: Estimate
    apart: float
    drift: tuple[float, float]
    rhat: float


@dataclass(frozen=True)
class Reference:
    """What two runs that passed say.

    virial: ⟨x·∇E⟩/kT of each, within errors the degrees of freedom; quantities: by name, "energy" is first.
    """

    degrees_of_freedom: int
    virial: tuple[Estimate, Estimate]
    quantities: dict[str, Quantity]


def virial(energy_fn: EnergyFunction, positions: Float[Any, "draws k n d"], kt: float) -> Estimate:
    """⟨Σ x·∇E⟩/kT of draws of independent walkers, with the error from these: the free degrees of freedom.

    energy_fn: of positions (n, d) in Å to eV; positions: (draws, k, n, d) in Å; kt: in eV. For exp(−E/kT) it
    is n d, or (n − 1) d for an energy that does not change when all particles move together, whatever the
    energy is. It sees a wrong temperature, step size or energy; it does not see wrong weights of basins.
    Source: the equipartition theorem, Tolman, Phys. Rev. 11, 261 (1918). Raises ValueError for less than two
    walkers, and samples or energies that are not finite.
    """
    check_positive(kt=kt)
    _, products = _evaluated(energy_fn, _samples("positions", positions, 1))
    return mean_of_walkers(products / kt)


def check_reference(
    energy_fn: EnergyFunction,
    first: Float[Any, "draws k n d"],
    second: Float[Any, "more_draws l n d"],
    *,
    kt: float,
    degrees_of_freedom: int,
    observables: Mapping[str, Callable[[Array], Any]] | None = None,
    most_errors: float = 4.0,
    largest_rhat: float = 1.1,
) -> Reference:
    """What two runs from different starts agree on; a run that has not mixed is refused.

    energy_fn: of positions (n, d) in Å to eV; first, second: (draws, k, n, d) in Å, of k independent walkers
    or ladders each, at least four draws; kt: in eV; degrees_of_freedom: as the virial must be, see `virial`;
    observables: by name, functions of positions (n, d) to a number, that tell basins apart: the energy alone
    does not see that basins of like energy have the wrong weights.
    Asked of each run: that its virial is the degrees of freedom, and that no quantity drifts from its first
    half to its second; of both, that they agree: all within most_errors standard errors, from walkers, which
    are right however slowly each one moves; and that R̂ of each quantity is below largest_rhat, for
    which every walker must go everywhere: walkers that stay where they started are refused even if their
    starts agree.
    Source: R̂ with ranks, Vehtari et al., Bayesian Anal. 16, 667 (2021); by blackjax.
    Raises NotMixed, a ValueError, with every test that failed and its numbers; ValueError as `virial`.
    """
    check_positive(kt=kt, degrees_of_freedom=degrees_of_freedom)
    runs = [_samples(name, run, 4) for name, run in (("first", first), ("second", second))]
    evaluated = [_evaluated(energy_fn, run) for run in runs]
    values = {"energy": [energies for energies, _ in evaluated]}
    for name, function in (observables or {}).items():
        values[name] = [_observed(name, function, run) for run in runs]
    virials = [mean_of_walkers(products / kt) for _, products in evaluated]
    quantities = {name: _compared(*pair) for name, pair in values.items()}
    failures = [
        f"the virial of the {name} run is {found}, not {degrees_of_freedom}"
        for name, found in zip(("first", "second"), virials, strict=True)
        if not deviation(found.value - degrees_of_freedom, found.error) <= most_errors
    ]
    for name, quantity in quantities.items():
        failures += _failures(name, quantity, most_errors, largest_rhat)
    if failures:
        raise NotMixed(f"not mixed at kT = {kt}: {'; '.join(failures)}")
    return Reference(degrees_of_freedom, (virials[0], virials[1]), quantities)


def _failures(name: str, quantity: Quantity, most_errors: float, largest_rhat: float) -> list[str]:
    """What is wrong with a quantity, in words."""
    found = []
    if not quantity.apart <= most_errors:
        found.append(
            f"{name} is {quantity.first} and {quantity.second}, {quantity.apart:.1f} standard errors apart, "
            f"above {most_errors}"
        )
    for run, drift in zip(("first", "second"), quantity.drift, strict=True):
        if not drift <= most_errors:
            found.append(
                f"{name} drifts by {drift:.1f} standard errors in the {run} run, above {most_errors}"
            )
    if not quantity.rhat <= largest_rhat:
        found.append(f"R̂ of {name} is {quantity.rhat:.3f}, above {largest_rhat}")
    return found


def _compared(first: Float[np.ndarray, "draws k"], second: Float[np.ndarray, "more_draws l"]) -> Quantity:
    """A quantity in two runs."""
    one, other = mean_of_walkers(first), mean_of_walkers(second)
    apart = deviation(one.value - other.value, float(np.hypot(one.error, other.error)))
    drift = tuple(deviation(*_halves(run)) for run in (first, second))
    draws = min(len(first), len(second))
    chains = np.concatenate([first[-draws:], second[-draws:]], axis=1)
    if np.ptp(chains) == 0:
        return Quantity(one, other, apart, (drift[0], drift[1]), 1.0)
    rhat = blackjax_module("blackjax.diagnostics").rhat
    found = float(jax.jit(rhat)(jnp.asarray(chains.T)))
    return Quantity(one, other, apart, (drift[0], drift[1]), found)


def _halves(values: Float[np.ndarray, "draws k"]) -> Estimate:
    """Second half less the first, walker by walker."""
    half = len(values) // 2
    return mean_of_walkers((values[-half:].mean(axis=0) - values[:half].mean(axis=0))[None])


def _evaluated(energy_fn: EnergyFunction, positions: Float[Any, "draws k n d"]) -> tuple[Any, Any]:
    """Energies in eV and Σ x·∇E in eV, (draws, k) each. Raises ValueError where one is not finite."""
    energies, products = _energies_and_products(as_partial(energy_fn), positions)
    for name, values in (("energies", energies), ("gradients", products)):
        if not np.isfinite(np.asarray(values)).all():
            count = int(np.sum(~np.isfinite(np.asarray(values))))
            raise ValueError(f"{name} of {count} of {values.size} samples are not finite")
    return np.asarray(energies, float), np.asarray(products, float)


@jax.jit
def _energies_and_products(energy: Partial, positions: Array) -> tuple[Array, Array]:
    def one(position: Array) -> tuple[Array, Array]:
        found = begin(energy, position[None])
        return found.energies[0], jnp.sum(found.gradients[0] * position)

    flat = positions.reshape(-1, *positions.shape[2:])
    energies, products = jax.lax.map(one, flat, batch_size=min(BATCH, len(flat)))
    return energies.reshape(positions.shape[:2]), products.reshape(positions.shape[:2])


def _observed(name: str, function: Callable[[Array], Any], positions: Array) -> Float[np.ndarray, "draws k"]:
    """An observable of every sample. Raises ValueError where it is not a finite number."""
    flat = positions.reshape(-1, *positions.shape[2:])
    batch = min(BATCH, len(flat))
    values = np.asarray(jax.jit(lambda x: jax.lax.map(function, x, batch_size=batch))(flat), float)
    if values.shape != flat.shape[:1] or not np.isfinite(values).all():
        raise ValueError(
            f"{name} must be one finite number for each sample, got shape {values.shape[1:]} and "
            f"{np.sum(~np.isfinite(values))} that are not finite"
        )
    return values.reshape(positions.shape[:2])


def _samples(name: str, positions: Any, draws: int) -> Array:
    """Positions as floats. Raises ValueError for too few draws or walkers, and what is not finite."""
    positions = jnp.asarray(positions)
    shape = positions.shape
    if len(shape) != 4 or shape[0] < draws or shape[1] < 2 or 0 in shape:
        raise ValueError(
            f"{name} must have shape (draws, walkers, particles, dimensions) with at least {draws} draws of "
            f"two walkers, got {shape}"
        )
    if not bool(jnp.all(jnp.isfinite(positions))):
        raise ValueError(f"{name} holds positions that are not finite")
    return positions.astype(jnp.result_type(positions, jnp.float32))
