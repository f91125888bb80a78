"""Folding free energies: how native a structure is, ΔG of a folded fraction, errors of predicted ΔG and ΔΔG.

Everywhere ΔG = G_folded − G_unfolded, negative for a stable protein, and ΔΔG = ΔG_mutant − ΔG_wild type,
positive for a mutation that destabilises: the signs of BioEmu and its benchmark. Data sets of unfolding free
energies have the other sign.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from jaxphys.metrics.free_energy import Estimate
from jaxphys.metrics.sample_checks import checked_samples

SEPARATION = 3
"""Residues closer than this along the chain, or as close, are no contact."""

CUTOFF = 10.0
"""Å; farther apart in the native structure is no contact."""

STEEPNESS = 5.0
"""1/Å of a contact's sigmoid."""

SLACK = 1.2
"""Times its native distance a contact is half there."""


def native_contacts(
    positions: Float[Any, "n 3"], *, separation: int = SEPARATION, cutoff: float = CUTOFF
) -> tuple[Int[np.ndarray, "c 2"], Float[np.ndarray, " c"]]:
    """Pairs (c, 2) of residues in contact and their distances (c,) in Å, in a native structure; host.

    positions: (n, 3) in Å, one atom a residue along the chain, Cα in BioEmu. In contact are i < j with
    j − i > separation, at most `cutoff` Å apart. Raises ValueError where there is none, and for positions
    that are not finite.
    """
    positions = checked_samples(positions, (None, 3), "positions")
    one, other = np.triu_indices(len(positions), k=separation + 1)
    distances = np.linalg.norm(positions[one] - positions[other], axis=-1)
    close = distances <= cutoff
    if not close.any():
        raise ValueError(
            f"{len(positions)} residues have no pair within {cutoff} Å and more than {separation} apart in "
            "the chain; are the positions in Å?"
        )
    return np.stack([one[close], other[close]], axis=1), distances[close]


def fraction_native(
    positions: Float[Any, "*batch n 3"],
    pairs: Int[Any, "c 2"],
    native: Float[Any, " c"],
    *,
    mask: Bool[Any, " c"] | None = None,
    steepness: float = STEEPNESS,
    slack: float = SLACK,
) -> Float[Array, "*batch"]:
    """Fraction of native contacts, mean over them of sigmoid(−steepness (d − slack d₀)), (…), 0 to 1.

    positions: (…, n, 3) in Å; pairs: (c, 2) and native: their d₀ (c,) in Å, as `native_contacts` gives them;
    mask: (c,) True for real contacts, all for None. steepness: 1/Å. Differentiable, with slope zero where two
    atoms of a contact coincide. Atoms in no contact count for nothing.
    Source: as released with BioEmu (Lewis et al., Science 2025), after Best, Hummer, Eaton, PNAS 2013.
    """
    positions, pairs, native = jnp.asarray(positions), jnp.asarray(pairs), jnp.asarray(native)
    square = jnp.sum((positions[..., pairs[:, 0], :] - positions[..., pairs[:, 1], :]) ** 2, axis=-1)
    # so that what is not a number is not taken for zero
    apart = ~(square <= 0.0)
    distances = jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1.0)), 0.0)
    contact = jax.nn.sigmoid(-steepness * (distances - slack * native))
    if mask is None:
        return jnp.mean(contact, axis=-1)
    return jnp.sum(jnp.where(mask, contact, 0.0), axis=-1) / jnp.maximum(jnp.sum(mask), 1)


def foldedness(
    fraction: Float[Any, "*batch"], *, midpoint: float = 0.5, steepness: float = 10.0
) -> Float[Array, "*batch"]:
    """How folded a structure with this fraction of native contacts is, sigmoid(2 steepness (Q − midpoint)).

    fraction: (…), 0 to 1; so is the result, ½ at the midpoint. Differentiable. Source: as `fraction_native`.
    """
    return jax.nn.sigmoid(2 * steepness * (jnp.asarray(fraction) - midpoint))


def folding_free_energy(
    folded: Float[Any, "*batch"], kt: float, *, smallest: float = 0.0
) -> Float[Array, "*batch"]:
    """ΔG = G_folded − G_unfolded = −kT ln(p / (1 − p)) of a folded fraction p, (…), in the unit of kt.

    folded: p, 0 to 1, usually the mean foldedness of an ensemble: a linear mean, not the mean of ΔG. Negative
    where p > ½. kt: kT, 0.586 kcal/mol in BioEmu's benchmark, at 295 K. smallest: p is kept within
    [smallest, 1 − smallest], 1e-10 in that benchmark; with 0, p = 0 gives +inf and p = 1 gives −inf.
    Raises ValueError for kt ≤ 0 and, outside of jit, for p outside of [0, 1].
    """
    if not kt > 0:
        raise ValueError(f"kt must be above 0, got {kt}")
    folded = jnp.asarray(folded)
    if not isinstance(folded, jax.core.Tracer):
        values = np.asarray(folded)
        if not ((values >= 0) & (values <= 1)).all():
            wrong = values[~((values >= 0) & (values <= 1))].flat[0]
            raise ValueError(f"a folded fraction must be from 0 to 1, got {wrong}")
    odds = jnp.log(folded) - jnp.log1p(-folded)
    if smallest > 0:
        limit = float(np.log1p(-smallest) - np.log(smallest))
        odds = jnp.clip(odds, -limit, limit)
    return -kt * odds


