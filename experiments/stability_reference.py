"""Exact ensembles and folding free energies of a Gō protein and all of its mutants, from one simulation."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.stability_presets import KT, Preset
from jaxphys import metrics, sampling
from jaxphys.data import villin_headpiece
from jaxphys.energies import contact_terms, go_contacts, go_protein
from jaxphys.energies.go_protein import CONTACT
from jaxphys.units import KCAL_PER_MOL_IN_EV

KT_IN_KCAL = KT / KCAL_PER_MOL_IN_EV
NATIVE = villin_headpiece()
CONTACTS = go_contacts(NATIVE)
COUNTED, COUNTED_LENGTHS = metrics.native_contacts(NATIVE)
"""The contacts of the fraction that is native, and their lengths in Å: BioEmu's, fewer than the energy's."""
FILE = "reference.npz"


class Observed(NamedTuple):
    """What is looked at in k structures, (k,) each, in Å: native fraction, radius of gyration, length from
    end to end, mean length of bonds and of its square; and which of the energy's contacts are formed, (k, c).
    """

    fraction: Any
    gyration: Any
    ends: Any
    bond: Any
    bond_square: Any
    formed: Any


@dataclass(frozen=True)
class Reference:
    """All samples of both runs, and the logarithms of their weights in the wild type's ensemble.

    positions: (m, n, 3) in Å; log_weights: (m,); terms: V_c, (m, c); folded: foldedness, (m,); run: (m,), 0
    of the samples started folded, 1 of those started unfolded; facts: what the runs say of themselves.
    """

    positions: np.ndarray
    log_weights: np.ndarray
    terms: np.ndarray
    folded: np.ndarray
    run: np.ndarray
    observed: Observed
    facts: Mapping[str, Any]


class Labels(NamedTuple):
    """Of mutants: changes of strengths in eV, (k, c), folded fraction, ΔG in kcal/mol, effective samples."""

    changes: np.ndarray
    folded: np.ndarray
    free_energy: np.ndarray
    effective: np.ndarray


def fraction_native(positions: Any) -> Any:
    """Of one structure or several."""
    return metrics.fraction_native(positions, jnp.asarray(COUNTED), jnp.asarray(COUNTED_LENGTHS))


@jax.jit
def observe(positions: Any) -> Observed:
    """Of several structures, (k, n, 3) in Å."""
    positions = positions - jnp.mean(positions, axis=1, keepdims=True)
    bonds = jnp.linalg.norm(jnp.diff(positions, axis=1), axis=-1)
    first, second = CONTACTS.T
    lengths = jnp.linalg.norm(positions[:, first] - positions[:, second], axis=-1)
    native = np.linalg.norm(NATIVE[first] - NATIVE[second], axis=-1)
    return Observed(
        fraction_native(positions),
        jnp.sqrt(jnp.mean(jnp.sum(positions**2, axis=-1), axis=1)),
        jnp.linalg.norm(positions[:, -1] - positions[:, 0], axis=-1),
        jnp.mean(bonds, axis=1),
        jnp.mean(bonds**2, axis=1),
        (lengths < 1.2 * jnp.asarray(native)).astype(jnp.float32),
    )


def simulate(preset: Preset, seed: int, folder: Path) -> Reference:
    """The reference, from its file in the folder where there is one.

    Raises sampling.NotMixed where the two runs do not agree.
    """
    path = folder / FILE
    if path.exists():
        with np.load(path) as stored:
            return _reference(stored["positions"], stored["energies"], preset)
    positions, energies = _runs(preset, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"aside-{path.name}")
    np.savez(aside, positions=positions, energies=energies)
    aside.replace(path)
    return _reference(positions, energies, preset)


def _runs(preset: Preset, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions (2, draws, k, t, n, 3) and energies (2, draws, k, t), of folded and unfolded starts."""
    starts = (NATIVE, _extended(len(NATIVE)))
    keys = [jax.random.fold_in(jax.random.key(seed), run) for run in range(len(starts))]
    # a run has too little to do at a time for more than one core
    with ThreadPoolExecutor(len(starts)) as pool:
        found = list(pool.map(partial(_run, preset), keys, starts))
    positions, energies = zip(*found, strict=True)
    return np.stack(positions), np.stack(energies)


