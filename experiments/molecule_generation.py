"""Train generators of molecules, one by the squared error and others by an energy in its place; compare them.

    python -m experiments.molecule_generation         # quick preset: 10 minutes on 2 CPU cores
    python -m experiments.molecule_generation --preset qm7 --data qm7_7101.npz
    python -m experiments.molecule_generation --preset paper --data qm9.tar.bz2   # an accelerator
    python -m experiments.molecule_generation sample --n 100 --out molecules.sdf
    python -m experiments.molecule_generation combine runs/molecule_generation-qm7-*

Positions and elements come from noise together, by one network that turns with them (EDM, Hoogeboom et al.,
ICML 2022). Of the loss, the term of the positions alone differs from arm to arm: their squared error, or
springs between all pairs of atoms, Kaba et al., NeurIPS 2025, of a stiffness that falls with distance; and,
as a control by which nothing should be gained, springs that are all alike. To expect: see the README.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments import molecule_generation_sample
from experiments.command_line import exit_status
from experiments.molecule_generation_data import (
    Molecules,
    batch_of_step,
    embedded,
    make_examples,
    read,
)
from experiments.molecule_generation_evaluation import evaluate
from experiments.molecule_generation_losses import of_mirror_images
from experiments.molecule_generation_picture import plot_molecules
from experiments.molecule_generation_presets import LOSSES, NAMES, PRESETS, Preset
from experiments.molecule_generation_report import combine, write_report
from experiments.molecule_generation_sampling import generate
from experiments.molecule_generation_training import arm_loss, initial_params
from experiments.stages import Stage, run_stage
from jaxphys.data import xtb_calculator
from jaxphys.metrics import chiral_centres, connectivity, perceive
from jaxphys.metrics.generation import Geometry
from jaxphys.models import GeneratorConfig, MoleculeGenerator
from jaxphys.training import prepare_cpu

MIRRORED = 50
"""Molecules with a centre that the losses are asked about."""


def main(arguments: list[str] | None = None) -> int:
    """Command line; errors of the user end in one line and status 2."""
    options = _parser().parse_args(arguments)
    prepare_cpu()
    return exit_status(lambda: _command(options))


def run(name: str, *, seed: int, out: Path, resume: bool, data: Path | None = None) -> None:
    """The whole experiment: molecules, one training an arm, evaluation, report in the folder `out`.

    data: QM7 or QM9 as `read` takes it, in place of molecules that are embedded here.
    """
    started, preset = time.perf_counter(), PRESETS[name]
    if out.exists() and any(out.iterdir()) and not resume:
        raise ValueError(f"{out} already holds a run: continue it with --resume, or choose another --out")
    if preset.of_data and data is None:
        raise ValueError(f"the preset {name} learns from data: name them by --data, QM7 (npz) or QM9")
    xtb_calculator()  # whose absence should not come to light after training
    _say(started, "molecules")
    molecules = _molecules(preset, data)
    config = GeneratorConfig(species=molecules.species, spread=round(molecules.spread, 3), **preset.model)
    run_config = _run_config(name, preset, config, molecules, seed)
    _say(started, f"training on {len(molecules)} molecules, {molecules.source}")
    params, seconds = _train(preset, config, run_config, molecules, seed=seed, out=out)
    _say(started, "evaluation")
    results, made = _evaluate(preset, config, params, molecules, seed=seed, cache=out.parent / "xtb")
    for arm, value in seconds.items():
        results[arm]["seconds"] = value
    write_report(out, results, run_config=run_config, total=time.perf_counter() - started)
    plot_molecules(out / "molecules.png", {NAMES[arm]: found for arm, found in made.items()})


def _molecules(preset: Preset, data: Path | None) -> Molecules:
    if data is None:
        return embedded(preset.smiles, preset.conformers)
    return read(data, elements=preset.elements, largest=max(preset.sizes))


def _train(
    preset: Preset,
    config: GeneratorConfig,
    run_config: dict[str, Any],
    molecules: Molecules,
    *,
    seed: int,
    out: Path,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Parameters of each arm, all from the same random ones and batches, and the seconds of its steps."""
    examples = make_examples(molecules, config.species, preset.sizes)
    params, seconds = {}, {}
    for arm, rate in preset.rates.items():
        params[arm], seconds[arm] = run_stage(
            arm,
            arm_loss(config, preset, arm),
            partial(batch_of_step, examples, preset.batch, seed),
            initial_params(config, seed),
            Stage(preset.steps, preset.batch, rate, excessive=1e4, algorithm=preset.algorithm),
            run_config=run_config,
            folder=out,
            seed=seed,
            ema_decay=preset.ema_decay,
            checkpoint_every=preset.checkpoint_every,
        )
    return params, seconds


