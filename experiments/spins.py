"""Train a network on the energy in place of cross entropy, and get ground states of spin glasses.

    python -m experiments.spins          # quick preset: 6 minutes on 2 CPU cores
    python -m experiments.spins --data FOLDER          # tested on the couplings of a folder too
    python -m experiments.spins predict FILE           # spins for couplings of your own
    python -m experiments.spins combine runs/spins-quick-*          # seeds in one table

Square lattices, J ~ U[−1, 1]; labels are exact ground states, by a transfer matrix. Arms of equal steps, of
one network: cross-entropy and margin on the label; the energy of the prediction in the label's field (local),
and in its own (true), which needs no label; all of Kaba, Sareen et al., NeurIPS 2025. Controls: the local
energy where labels outweigh the fields, and the true energy of other couplings, by which nothing is gained.
Baselines: greedy descent and simulated annealing. What to expect of the quick preset: see the README.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from experiments import spins_predict
from experiments.command_line import exit_status
from experiments.spins_data import TEST, TRAIN, VALIDATION, Gauge, Solved, folder_sets, in_gauge, random_set
from experiments.spins_evaluation import (
    Decode,
    by_annealing,
    by_chance,
    by_model,
    by_reference,
    evaluate,
)
from experiments.spins_picture import plot_lattice
from experiments.spins_presets import ARMS, PRESETS, Preset
from experiments.spins_report import combine, write_report
from experiments.spins_training import arm_loss, initial_params, model_config
from experiments.stages import run_stage
from jaxphys.models import SpinConfig
from jaxphys.training import prepare_cpu

PICTURED = ("cross-entropy", "local", "true", "true-strongest")


def main(arguments: list[str] | None = None) -> int:
    """Command line; errors of the user end in one line and status 2."""
    options = _parser().parse_args(arguments)
    prepare_cpu()
    return exit_status(lambda: _command(options))


def run(
    name: str, *, seed: int, out: Path, resume: bool, validate: bool = False, data: Path | None = None
) -> None:
    """The whole experiment: lattices, one stage an arm, evaluation, report in the folder `out`."""
    started = time.perf_counter()
    preset = PRESETS[name]
    if out.exists() and any(out.iterdir()) and not resume:
        raise ValueError(f"{out} already holds a run: continue it with --resume, or choose another --out")
    sets = _test_sets(preset, seed, validate, data)
    _say(
        started,
        f"{preset.train} lattices to train on, {sum(len(test.lowest) for test in sets.values())} to test",
    )
    lattices = random_set(preset.train, preset.size, seed, TRAIN)
    run_config = _run_config(name, preset, seed, validate, data)
    params, seconds = _train(preset, run_config, lattices, seed=seed, out=out)
    _say(started, "evaluation")
    results = _evaluate(preset, params, seconds, sets, seed=seed)
    write_report(out, results, run_config=run_config, total=time.perf_counter() - started)
    _picture(out / "lattice.png", preset, params, sets[_title(preset.drawn)])


def _test_sets(preset: Preset, seed: int, validate: bool, data: Path | None) -> dict[str, Solved]:
    """Those of the folder first, whose errors should not come after minutes."""
    given = {} if data is None else folder_sets(data)
    role = VALIDATION if validate else TEST
    return {_title(size): random_set(count, size, seed, role) for size, count in preset.test.items()} | given


def _title(size: int) -> str:
    return f"{size}×{size}"


def _train(
    preset: Preset,
    run_config: Mapping[str, Any],
    lattices: Solved,
    *,
    seed: int,
    out: Path,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Parameters of each arm, and the seconds of its steps."""
    params: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    gauges: dict[Gauge, Any] = {
        gauge: jax.tree.map(jnp.asarray, in_gauge(lattices, gauge)) for gauge in get_args(Gauge)
    }
    for arm, stage in preset.stages.items():
        config, examples = model_config(arm, preset.model), gauges[ARMS[arm].gauge]
        params[arm], seconds[arm] = run_stage(
            arm,
            arm_loss(config, preset, arm),
            examples,
            initial_params(config, examples, seed),
            stage,
            run_config=dict(run_config),
            folder=out,
            seed=seed,
            ema_decay=preset.ema_decay,
            checkpoint_every=preset.checkpoint_every,
        )
    return params, seconds