def _run(preset: Preset, key: Any, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions and energies of ladders that all start alike."""
    kts = KT * jnp.asarray(preset.temperatures)
    walkers = jnp.broadcast_to(jnp.asarray(start, jnp.float32), (preset.ladders // 2, *start.shape))
    found = sampling.parallel_tempering(
        _ENERGY,
        key,
        walkers,
        kts=kts,
        sweeps=preset.sweeps,
        burn_in=preset.burn_in,
        leapfrog=preset.leapfrog,
        step_sizes=preset.step * jnp.sqrt(kts / KT),
        keep_every=preset.keep_every,
        centre=True,
    )
    return np.asarray(found.positions), np.asarray(found.energies)


_ENERGY = go_protein(NATIVE, CONTACTS)


def _extended(count: int) -> np.ndarray:
    """A zigzag of 3.8 Å steps, far from every contact."""
    half = np.deg2rad(120) / 2
    step = 3.8 * np.array([np.sin(half), np.cos(half), 0.0])
    return np.cumsum([step * [1, (-1) ** i, 1] for i in range(count)], axis=0)


def _reference(positions: np.ndarray, energies: np.ndarray, preset: Preset) -> Reference:
    """Both runs pooled by MBAR; refused where they do not agree at kT."""
    kts = KT * np.asarray(preset.temperatures)
    place = preset.temperatures.index(1.0)
    check = (
        sampling.check_reference(
            _ENERGY,
            positions[0][:, :, place],
            positions[1][:, :, place],
            kt=KT,
            degrees_of_freedom=3 * (len(NATIVE) - 1),
            observables={"native fraction": fraction_native},
        )
        if len(positions[0]) >= ENOUGH
        else None
    )
    # temperature by temperature, as MBAR pools them
    by_kt = np.moveaxis(positions, 3, 0)
    pooled = sampling.mbar(list(np.moveaxis(energies, 3, 0)), kts)
    run = np.broadcast_to(np.arange(2)[None, :, None, None], by_kt.shape[:4]).ravel()
    flat = by_kt.reshape(-1, *positions.shape[-2:])
    flat = flat - flat.mean(axis=1, keepdims=True)
    terms = _in_batches(jax.jit(jax.vmap(contact_terms(NATIVE, CONTACTS))), flat)
    observed = Observed(*map(np.asarray, _in_batches(observe, flat)))
    folded = np.asarray(metrics.foldedness(observed.fraction), float)
    weights = sampling.mbar_weights(pooled, kt=KT)
    return Reference(flat, weights, terms, folded, run, observed, _facts(check, preset))


ENOUGH = 100
"""Draws of which it can be asked whether they are mixed; fewer are those of a test of the program."""


def _facts(check: Any, preset: Preset) -> dict[str, Any]:
    if check is None:
        return {}
    fraction = check.quantities["native fraction"]
    return {
        "virial": [list(one) for one in check.virial],
        "degrees of freedom": check.degrees_of_freedom,
        "native fraction": [list(fraction.first), list(fraction.second)],
        "rhat": fraction.rhat,
    }


def _in_batches(function: Any, positions: np.ndarray, size: int = 8192) -> Any:
    parts = [
        jax.tree.map(np.asarray, function(positions[i : i + size])) for i in range(0, len(positions), size)
    ]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def draw_mutants(preset: Preset, seed: int, count: int) -> np.ndarray:
    """Changes of the contacts' strengths in eV, (count, c); none leaves a contact less than a tenth."""
    rng = np.random.default_rng([seed, 1])
    factor = (
        1
        + preset.overall * rng.normal(size=(count, 1))
        + preset.each * rng.normal(size=(count, len(CONTACTS)))
    )
    for one in factor:
        for site in rng.choice(len(NATIVE), preset.sites, replace=False):
            one[(site == CONTACTS).any(axis=1)] += preset.site * rng.normal()
    return CONTACT * (np.maximum(factor, 0.1) - 1)


def mutant_log_weights(reference: Reference, changes: np.ndarray, run: int | None = None) -> np.ndarray:
    """Logarithms of the samples' weights in the ensembles of k mutants, (m, k), of one run only if given."""
    logs = reference.log_weights[:, None] - reference.terms @ (changes.T / KT).astype(np.float32)
    return logs if run is None else np.where(reference.run[:, None] == run, logs, -np.inf)


def mutant_weights(reference: Reference, changes: np.ndarray, run: int | None = None) -> np.ndarray:
    """Weights of the samples in the ensemble of one mutant, which sum to one, (m,)."""
    logs = mutant_log_weights(reference, changes[None], run)[:, 0]
    weights = np.exp(logs - logs.max())
    return weights / weights.sum()


def label(reference: Reference, changes: np.ndarray, run: int | None = None) -> Labels:
    """Exact labels of mutants, (k, c), by all samples, or by those of one run."""
    parts = [_label(reference, changes[i : i + AT_ONCE], run) for i in range(0, len(changes), AT_ONCE)]
    folded, effective = (np.concatenate(part) for part in zip(*parts, strict=True))
    free = metrics.folding_free_energy(folded, KT_IN_KCAL)
    return Labels(changes, folded, np.asarray(free, float), effective)


def _label(reference: Reference, changes: np.ndarray, run: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Folded fractions and effective numbers of samples, (k,) each."""
    logs = mutant_log_weights(reference, changes, run)
    weights = np.exp(logs - logs.max(axis=0))
    total = weights.sum(axis=0)
    return reference.folded @ weights / total, total**2 / np.sum(weights**2, axis=0)


AT_ONCE = 32
"""Mutants labelled at once, by one product of matrices."""


def labelled_mutants(reference: Reference, preset: Preset, seed: int) -> tuple[Labels, Labels]:
    """Mutants to train on and held out, the wild type first in both; what cannot be labelled is left out.

    Raises ValueError where too few can be.
    """
    needed = preset.train + preset.test
    changes = draw_mutants(preset, seed, 2 * needed)
    labels = label(reference, changes)
    good = (labels.effective >= preset.effective) & (np.abs(labels.free_energy) <= preset.beyond)
    kept = np.flatnonzero(good)[:needed]
    if len(kept) < needed:
        raise ValueError(
            f"{len(kept)} of {len(changes)} mutants have {preset.effective:.0f} effective samples and |ΔG| "
            f"up to {preset.beyond} kcal/mol, {needed} are needed: simulate longer, or change less"
        )
    wild = label(reference, np.zeros((1, len(CONTACTS))))
    split = [kept[: preset.train], kept[preset.train :]]
    sets = [
        Labels(*(np.concatenate([w, part[own]]) for w, part in zip(wild, labels, strict=True)))
        for own in split
    ]
    return sets[0], sets[1]


def change_matrices(changes: np.ndarray) -> np.ndarray:
    """What the model sees of mutants: symmetric (k, n, n), in units of kT."""
    matrices = np.zeros((len(changes), len(NATIVE), len(NATIVE)), np.float32)
    first, second = CONTACTS.T
    matrices[:, first, second] = matrices[:, second, first] = changes / KT
    return matrices