def folded_fraction(free_energy: Float[Any, "*batch"], kt: float) -> Float[Array, "*batch"]:
    """p = 1 / (1 + exp(ΔG / kT)) of ΔG = G_folded − G_unfolded in the unit of kt."""
    if not kt > 0:
        raise ValueError(f"kt must be above 0, got {kt}")
    return jax.nn.sigmoid(-jnp.asarray(free_energy) / kt)


@dataclass(frozen=True)
class FreeEnergyErrors:
    """count: free energies compared; mae, rmse: in their unit; pearson, spearman: −1 to 1, NaN where one of
    the two lists is constant."""

    count: int
    mae: Estimate
    rmse: Estimate
    pearson: Estimate
    spearman: Estimate


@dataclass(frozen=True)
class StabilityMetrics:
    """Errors of ΔG over all systems, and of ΔΔG over mutants with a known wild type; None without any."""

    dg: FreeEnergyErrors
    ddg: FreeEnergyErrors | None


def stability_metrics(
    predicted: ArrayLike,
    exact: ArrayLike,
    *,
    wild_type: ArrayLike | None = None,
    judged: ArrayLike | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> StabilityMetrics:
    """Errors and correlations of predicted ΔG and ΔΔG, each with a bootstrap interval; ΔG in kcal/mol.

    predicted, exact: (k,) with the same sign, see above. wild_type: (k,) the index of each system's wild
    type, its own for a wild type, −1 where it is not among the systems; those mutants have no ΔΔG here, and
    the wild types' trivial zeros do not count. judged: (k,) True for systems whose ΔG counts, all if None;
    others, as the benchmark's `reference_only`, are there for the ΔΔG of their mutants. Mutants of one wild
    type share its errors, so whole families are resampled: with few families the intervals are too narrow.
    Raises ValueError for other shapes, no systems, none that is judged, indices out of range, and numbers
    that are not finite: an infinite ΔG is a bound, which `folding_free_energy` gives with `smallest`.
    """
    predicted = checked_samples(predicted, (None,), "predicted")
    exact = checked_samples(exact, (len(predicted),), "exact")
    if not 0 < confidence < 1 or resamples < 1:
        raise ValueError(
            f"confidence must be within (0, 1) and resamples positive, got {confidence}, {resamples}"
        )
    own = np.arange(len(predicted))
    parent = own if wild_type is None else _checked_parents(wild_type, len(predicted))
    family = np.where(parent < 0, own, parent)
    interval = (confidence, resamples, seed)
    mutants = (parent >= 0) & (parent != own)
    counted = np.ones(len(own), bool) if judged is None else np.asarray(judged)
    if counted.shape != own.shape or counted.dtype != bool or not counted.any():
        raise ValueError(f"judged must be {len(own)} booleans, one of them True at least, got {counted}")
    dg = _errors(predicted[counted], exact[counted], family[counted], *interval)
    if not mutants.any():
        return StabilityMetrics(dg=dg, ddg=None)
    origin = parent[mutants]
    changed, expected = predicted[mutants] - predicted[origin], exact[mutants] - exact[origin]
    return StabilityMetrics(dg=dg, ddg=_errors(changed, expected, family[mutants], *interval))


def _checked_parents(wild_type: Any, count: int) -> np.ndarray:
    parent = np.asarray(wild_type)
    if parent.shape != (count,) or not np.issubdtype(parent.dtype, np.integer):
        raise ValueError(f"wild_type must be {count} whole numbers, got {parent.dtype} of {parent.shape}")
    if parent.min() < -1 or parent.max() >= count:
        wrong = parent[(parent < -1) | (parent >= count)][0]
        raise ValueError(f"wild_type must be from -1 to {count - 1}, got {wrong}")
    return parent


def _errors(
    predicted: np.ndarray,
    exact: np.ndarray,
    family: np.ndarray,
    confidence: float,
    resamples: int,
    seed: int,
) -> FreeEnergyErrors:
    members = [np.flatnonzero(family == name) for name in np.unique(family)]
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        chosen = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        drawn.append([score(predicted[chosen], exact[chosen]) for score in _SCORES])
    estimates = []
    for score, values in zip(_SCORES, np.transpose(drawn), strict=True):
        # a resample in which a list is constant has no correlation and tells nothing about it
        kept = values[np.isfinite(values)]
        tails = [(1 - confidence) / 2, (1 + confidence) / 2]
        low, high = np.quantile(kept, tails) if len(kept) else (np.nan, np.nan)
        estimates.append(Estimate(score(predicted, exact), float(low), float(high)))
    return FreeEnergyErrors(len(predicted), *estimates)


def _pearson(one: np.ndarray, other: np.ndarray) -> float:
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])


def _spearman(one: np.ndarray, other: np.ndarray) -> float:
    return _pearson(rankdata(one), rankdata(other))


def _mae(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.mean(np.abs(one - other)))


def _rmse(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean((one - other) ** 2)))


_SCORES = (_mae, _rmse, _pearson, _spearman)
