"""Fine-tune an ensemble model on folding free energies, and see what mutations do to those held out.

    python -m experiments.stability          # quick preset: 12 minutes on 2 CPU cores

A Gō protein, a chain of Cα beads that knows the villin headpiece's contacts, stands for a protein: replica
exchange and MBAR give its folding free energy, and those of hundreds of mutants with other contact strengths,
exactly. A diffusion model learns the wild type's structures, and then mutants' ΔG from samples of its own:
the mean foldedness of independent rollouts must be the labelled one (losses.ensemble_property; Lewis et al.,
BioEmu). Ablations: the squared mean in place of the cross-pair estimate, and no score loss. Control: labels
of other mutants, by which nothing is learned of mutations. Yardsticks: the wild type's ensemble tilted to the
label, the least change that has it; regression on the changes; perturbation theory. ΔG = G_folded −
G_unfolded, negative for a stable protein, in kcal/mol. What to expect of the quick preset: see the README.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.command_line import exit_status
from experiments.stability_evaluation import (
    Ensemble,
    Sampler,
    accuracy,
    agreement,
    baselines,
    drift,
    exact_ensembles,
    first_order,
    free_energies,
    tilted_ensembles,
)
from experiments.stability_presets import ARMS, PRESETS, Preset
from experiments.stability_reference import (
    Labels,
    Reference,
    labelled_mutants,
    simulate,
)
from experiments.stability_report import write_report
from experiments.stability_training import Tuning, pretrain, wild_type_chain, wild_type_structures
from jaxphys.models import ChainConfig
from jaxphys.training import prepare_cpu


def main(arguments: list[str] | None = None) -> int:
    """Command line; errors of the user end in one line and status 2."""
    options = _parser().parse_args(arguments)
    prepare_cpu()
    return exit_status(
        lambda: run(
            options.preset,
            seed=options.seed,
            out=options.out or Path("runs") / f"stability-{options.preset}-{options.seed}",
            resume=options.resume,
        )
    )


def run(name: str, *, seed: int, out: Path, resume: bool) -> None:
    """The whole experiment: reference, pre-training, an arm after the other, evaluation, report in `out`."""
    started = time.perf_counter()
    preset = PRESETS[name]
    if out.exists() and any(out.iterdir()) and not resume:
        raise ValueError(f"{out} already holds a run: continue it with --resume, or choose another --out")
    _say(started, "replica exchange, folded and unfolded starts")
    reference = simulate(preset, seed, out)
    train, test = labelled_mutants(reference, preset, seed)
    _say(
        started,
        f"wild type ΔG = {test.free_energy[0]:.2f} kcal/mol, {len(train.changes) - 1} mutants to learn",
    )
    config, chain = ChainConfig(**preset.model), wild_type_chain(reference)
    run_config = _run_config(name, preset, seed)
    where: dict[str, Any] = {"run_config": run_config, "folder": out, "seed": seed}
    structures = wild_type_structures(reference, seed)
    params, seconds = {}, {}
    params["pretrained"], seconds["pretrained"] = pretrain(preset, config, chain, structures, **where)
    tuning = Tuning(preset, config, chain, structures, train)
    for arm in preset.arms:
        params[arm], seconds[arm] = tuning.run(arm, params["pretrained"], **where)
    _say(started, "evaluation")
    sampler = Sampler(preset, config, chain, seed)
    sampled = {arm: sampler(of_arm, test.changes) for arm, of_arm in params.items()}
    results = _evaluate(preset, reference, train, test, sampled)
    for arm, spent in seconds.items():
        results["arms"][arm]["seconds"] = spent
    write_report(
        out,
        results,
        sampled,
        exact_ensembles(reference, test.changes[: preset.compared]),
        run_config=run_config,
        total=time.perf_counter() - started,
    )


def _evaluate(
    preset: Preset,
    reference: Reference,
    train: Labels,
    test: Labels,
    sampled: Mapping[str, list[Ensemble]],
) -> dict[str, Any]:
    """Everything that the tables show."""
    few = Labels(*(part[: preset.compared] for part in test))
    exact = exact_ensembles(reference, few.changes)
    arms = {
        arm: {
            "name": ARMS[arm].name if arm in ARMS else "before fine-tuning",
            **accuracy(free_energies(ensembles), test),
            "drift": drift(ensembles[1 : preset.compared], exact[1:]),
            "drift of the wild type": drift(ensembles[:1], exact[:1]),
        }
        for arm, ensembles in sampled.items()
    }
    predicted = dict(baselines(train, test)) | {"yardstick: perturbation": first_order(reference, test)}
    halves = [exact_ensembles(reference, few.changes, number) for number in (0, 1)]
    return {
        "arms": arms,
        "baselines": {name: accuracy(values, test) for name, values in predicted.items()},
        "tilted": drift(tilted_ensembles(reference, few)[1:], exact[1:]),
        "floor": drift(*(half[1:] for half in halves)),
        "floor of the wild type": drift(*(half[:1] for half in halves)),
        "agreement": agreement(reference, test),
        "exact": test.free_energy.tolist(),
        "effective": {"least": float(test.effective.min()), "median": float(np.median(test.effective))},
        "reference": dict(reference.facts) | {"samples": len(reference.positions)},
    }


def _run_config(name: str, preset: Preset, seed: int) -> dict[str, Any]:
    """What a checkpoint is bound to."""
    settings = dataclasses.asdict(preset) | {"model": dataclasses.asdict(ChainConfig(**preset.model))}
    return {
        "experiment": "stability",
        "preset": name,
        "seed": seed,
        "settings": settings,
        "weights": {arm: ARMS[arm]._asdict() for arm in preset.arms},
    }


def _say(started: float, text: str) -> None:
    print(f"[{time.perf_counter() - started:5.0f} s] {text}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.stability",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument(
        "--preset", choices=sorted(PRESETS), default="quick", help="size of the job (default: quick)"
    )
    parser.add_argument("--out", type=Path, help="run folder (default: runs/stability-PRESET-SEED)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the run folder, exactly")
    parser.add_argument(
        "--seed", type=int, default=0, help="of simulation, mutants, batches and parameters (default: 0)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
