"""Train a force field on energies and forces, and see what it is good for.

    python -m experiments.force_field            # quick preset: 2 minutes on 2 CPU cores
    python -m experiments.force_field --preset rmd17 --data rmd17_ethanol_split01.npz    # 4 minutes
    python -m experiments.force_field --preset rmd17 --data train_300K.xyz --test test_600K.xyz
    python -m experiments.force_field predict --checkpoint runs/force_field-quick-0 molecule.xyz
    python -m experiments.force_field dynamics --checkpoint runs/force_field-quick-0 --picoseconds 10

Data: rMD17 (.npz) and Transition1x (.h5), which have splits of their own, extended XYZ (.xyz), SPICE and the
files of `python -m jaxphys.label` (.h5). Without any, the quick preset labels ethanol itself, at PBE/STO-3G.
A run leaves table.md, results.json, plots, checkpoints, and start.xyz, from which the dynamics begin.
To expect on test frames: quick 17 meV/Å and 2.6 meV; rmd17 on ethanol 9.2 meV/Å and 2.0 meV, and in 10 ps of
dynamics a drift below 0.01 meV/atom.

The model in a script of your own, for any molecule of the elements it was trained on:

    from experiments.force_field_predict import calculator
    atoms = ase.io.read("molecule.xyz")
    atoms.calc = calculator("runs/force_field-quick-0")
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
from ase.data import chemical_symbols

from experiments.command_line import exit_status
from experiments.force_field_data import Keys, Split, make_data, read_data, split_data
from experiments.force_field_dynamics import START, TIMESTEP, run_dynamics
from experiments.force_field_evaluation import evaluate, write_report
from experiments.force_field_predict import predict_files
from experiments.force_field_presets import PRESETS, Preset
from experiments.force_field_training import model_config, train
from jaxphys.data import fit_atomic_energies, subtract_atomic_energies, write_xyz
from jaxphys.data.energy_data import REFERENCES
from jaxphys.models import EnergyConfig
from jaxphys.training import data_mesh, prepare_cpu


def main(arguments: list[str] | None = None) -> int:
    """Command line; errors of the user end in one line and status 2."""
    options = _parser().parse_args(arguments)
    jax.config.update("jax_enable_x64", True)  # jaxphys.dft is float64; training stays float32
    prepare_cpu()
    return exit_status(lambda: _COMMANDS[options.command](options))


def run(options: argparse.Namespace) -> None:
    """The whole experiment: data, training, evaluation, report in the run folder."""
    started = time.perf_counter()

    def say(text: str) -> None:
        print(f"[{time.perf_counter() - started:5.0f} s] {text}", flush=True)

    out = options.out or Path("runs") / f"force_field-{options.preset}-{options.seed}"
    if out.exists() and any(out.iterdir()) and not options.resume:
        raise ValueError(f"{out} already holds a run: continue it with --resume, or choose another --out")
    preset = _preset(options)
    raw = _split(options, preset, out, say)
    atomic_energies = fit_atomic_energies(raw.train)
    split = Split(*(subtract_atomic_energies(part, atomic_energies) for part in raw))
    config = model_config(preset, split.train)
    run_config = _run_config(options, preset, config, split, atomic_energies)
    say(f"training on {len(split.train)} frames")
    out.mkdir(parents=True, exist_ok=True)
    write_xyz(out / START, [split.train[int(split.train.energy.argmin())].molecule])
    params, seconds = train(
        preset,
        config,
        split.train,
        split.validation,
        run_config=run_config,
        folder=out,
        seed=options.seed,
        mesh=data_mesh() if jax.device_count() > 1 else None,
    )
    say(f"evaluation on {len(split.validation)} and {len(split.test)} frames")
    found = evaluate(config, params, split)
    total = time.perf_counter() - started
    write_report(out, found, split, run_config=run_config, seconds=seconds, total=total)


def _preset(options: argparse.Namespace) -> Preset:
    """The preset with the command line's own numbers; those of a preset's own data do not suit a file."""
    preset = PRESETS[options.preset]
    if options.data:
        preset = dataclasses.replace(preset, train=None, validation=None)
    changes = {"train": options.train, "validation": options.validation}
    preset = dataclasses.replace(preset, **{k: v for k, v in changes.items() if v is not None})
    if options.steps is not None:
        if options.steps < 1:
            raise ValueError(f"--steps must be at least 1, got {options.steps}")
        preset = dataclasses.replace(
            preset, training=dataclasses.replace(preset.training, steps=options.steps)
        )
    return preset


def _split(options: argparse.Namespace, preset: Preset, out: Path, say: Callable[[str], None]) -> Split:
    keys = Keys(options.energy_key, options.forces_key, options.reference)
    test = read_data(options.test, keys) if options.test else None
    if options.data:
        data = read_data(options.data, keys)
    else:
        data = make_data(preset, options.seed, out.parent / "labels", say)
    split = split_data(data, train=preset.train, validation=preset.validation, seed=options.seed, test=test)
    for role in ("validation", "test"):
        unknown = sorted(set(getattr(split, role).elements) - set(split.train.elements))
        if unknown:
            raise ValueError(
                f"the {role} frames have {_symbols(unknown)}, which the training frames lack: "
                f"a model of {_symbols(split.train.elements)} does not know them"
            )
    return split


def _symbols(numbers: Iterable[int]) -> str:
    return ", ".join(chemical_symbols[z] for z in numbers)


def _run_config(
    options: argparse.Namespace,
    preset: Preset,
    config: EnergyConfig,
    split: Split,
    atomic_energies: dict[int, float],
) -> dict[str, Any]:
    """What a checkpoint is bound to, and what a model needs beside its parameters."""
    return {
        "experiment": "force_field",
        "preset": options.preset,
        "data": str(options.data)
        if options.data
        else f"{preset.smiles}, thermal at {preset.temperature:g} K",
        "test": str(options.test) if options.test else None,
        "seed": options.seed,
        "level": split.train.level,
        "frames": [len(split.train), len(split.validation)],
        "atomic_energies": {str(z): energy for z, energy in atomic_energies.items()},
        "energy_weight": preset.energy_weight,
        "model": dataclasses.asdict(config),
    }


def _predict(options: argparse.Namespace) -> None:
    predict_files(options.checkpoint, options.files, out=options.out)


def _dynamics(options: argparse.Namespace) -> None:
    run_dynamics(
        options.checkpoint,
        picoseconds=options.picoseconds,
        temperature=options.temperature,
        timestep=options.timestep,
        start=options.start,
        seed=options.seed,
        out=options.out,
    )


_COMMANDS = {"train": run, "predict": _predict, "dynamics": _dynamics}


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m experiments.force_field", description=__doc__, formatter_class=formatter
    )
    parser.set_defaults(command="train")
    add = parser.add_argument
    add("--preset", choices=sorted(PRESETS), default="quick", help="size of the job (default: quick)")
    add("--data", type=Path, help="labelled frames: .npz of rMD17, .xyz, or .h5, told apart by content")
    add("--test", type=Path, help="another file to test on, e.g. of a higher temperature")
    add(
        "--train",
        type=int,
        metavar="N",
        help="frames to train on (default: what --validation and test leave)",
    )
    add("--validation", type=int, metavar="N", help="frames to validate on (default: 10 %%, of rMD17 5 %%)")
    add("--steps", type=int, metavar="N", help="of training, in place of the preset's")
    add("--energy-key", default="energy", help="name of the energy in extended XYZ, eV (default: energy)")
    add("--forces-key", default="forces", help="and of the forces, eV/Å (default: forces)")
    add(
        "--reference",
        choices=[name for name in REFERENCES if name != "mixed"],
        default="total",
        help="what energies in extended XYZ are measured from (default: total)",
    )
    add("--out", type=Path, help="run folder (default: runs/force_field-PRESET-SEED)")
    add("--resume", action="store_true", help="go on with the run in the run folder, exactly")
    add("--seed", type=int, default=0, help="of the split, batches and parameters (default: 0)")
    commands = parser.add_subparsers(title="more", metavar="predict | dynamics")
    predict = commands.add_parser(
        "predict",
        help="energies and forces of molecules of your own",
        description="Energies (eV) and forces (eV/Å) of every molecule in XYZ files, to FILE.predicted.xyz.",
        formatter_class=formatter,
    )
    predict.set_defaults(command="predict")
    predict.add_argument("--checkpoint", type=Path, required=True, help="run folder")
    predict.add_argument("--out", type=Path, help="folder for the results (default: beside each XYZ file)")
    predict.add_argument("files", type=Path, nargs="+", help="XYZ files in Å")
    _dynamics_parser(commands, formatter)
    return parser


def _dynamics_parser(commands: Any, formatter: Any) -> None:
    parser = commands.add_parser(
        "dynamics",
        help="stability: molecular dynamics at constant energy",
        description="Velocity Verlet at constant energy, and the drift of the total energy in meV/atom.",
        formatter_class=formatter,
    )
    parser.set_defaults(command="dynamics")
    add = parser.add_argument
    add("--checkpoint", type=Path, required=True, help="run folder")
    add("--picoseconds", type=float, default=10.0, help="duration (default: 10)")
    add("--temperature", type=float, default=300.0, help="of the first velocities, K (default: 300)")
    add("--timestep", type=float, default=TIMESTEP, help=f"fs (default: {TIMESTEP})")
    add("--start", type=Path, help="XYZ file to begin with (default: the lowest training frame)")
    add("--seed", type=int, default=0, help="of the velocities (default: 0)")
    add("--out", type=Path, help="folder for the results (default: the run folder)")


if __name__ == "__main__":
    sys.exit(main())