def _evaluate(
    preset: Preset,
    config: GeneratorConfig,
    params: dict[str, Any],
    molecules: Molecules,
    *,
    seed: int,
    cache: Path,
) -> tuple[dict[str, dict[str, Any]], dict[str, list[Geometry]]]:
    """What is known of the data, and of each arm's molecules, which have as many atoms; and the molecules."""
    rng = np.random.default_rng([seed, 3])
    chosen = [molecules.geometries[i] for i in rng.integers(len(molecules), size=preset.samples)]
    graphs = [perceive(*geometry) for geometry in molecules.geometries]
    known = {connectivity(mol) for mol in graphs if mol is not None}
    handed = [
        own[1]
        for own, mol in zip(molecules.geometries, graphs, strict=True)
        if mol is not None and any(chiral_centres(mol))
    ][:MIRRORED]
    settings: dict[str, Any] = {"judged": preset.judged, "cache": cache}
    results = {"data": evaluate(chosen, known=(), **settings)}
    make = partial(generate, MoleculeGenerator(config), seed=seed, sampler=preset.sampler)
    counts = [len(numbers) for numbers, _ in chosen]
    # so that no arm's time is that of compilation
    make(next(iter(params.values())), sorted(set(counts)))
    made = {"data": chosen}
    for arm, own in params.items():
        started = time.perf_counter()
        found = make(own, counts)
        speed = 60 * len(counts) / (time.perf_counter() - started)
        made[arm] = found
        results[arm] = evaluate(found, known=known, **settings) | {"speed": speed}
        if handed:
            results[arm]["mirror"] = of_mirror_images(LOSSES[arm], handed)
    return results, made


def _run_config(
    name: str, preset: Preset, config: GeneratorConfig, molecules: Molecules, seed: int
) -> dict[str, Any]:
    """What a checkpoint is bound to; what `sample` needs stands in it too."""
    left_out = ("smiles", "model", "sampler", "rates")
    sizes, counts = np.unique(molecules.counts, return_counts=True)
    return {
        "experiment": "molecule_generation",
        "preset": name,
        "seed": seed,
        "source": molecules.source,
        "sizes": {str(size): int(count) for size, count in zip(sizes, counts, strict=True)},
        "arms": dict(preset.rates),
        "settings": {k: v for k, v in vars(preset).items() if k not in left_out},
        "model": dataclasses.asdict(config),
        "sampler": dataclasses.asdict(preset.sampler),
    }


def _say(started: float, text: str) -> None:
    print(f"[{time.perf_counter() - started:5.0f} s] {text}", flush=True)


def _command(options: argparse.Namespace) -> None:
    if options.command == "sample":
        molecule_generation_sample.sample(
            options.n,
            run=options.run,
            arm=options.arm,
            atoms=options.atoms,
            steps=options.steps,
            seed=options.seed,
            out=options.out,
        )
    elif options.command == "combine":
        print(combine(options.runs))
    else:
        run(
            options.preset,
            seed=options.seed,
            out=options.out or Path("runs") / f"molecule_generation-{options.preset}-{options.seed}",
            resume=options.resume,
            data=options.data,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.molecule_generation",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.set_defaults(command="train")
    parser.add_argument(
        "--preset", choices=sorted(PRESETS), default="quick", help="size of the job (default: quick)"
    )
    parser.add_argument("--data", type=Path, help="QM7 (npz) or QM9, in place of embedded molecules")
    parser.add_argument("--out", type=Path, help="run folder (default: runs/molecule_generation-PRESET-SEED)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the run folder, exactly")
    parser.add_argument("--seed", type=int, default=0, help="of batches, parameters and noise (default: 0)")
    commands = parser.add_subparsers(title="commands")
    molecule_generation_sample.add_parser(commands)
    together = commands.add_parser("combine", help="one table of runs of several seeds")
    together.set_defaults(command="combine")
    together.add_argument("runs", type=Path, nargs="+", help="run folders, one a seed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
