"""How well the samples of `experiments.stability` have mutants' free energies, and what else changes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq
from scipy.stats import wasserstein_distance

from experiments.stability_presets import KT, Preset
from experiments.stability_reference import (
    CONTACTS,
    KT_IN_KCAL,
    Labels,
    Observed,
    Reference,
    change_matrices,
    label,
    mutant_weights,
    observe,
)
from experiments.stability_training import sampling_levels, start
from jaxphys import diffusion, metrics
from jaxphys.models import Chain, ChainConfig, ChainDenoiser, chain_denoise_fn

SAMPLED = 4  # among the uses of random numbers
RESAMPLES = 200  # of intervals


class Ensemble(NamedTuple):
    """Observed structures with weights that sum to one, (k,)."""

    observed: Observed
    weights: Any


class Sampler:
    """Samples of mutants by one compiled program, whatever the parameters; all mutants from the same noise,
    so that their differences have less of it."""

    def __init__(self, preset: Preset, config: ChainConfig, chain: Chain, seed: int) -> None:
        sigmas = sampling_levels(preset)
        key = jax.random.fold_in(jax.random.key(seed), SAMPLED)
        self.keys = jax.random.split(key, preset.draws)

        @jax.jit
        def sample(params: Any, changes: Any, keys: Any) -> Observed:
            denoise = chain_denoise_fn(ChainDenoiser(config), params, chain, changes)
            solve = partial(diffusion.dpm_solver, denoise, sigmas=sigmas)
            return observe(jax.vmap(lambda own: solve(start(chain, preset, own)))(keys))

        self._sample = sample

    def __call__(self, params: Any, changes: np.ndarray) -> list[Ensemble]:
        """An ensemble of each mutant, changes (k, c) in eV."""
        ensembles = []
        for one in change_matrices(changes):
            observed = Observed(*map(np.asarray, self._sample(params, jnp.asarray(one), self.keys)))
            ensembles.append(Ensemble(observed, np.full(len(self.keys), 1 / len(self.keys))))
        return ensembles


def exact_ensembles(reference: Reference, changes: np.ndarray, run: int | None = None) -> list[Ensemble]:
    """The reference's samples with each mutant's weights."""
    return [Ensemble(reference.observed, mutant_weights(reference, one, run)) for one in changes]


def tilted_ensembles(reference: Reference, labels: Labels) -> list[Ensemble]:
    """The wild type's ensemble times exp(λ f), with each mutant's folded fraction: the nearest that has it.

    Of all ensembles with a mean foldedness it has the least relative entropy to the wild type's. It is what a
    label alone says of a mutant, and the yardstick of what else fine-tuning changes.
    """
    wild = mutant_weights(reference, np.zeros(len(CONTACTS)))
    return [Ensemble(reference.observed, tilted(wild, reference.folded, mean)) for mean in labels.folded]


def tilted(weights: np.ndarray, values: np.ndarray, mean: float) -> np.ndarray:
    """Weights times exp(λ value), normed, with λ such that the mean of the values is the one given."""

    def by(strength: float) -> np.ndarray:
        found = weights * np.exp(
            strength * (values - values.max() if strength > 0 else values - values.min())
        )
        return found / found.sum()

    return by(brentq(lambda strength: float(by(strength) @ values - mean), -50.0, 50.0))


def free_energies(ensembles: list[Ensemble]) -> np.ndarray:
    """ΔG in kcal/mol of each; a fraction below half a sample counts as that."""
    folded = [one.weights @ np.asarray(metrics.foldedness(one.observed.fraction)) for one in ensembles]
    least = 0.5 * float(np.mean([np.sum(one.weights**2) for one in ensembles]))
    return np.asarray(metrics.folding_free_energy(np.array(folded), KT_IN_KCAL, smallest=least), float)


def accuracy(predicted: np.ndarray, labels: Labels) -> dict[str, Any]:
    """Errors of ΔG and, over mutants, of ΔΔG with intervals from them; the wild type, first; kcal/mol."""
    of_all = metrics.stability_metrics(predicted, labels.free_energy, resamples=RESAMPLES).dg
    changed, exact = predicted[1:] - predicted[0], labels.free_energy[1:] - labels.free_energy[0]
    of_mutants = metrics.stability_metrics(changed, exact, resamples=RESAMPLES).dg
    return {
        "dg": _scores(of_all),
        "ddg": _scores(of_mutants),
        "slope": float(np.polyfit(exact, changed, 1)[0]),
        "wild": float(predicted[0]),
        "predicted": predicted.tolist(),
    }


def _scores(errors: Any) -> dict[str, Any]:
    return {
        score: [found.value, found.low, found.high]
        for score in ("mae", "rmse", "pearson", "spearman")
        for found in [getattr(errors, score)]
    }


def drift(ensembles: list[Ensemble], exact: list[Ensemble]) -> dict[str, float]:
    """How far observables are from those of the exact ensembles, means over the mutants of absolute values.

    fraction: Wasserstein distance of native fractions; gyration, ends: of their means, in Å; bond,
    bond_width: of mean and standard deviation of bond lengths, in Å; folded: of the parts of contacts formed
    in the folded basin, mean over contacts; variance: of foldedness, over the exact one, mean ratio.
    """
    rows = [_drift(one, other) for one, other in zip(ensembles, exact, strict=True)]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _drift(one: Ensemble, other: Ensemble) -> dict[str, float]:
    first, second = _summary(one), _summary(other)
    fractions = (one.observed.fraction, other.observed.fraction)
    distance = wasserstein_distance(*fractions, one.weights, other.weights)
    apart = {
        name: float(np.mean(np.abs(first[name] - second[name])))
        for name in ("gyration", "ends", "bond", "bond_width", "folded")
    }
    return {"fraction": float(distance), **apart, "variance": float(first["variance"] / second["variance"])}


def _summary(ensemble: Ensemble) -> dict[str, Any]:
    observed, weights = ensemble
    folded = np.asarray(metrics.foldedness(observed.fraction), float)
    bond = weights @ observed.bond
    basin = weights * folded
    return {
        "gyration": weights @ observed.gyration,
        "ends": weights @ observed.ends,
        "bond": bond,
        "bond_width": np.sqrt(max(weights @ observed.bond_square - bond**2, 0.0)),
        "folded": (basin / basin.sum()).astype(np.float32) @ observed.formed,
        "variance": weights @ folded**2 - (weights @ folded) ** 2,
    }


def profile(ensemble: Ensemble, edges: np.ndarray) -> np.ndarray:
    """Free energy over the native fraction in kcal/mol, least zero; NaN where there are no samples."""
    parts, _ = np.histogram(ensemble.observed.fraction, edges, weights=ensemble.weights)
    with np.errstate(divide="ignore"):
        free = -KT_IN_KCAL * np.log(parts)
    return np.where(parts > 0, free - free[parts > 0].min(), np.nan)


def baselines(train: Labels, test: Labels) -> Mapping[str, np.ndarray]:
    """ΔG of the test's mutants by what needs no ensemble: nothing, one number, a number for each contact."""
    wild = train.free_energy[0]
    changes, known = train.changes[1:], train.free_energy[1:] - wild
    total = changes.sum(axis=1)
    slope = total @ known / (total @ total)
    scale = changes / changes.std()
    strength = _best_ridge(scale, known)
    linear = np.linalg.solve(scale.T @ scale + strength * np.eye(scale.shape[1]), scale.T @ known)
    return {
        "baseline: every mutant is the wild type": np.full(len(test.changes), wild),
        "baseline: sum of the changes, one slope": wild + slope * test.changes.sum(axis=1),
        "baseline: ridge regression on the changes": wild + test.changes / changes.std() @ linear,
    }


