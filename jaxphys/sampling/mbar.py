"""Samples of several temperatures as one sample of any other ensemble near them, by MBAR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp

from jaxphys.sampling.checks import check_positive
from jaxphys.sampling.estimates import Estimate
from jaxphys.sampling.libraries import pymbar_module

CONSISTENT = 1e-5
"""In kT: how well the free energies must solve MBAR's equations."""


@dataclass(frozen=True)
class Pooled:
    """All m samples of t temperatures in one list, as draws of the mixture of their ensembles.

    energies: (m,) in eV, those of the first temperature first; kts: (t,) in eV; counts: (t,) of samples;
    free_energies: −ln Z of each temperature, relative to the first, without unit, with their errors, (t,);
    log_mixture: (m,), ln Σ_k N_k exp(f_k − E/kT_k), up to a constant the log density of the mixture.
    """

    energies: Float[np.ndarray, " m"]
    kts: Float[np.ndarray, " t"]
    counts: Int[np.ndarray, " t"]
    free_energies: Float[np.ndarray, " t"]
    errors: Float[np.ndarray, " t"]
    log_mixture: Float[np.ndarray, " m"]
    solver: Any


def mbar(energies: Sequence[Any], kts: Float[Any, " t"]) -> Pooled:
    """Samples of exp(−E/kT) at several temperatures, pooled with the free energies between these.

    energies: in eV, an array of any shape for each temperature, of samples that do not depend on each other:
    for draws that do, the result is as right, but its errors are too small; kts: (t,) in eV, whose energies
    overlap. Positions in the same order, ravelled in the same way, belong to the weights of `mbar_weights`.
    Source: Shirts, Chodera, J. Chem. Phys. 129, 124105 (2008); by pymbar, at 64 bits, which it leaves
    switched as they were. Raises ValueError for energies that are not finite, another number of them than of
    temperatures, and where no solution is found; ModuleNotFoundError without pymbar.
    """
    parts = [np.asarray(part, np.float64).ravel() for part in energies]
    kts = np.asarray(kts, np.float64)
    _check(parts, kts)
    pooled, counts = np.concatenate(parts), np.array([len(part) for part in parts])
    # of differences, as a constant would take the digits from exponents of large reduced energies
    reduced = (pooled - pooled.mean()) / kts[:, None]
    module = pymbar_module("pymbar.mbar")
    with jax.enable_x64(True):
        solver = module.MBAR(reduced, counts)
        found = solver.compute_free_energy_differences()
    shifted, errors = np.array(found["Delta_f"][0]), np.array(found["dDelta_f"][0])
    log_mixture = logsumexp(np.log(counts)[:, None] + shifted[:, None] - reduced, axis=0)
    again = -logsumexp(-reduced - log_mixture, axis=1)
    off = float(np.max(np.abs(again - again[0] - shifted)))
    if not (off < CONSISTENT and np.isfinite(errors).all()):
        raise ValueError(
            f"no free energies found for kts {kts.tolist()}: MBAR's equations are off by {off:.2g}; the "
            "energies at neighbouring temperatures must overlap"
        )
    free = shifted + pooled.mean() * (1 / kts - 1 / kts[0])
    return Pooled(pooled, kts, counts, free, errors, log_mixture, solver)


def free_energies(energies: Sequence[Any], kts: Float[Any, " t"]) -> list[Estimate]:
    """−ln Z of each temperature relative to the first, without unit, with errors; arguments as of `mbar`."""
    pooled = mbar(energies, kts)
    return [Estimate(float(f), float(e)) for f, e in zip(pooled.free_energies, pooled.errors, strict=True)]


def mbar_weights(
    pooled: Pooled, *, kt: float, energies: Float[Any, " m"] | None = None
) -> Float[np.ndarray, " m"]:
    """Logarithms of the weights, up to a constant, that make the pooled samples those of another ensemble.

    kt: in eV, of that ensemble; energies: in eV, (m,), of the pooled samples under its energy function, such
    as a mutant's; their own if None. How many samples are left says `effective_sample_size`.
    Raises ValueError for another number of energies, NaN, and a temperature that is not positive.
    """
    return -_target(pooled, kt, energies) - pooled.log_mixture


def mbar_average(
    pooled: Pooled, values: Float[Any, " m"], *, kt: float, energies: Float[Any, " m"] | None = None
) -> Estimate:
    """Mean of a quantity in another ensemble, with its error; values: (m,), of the pooled samples.

    The rest as for `mbar_weights`. The error is that of samples which do not depend on each other.
    """
    values = np.asarray(values, np.float64)
    if values.shape != pooled.energies.shape or not np.isfinite(values).all():
        raise ValueError(
            f"values must be finite and have shape {pooled.energies.shape}, got {values.shape}, with "
            f"{np.sum(~np.isfinite(values))} that are not finite"
        )
    target = _target(pooled, kt, energies)
    with jax.enable_x64(True):
        found = pooled.solver.compute_expectations(values, u_kn=(target - target.min())[None])
    return Estimate(float(found["mu"][0]), float(found["sigma"][0]))


def _target(pooled: Pooled, kt: float, energies: Any) -> Float[np.ndarray, " m"]:
    """Reduced energies in the ensemble that is asked for."""
    check_positive(kt=kt)
    if energies is None:
        return pooled.energies / kt
    energies = np.asarray(energies, np.float64)
    if energies.shape != pooled.energies.shape:
        raise ValueError(f"energies must have shape {pooled.energies.shape}, got {energies.shape}")
    if not np.isfinite(energies).all():
        raise ValueError(f"{np.sum(~np.isfinite(energies))} of {len(energies)} energies are not finite")
    return energies / kt


def _check(parts: list[np.ndarray], kts: np.ndarray) -> None:
    """Raises ValueError for what are no samples of several temperatures."""
    check_positive(kts=kts)
    if kts.ndim != 1 or len(parts) != len(kts) or len(kts) < 2:
        raise ValueError(
            "energies must hold one array for each of at least two kts, got "
            f"{len(parts)} and shape {kts.shape}"
        )
    for kt, part in zip(kts, parts, strict=True):
        if len(part) == 0 or not np.isfinite(part).all():
            raise ValueError(
                f"the energies at kT = {kt} must be finite, at least one, got {len(part)}, of which "
                f"{np.sum(~np.isfinite(part))} are not finite"
            )
