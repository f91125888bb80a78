"""Train energy models on minima alone, and see how far their surfaces can be trusted.

    python -m experiments.reliable_energy          # quick preset: 12 minutes on 2 CPU cores

Labels are energies at minima, of GFN2-xTB, computed in the first run and kept. A model that fits them has
forces where there should be none, and loses the structures that it is relaxed from. Arms of equal time add
physical laws that need no label: no force at a minimum, nothing below it, elements named by their
surroundings (Yi et al., UAI 2023). Controls: a constant energy, and a model with labelled forces.
To expect of the quick preset: forces at minima and displacements fall more than tenfold; see the README.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from experiments.command_line import exit_status
from experiments.reliable_assembly import displaced_groups
from experiments.reliable_data import Examples, Sets, make_examples, make_sets, read_sets, with_modes
from experiments.reliable_evaluation import Energy, assemble, constant_energy, evaluate, follow
from experiments.reliable_paths import HELD_OUT, make_paths, read_paths
from experiments.reliable_presets import ARMS, PRESETS, Preset
from experiments.reliable_report import Results, write_report
from experiments.reliable_training import arm_loss, initial_params, model_energy
from experiments.stages import run_stage
from jaxphys.data import EnergyData
from jaxphys.models import EnergyConfig
from jaxphys.molecule import graph_sizes
from jaxphys.training import data_mesh, prepare_cpu

TRANSITION1X = "Transition1x.h5"
BOUND = ("margin", "depth", "noise", "heat", "downhill", "searched", "published_noise")
"""The settings of the two bounds."""


def main(arguments: list[str] | None = None) -> int:
    """Command line; errors of the user end in one line and status 2."""
    options = _parser().parse_args(arguments)
    prepare_cpu()
    out = options.out or Path("runs") / f"reliable-energy-{options.preset}-{options.seed}"
    return exit_status(
        lambda: run(
            options.preset,
            seed=options.seed,
            out=out,
            data=options.data,
            resume=options.resume,
            validate=options.validate,
        )
    )


def run(name: str, *, seed: int, out: Path, data: Path | None, resume: bool, validate: bool = False) -> None:
    """The whole experiment: data, one stage an arm, evaluation, report in the folder `out`."""
    started = time.perf_counter()
    preset = PRESETS[name]
    if data and validate:
        raise ValueError("--validate has molecules of its own: leave --data out")
    if out.exists() and any(out.iterdir()) and not resume:
        raise ValueError(f"{out} already holds a run: continue it with --resume, or choose another --out")
    cache = out.parent / "xtb"
    _say(
        started, f"reading {data}" if data else f"labels of {len(preset.smiles)} molecules; cache in {cache}"
    )
    if data:
        sets = read_sets(data, preset, seed)
    else:
        sets = make_sets(preset, seed, cache=cache, without=HELD_OUT, validate=validate)
    if data:
        paths = read_paths(data / TRANSITION1X, species(sets), preset.reactions)
    else:
        paths = make_paths(preset.path, cache)
    train, test = with_modes(_examples(sets, "train")), _examples(sets, "test")
    config = _model_config(preset, sets)
    run_config = _run_config(name, preset, config, sets, seed, data, validate)

    params, seconds = _train(preset, config, run_config, train, seed=seed, out=out)
    _say(started, "evaluation")
    results = _evaluate(preset, config, params, sets, test, paths, seed)
    write_report(out, results, run_config=run_config, seconds=seconds, total=time.perf_counter() - started)


def _train(
    preset: Preset, config: EnergyConfig, run_config: dict[str, Any], train: Examples, *, seed: int, out: Path
) -> tuple[dict[str, Any], dict[str, float]]:
    """Parameters of each arm, all from the same start, and the seconds of its steps."""
    mesh = data_mesh() if jax.device_count() > 1 else None
    start = initial_params(config, train, seed)
    params, seconds = {}, {}
    for arm, laws in ARMS.items():
        if "displaced" in laws and train.displaced is None:
            continue
        params[arm], seconds[arm] = run_stage(
            arm,
            arm_loss(config, preset, laws),
            train,
            start,
            preset.stages[arm],
            run_config=run_config,
            folder=out,
            seed=seed,
            ema_decay=preset.ema_decay,
            checkpoint_every=preset.checkpoint_every,
            mesh=mesh,
        )
    return params, seconds


def _evaluate(
    preset: Preset,
    config: EnergyConfig,
    params: dict[str, Any],
    sets: Sets,
    test: Examples,
    paths: dict[str, EnergyData],
    seed: int,
) -> Results:
    """All metrics of the constant and of each arm."""
    model: Energy = partial(model_energy, config)
    models: dict[str, tuple[Energy, Any]] = {"constant": (constant_energy, None)}
    models |= {arm: (model, value) for arm, value in params.items()}
    names = [f.name or f.group for f in sets.minima["test"]]
    key = jax.random.fold_in(jax.random.key(seed), 1)
    noise = preset.perturbation * jax.random.normal(key, test.positions.shape, jnp.float32)
    chosen, moved = displaced_groups(sets.minima["test"], preset.assembled, seed)
    shifts = jnp.stack([jnp.pad(m, ((0, test.mask.shape[1] - len(m)), (0, 0))) for m in moved])
    images = {
        name: make_examples(path, None, graph_sizes(int(path.n_atoms.max()))[0])
        for name, path in paths.items()
    }
    return {
        arm: {
            "test": evaluate(energy, value, preset, test, names, noise),
            "paths": {name: follow(energy, value, images[name], path) for name, path in paths.items()},
            "assembly": assemble(energy, value, preset, test, chosen, shifts.astype(jnp.float32)),
        }
        for arm, (energy, value) in models.items()
    }


def _examples(sets: Sets, role: str) -> Examples:
    """One role, padded as the largest molecule of all roles asks."""
    largest = max(int(data.n_atoms.max()) for data in sets.minima.values())
    return make_examples(sets.minima[role], sets.displaced[role], graph_sizes(largest)[0])


def _model_config(preset: Preset, sets: Sets) -> EnergyConfig:
    return EnergyConfig(species=species(sets), species_head=True, **preset.model)


def species(sets: Sets) -> tuple[int, ...]:
    """Elements of all roles."""
    return tuple(sorted({z for data in sets.minima.values() for z in data.elements}))


def _run_config(
    name: str,
    preset: Preset,
    config: EnergyConfig,
    sets: Sets,
    seed: int,
    data: Path | None,
    validate: bool,
) -> dict[str, Any]:
    """What a checkpoint is bound to."""
    displaced = sets.displaced["train"]
    return {
        "experiment": "reliable_energy",
        "preset": name,
        "data": str(data) if data else None,
        "validate": validate,
        "level": sets.minima["train"].level,
        "seed": seed,
        "molecules": {role: len(part) for role, part in sets.minima.items()},
        "force_labels": 0 if displaced is None else len(displaced),
        "perturbation": preset.perturbation,
        "bound": {name: getattr(preset, name) for name in BOUND},
        "weights": dataclasses.asdict(preset.weights),
        "model": dataclasses.asdict(config),
    }


def _say(started: float, text: str) -> None:
    print(f"[{time.perf_counter() - started:5.0f} s] {text}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.reliable_energy",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument(
        "--preset", choices=sorted(PRESETS), default="quick", help="size of the job (default: quick)"
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="folder with QM7 as qm7_7101.npz, minima of PBE0, in place of the preset's molecules,\n"
        f"and with reactions as {TRANSITION1X}, if there are to be any",
    )
    parser.add_argument(
        "--validate",
        action="store_true",
        help="test on other molecules, which settings are to be chosen on (not with --data)",
    )
    parser.add_argument("--out", type=Path, help="run folder (default: runs/reliable-energy-PRESET-SEED)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the run folder, exactly")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the split, batches and parameters (default: 0)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