def _evaluate(
    preset: Preset,
    params: Mapping[str, Any],
    seconds: Mapping[str, float],
    sets: Mapping[str, Solved],
    *,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Every arm and baseline on every test set."""
    decoders: dict[str, tuple[str, Decode, Gauge]] = {
        arm: (ARMS[arm].name, by_model(model_config(arm, preset.model), params[arm]), ARMS[arm].gauge)
        for arm in params
    }
    decoders |= {
        "shortest": ("baseline: reference, corner gauge", by_reference, "corner"),
        "strongest": ("baseline: reference, strongest gauge", by_reference, "strongest"),
        "chance": ("baseline: random spins", by_chance(seed), "corner"),
    }
    for sweeps in preset.sweeps:
        title = f"baseline: annealing, {sweeps} sweeps"
        decoders[f"annealing-{sweeps}"] = (title, by_annealing(sweeps, seed), "corner")
    results: dict[str, dict[str, Any]] = {}
    for row, (title, decode, gauge) in decoders.items():
        results[row] = {"name": title, "sets": evaluate(decode, sets, gauge)}
        for size in preset.test:
            results[row]["sets"][_title(size)]["size"] = size
        if row in seconds:
            results[row]["seconds"] = seconds[row]
    return results


def _picture(path: Path, preset: Preset, params: Mapping[str, Any], test: Solved) -> None:
    one = Solved(*(part[:1] for part in test))
    states = {}
    for arm in [arm for arm in PICTURED if arm in params]:
        decode = by_model(model_config(arm, preset.model), params[arm])
        states[ARMS[arm].name] = np.asarray(decode(in_gauge(one, ARMS[arm].gauge)))[0]
    plot_lattice(path, states, one.spins[0], one.right[0], one.down[0])


def _run_config(name: str, preset: Preset, seed: int, validate: bool, data: Path | None) -> dict[str, Any]:
    """What a checkpoint is bound to."""
    return {
        "experiment": "spins",
        "preset": name,
        "seed": seed,
        "validate": validate,
        "data": data and data.name,
        "lattices": {"train": preset.train, "size": _title(preset.size)},
        "test": {_title(size): count for size, count in preset.test.items()},
        "settings": {
            key: getattr(preset, key)
            for key in ("temperature", "temperatures", "h0", "limit", "sweeps", "ema_decay")
        },
        "stages": {arm: dataclasses.asdict(stage) for arm, stage in preset.stages.items()},
        "model": _sizes(preset),
    }


def _sizes(preset: Preset) -> dict[str, int]:
    """All sizes of the model, those that the preset leaves as they are too: a later default is another."""
    sizes = dataclasses.asdict(SpinConfig(**preset.model))
    del sizes["pinned"]  # the gauge's
    return sizes


def _say(started: float, text: str) -> None:
    print(f"[{time.perf_counter() - started:5.0f} s] {text}", flush=True)


def _command(options: argparse.Namespace) -> None:
    if options.command == "predict":
        spins_predict.predict(options.couplings, run=options.run, arm=options.arm, out=options.out)
    elif options.command == "combine":
        print(combine(options.runs))
    else:
        run(
            options.preset,
            seed=options.seed,
            out=options.out or Path("runs") / f"spins-{options.preset}-{options.seed}",
            resume=options.resume,
            validate=options.validate,
            data=options.data,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.spins",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.set_defaults(command="train")
    parser.add_argument(
        "--preset", choices=sorted(PRESETS), default="quick", help="size of the job (default: quick)"
    )
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="a folder of couplings of square lattices to test on too"
    )
    parser.add_argument(
        "--validate", action="store_true", help="test on other lattices, which settings are to be chosen on"
    )
    parser.add_argument("--out", type=Path, help="run folder (default: runs/spins-PRESET-SEED)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the run folder, exactly")
    parser.add_argument(
        "--seed", type=int, default=0, help="of lattices, batches and parameters (default: 0)"
    )
    commands = parser.add_subparsers(title="commands")
    spins_predict.add_parser(commands)
    together = commands.add_parser("combine", help="one table of runs of several seeds")
    together.set_defaults(command="combine")
    together.add_argument("runs", type=Path, nargs="+", help="run folders, one a seed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
