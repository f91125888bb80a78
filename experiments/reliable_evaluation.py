"""Evaluation of `experiments.reliable_energy`: how far each model's surface can be trusted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from experiments.reliable_data import Displaced, Examples
from experiments.reliable_presets import Preset
from experiments.stages import take
from jaxphys.data import EnergyData
from jaxphys.metrics import energy_metrics, perturb_and_relax, summarise_recovery
from jaxphys.metrics.energy import GOOD, Recovery
from jaxphys.relaxation import LBFGS, Status

Energy = Callable[[Any, Any, Any], Any]  # (params, graph, positions) to eV, ()
Metrics = dict[str, Any]

METHOD = LBFGS(memory=30)


def constant_energy(params: Any, graph: Any, positions: Any) -> Any:
    """The control that shows what can be gamed: no forces, and nothing moves."""
    return 0.0 * jnp.sum(positions)


def evaluate(
    energy: Energy, params: Any, preset: Preset, test: Examples, names: list[str], noise: Any
) -> Metrics:
    """Errors at the test minima and off them, and what becomes of perturbed minima; noise (N, n, 3) in Å."""
    at_minima = _errors(energy, params, test, None)
    recovery = perturb_and_relax(
        Partial(energy, params),
        test.graph,
        test.positions,
        noise,
        mask=test.mask,
        method=METHOD,
        fmax=preset.fmax,
        max_steps=preset.max_steps,
    )
    summary = summarise_recovery(recovery, names)
    metrics: Metrics = {
        "energy_mae": 1e3 * at_minima["energy_mae"],
        "force_at_minima": at_minima["force_norm_mae"],
        "energy_change": summary.energy_change,
        "displacement": summary.displacement,
        "displacement_ratio": summary.displacement_ratio,
        "good": 100 * summary.good,
        "bad": 100 * summary.bad,
        "exploded": len(summary.exploded),
        "not_converged": summary.not_converged,
        "displacements": recovery.displacement,
        "exploded_names": summary.exploded,
    }
    if test.displaced is not None:
        off = _errors(energy, params, test, test.displaced)
        metrics |= {"force_off_minima": off["force_norm_mae"], "force_component_mae": off["force_mae"]}
    return metrics


def _errors(energy: Energy, params: Any, test: Examples, displaced: Displaced | None) -> dict[str, float]:
    """Means of `energy_metrics` over molecules, at the minima or over their displaced geometries."""
    if displaced is None:
        at = test.positions[:, None]
        displaced = Displaced(at, test.energy[:, None], jnp.zeros_like(at))

    @jax.jit
    def solve(params: Any, test: Examples, displaced: Displaced) -> Any:
        def one(graph: Any, mask: Any, label: Displaced) -> Any:
            def energy_of(positions: Any) -> Any:
                return energy(params, graph, positions)

            return energy_metrics(energy_of, label.positions, label.energy, label.forces, mask=mask)

        per_geometry = jax.vmap(one, in_axes=(None, None, 0))
        values = jax.vmap(per_geometry)(test.graph, test.mask, displaced)
        return jax.tree.map(jnp.mean, values)

    return {name: float(value) for name, value in solve(params, test, displaced).items()}


def assemble(
    energy: Energy, params: Any, preset: Preset, test: Examples, chosen: np.ndarray, moved: Any
) -> Metrics:
    """Whether molecules take a displaced group back: mean ΔP before and after, and how many in %."""
    part: Examples = take(test, chosen)
    recovery: Recovery = perturb_and_relax(
        Partial(energy, params),
        part.graph,
        part.positions,
        moved,
        mask=part.mask,
        method=METHOD,
        fmax=preset.fmax,
        max_steps=preset.max_steps,
    )
    sound = np.asarray(recovery.status) != Status.EXPLODED
    displacement = np.asarray(recovery.displacement)
    return {
        "before": float(np.mean(np.asarray(recovery.perturbation))),
        "after": float(np.mean(displacement[sound])) if sound.any() else float("nan"),
        "recovered": 100 * float(np.mean(sound & (displacement <= GOOD))),
        "displacements": displacement,
    }


def follow(energy: Energy, params: Any, path: Examples, reference: EnergyData) -> Metrics:
    """The energy along a path above its start in eV, its error, and the barrier's."""
    profile = jax.jit(jax.vmap(lambda graph, positions: energy(params, graph, positions)))
    predicted = np.asarray(profile(path.graph, path.positions), dtype=float)
    predicted = predicted - predicted[0]
    true = reference.energy - reference.energy[0]
    return {
        "profile": predicted,
        "reference": true,
        "rmse": float(np.sqrt(np.mean((predicted - true) ** 2))),
        "barrier": float(predicted.max()),
        "true_barrier": float(true.max()),
    }