def _best_ridge(rows: np.ndarray, known: np.ndarray) -> float:
    """By leaving each one out, in closed form."""
    errors = {}
    for strength in np.geomspace(0.01, 1000.0, 26):
        hat = rows @ np.linalg.solve(rows.T @ rows + strength * np.eye(rows.shape[1]), rows.T)
        errors[strength] = np.mean(((known - hat @ known) / (1 - np.diag(hat))) ** 2)
    return float(min(errors, key=errors.__getitem__))


def first_order(reference: Reference, test: Labels) -> np.ndarray:
    """ΔG by perturbation: the wild type's plus the mean change of energy in its basin less that outside."""
    wild = mutant_weights(reference, np.zeros(len(CONTACTS)))
    basins = [wild * reference.folded, wild * (1 - reference.folded)]
    folded, unfolded = (basin / basin.sum() @ reference.terms for basin in basins)
    return test.free_energy[0] + KT_IN_KCAL / KT * test.changes @ (folded - unfolded)


def agreement(reference: Reference, test: Labels) -> dict[str, float]:
    """How far ΔG and ΔΔG of the two runs are apart, mean absolute difference in kcal/mol."""
    first, second = (label(reference, test.changes, run).free_energy for run in (0, 1))
    changes = [one[1:] - one[0] for one in (first, second)]
    return {
        "dg": float(np.mean(np.abs(first - second))),
        "ddg": float(np.mean(np.abs(changes[0] - changes[1]))),
    }
