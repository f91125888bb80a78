"""Train a Hamiltonian predictor on a physical law, without labels, and see what it gains.

    python -m experiments.hamiltonian                 # quick preset: 9 minutes and 6.5 GB on 2 CPU cores
    python -m experiments.hamiltonian predict --checkpoint runs/hamiltonian-quick-0 molecule.xyz

A model learns Kohn–Sham matrices from a few labelled small molecules, fails on larger ones, and then trains
on geometries of those without labels, by self-consistency. Arms of equal time: `variational` (energy and
detached residual), `residual` (the form of Zhang et al., ICML 2024), and `control` (more time on the labels).
To expect of the quick preset: matrix errors on the unlabelled molecules fall about 60-fold.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import jax

from experiments.command_line import exit_status
from experiments.hamiltonian_data import Geometries, make_examples, read_geometries, sample_geometries
from experiments.hamiltonian_evaluation import evaluate, write_report
from experiments.hamiltonian_predict import predict_files
from experiments.hamiltonian_presets import PRESETS, Preset
from experiments.hamiltonian_training import LAWS, initial_params, run_stage
from jaxphys.dft.basis import shell_momenta
from jaxphys.models import HamiltonianConfig
from jaxphys.training import data_mesh, prepare_cpu

ARMS = ("control", "residual", "variational")


def main(arguments: list[str] | None = None) -> int:
    """Command line; errors of the user end in one line and status 2."""
    options = _parser().parse_args(arguments)
    jax.config.update("jax_enable_x64", True)  # jaxphys.dft is float64; the network stays float32
    prepare_cpu()
    return exit_status(lambda: _command(options))


def _command(options: argparse.Namespace) -> None:
    if options.command == "predict":
        predict_files(options.checkpoint, options.files, out=options.out)
        return
    run(
        options.preset,
        seed=options.seed,
        out=options.out or Path("runs") / f"hamiltonian-{options.preset}-{options.seed}",
        data=options.data,
        resume=options.resume,
    )


def run(name: str, *, seed: int, out: Path, data: Path | None, resume: bool) -> None:
    """The whole experiment: data, labels, four stages, evaluation, report in the folder `out`."""
    started = time.perf_counter()
    preset = PRESETS[name]
    if out.exists() and any(out.iterdir()) and not resume:
        raise ValueError(f"{out} already holds a run: continue it with --resume, or choose another --out")
    geometries = read_geometries(data) if data else sample_geometries(preset, seed)
    config = _model_config(preset, geometries)
    run_config = _run_config(name, preset, config, seed, data)
    _say(started, f"labelling {len(geometries.labelled)} geometries; cache in {out.parent / 'labels'}")
    cache = out.parent / "labels"
    method = preset.method
    labelled = make_examples(geometries.labelled, method, config, labels=cache)
    _say(started, f"integrals of {len(geometries.unlabelled)} unlabelled geometries")
    unlabelled = make_examples(geometries.unlabelled, method, config)

    mesh = data_mesh() if jax.device_count() > 1 else None
    common: dict[str, Any] = {
        "config": config,
        "run_config": run_config,
        "folder": out,
        "seed": seed,
        "ema_decay": preset.ema_decay,
        "checkpoint_every": preset.checkpoint_every,
        "mesh": mesh,
    }
    start = initial_params(config, labelled, seed)
    zero_shot, seconds = run_stage("labels", LAWS["labels"], labelled, start, preset.labels, **common)
    params, spent = {"zero-shot": zero_shot}, {"zero-shot": seconds}
    for arm in ARMS:
        law = LAWS["labels" if arm == "control" else arm]
        examples = labelled if arm == "control" else unlabelled
        params[arm], spent[arm] = run_stage(arm, law, examples, zero_shot, getattr(preset, arm), **common)

    _say(started, "evaluation against converged DFT")
    del unlabelled
    results = {}
    for role in ("test", "larger"):
        molecules = getattr(geometries, role)
        if molecules:
            examples = make_examples(molecules, method, config, labels=cache)
            results[role] = evaluate(config, params, examples, molecules, method)
    write_report(out, results, run_config=run_config, seconds=spent, total=time.perf_counter() - started)


def _model_config(preset: Preset, geometries: Geometries) -> HamiltonianConfig:
    roles = (geometries.labelled, geometries.unlabelled, geometries.test, geometries.larger)
    elements = sorted({int(z) for molecules in roles for molecule in molecules for z in molecule.numbers})
    shells = tuple((z, shell_momenta(z, preset.method.basis)) for z in elements)
    return HamiltonianConfig(shells=shells, **preset.model)


def _run_config(
    name: str, preset: Preset, config: HamiltonianConfig, seed: int, data: Path | None
) -> dict[str, Any]:
    """What a checkpoint is bound to."""
    return {
        "experiment": "hamiltonian",
        "preset": name,
        "data": str(data) if data else None,
        "seed": seed,
        "method": dataclasses.asdict(preset.method),
        "model": dataclasses.asdict(config),
    }


def _say(started: float, text: str) -> None:
    print(f"[{time.perf_counter() - started:5.0f} s] {text}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.hamiltonian",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.set_defaults(command="train")
    parser.add_argument(
        "--preset", choices=sorted(PRESETS), default="quick", help="size of the job (default: quick)"
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="folder with labelled.xyz, unlabelled.xyz, test.xyz and, if you like, larger.xyz\n"
        "(Å, many frames a file) in place of the preset's molecules; labels are computed",
    )
    parser.add_argument("--out", type=Path, help="run folder (default: runs/hamiltonian-PRESET-SEED)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the run folder, exactly")
    parser.add_argument(
        "--seed", type=int, default=0, help="of geometries, batches and parameters (default: 0)"
    )
    commands = parser.add_subparsers(title="more", metavar="predict")
    predict = commands.add_parser(
        "predict",
        help="apply a trained model to molecules of your own",
        description="Orbital energies, total energy, dipole and Fock matrix of molecules in XYZ files, and\n"
        "how far to trust them: the residual ‖F[P̂] − Ĥ‖, which needs no label.",
        formatter_class=argparse.RawTextHelpFormatter,
    )
    predict.set_defaults(command="predict")
    predict.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        help="run folder (its variational stage), or the folder of one stage",
    )
    predict.add_argument("--out", type=Path, help="folder for the results (default: beside each XYZ file)")
    predict.add_argument("files", type=Path, nargs="+", help="XYZ files in Å")
    return parser


if __name__ == "__main__":
    sys.exit(main())
