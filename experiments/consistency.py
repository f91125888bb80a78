"""Train a denoiser on cheap structures and good energies, and get structures better than its labels.

    python -m experiments.consistency          # quick preset: 20 minutes on 2 CPU cores
    python -m experiments.consistency --preset b3lyp          # about an hour
    python -m experiments.consistency --smiles mine.txt       # molecules of your own, one SMILES a line
    python -m experiments.consistency predict "CC(=O)Oc1ccccc1C(=O)O" --samples 10 --out aspirin.sdf

Structures are minima of UFF, energies are of GFN2-xTB, and no minimum of GFN2-xTB is ever trained on; the
preset b3lyp has MMFF94s and B3LYP in their places. Arms of
equal time go on from one multi-task model, with laws by which the energies move the structures: what is
denoised minimises the energy (optimality), and its score is the force over kT (score), both of Ren et al.,
NeurIPS 2024; and our form of the latter, with the force taken at the denoised structure (proximal). Controls:
energies of UFF itself, by which nothing may be gained, and relaxation of the samples on the energy model.
To expect of the quick preset: structures' energies above the minimum are more than halved; see the README.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import consistency_predict
from experiments.command_line import exit_status
from experiments.consistency_data import (
    PROCESSES,
    Examples,
    Structures,
    largest,
    make_examples,
    make_structures,
    padded_size,
)
from experiments.consistency_evaluation import (
    baseline,
    conformer_scores,
    judge,
    reference_minima,
    summarise,
)
from experiments.consistency_levels import LEVELS
from experiments.consistency_presets import ARMS, BEFORE, FIRST, LOW, PRESETS, Preset
from experiments.consistency_report import combine, write_report
from experiments.consistency_sampling import sample
from experiments.consistency_smiles import read_smiles
from experiments.consistency_training import arm_loss, initial_params
from experiments.stages import map_batches, run_stage, take
from jaxphys.models import DenoiserConfig, MultiTask, denoise_fn, energy_fn
from jaxphys.relaxation import relax_batch
from jaxphys.training import Checkpoints, data_mesh, load_params, prepare_cpu

NAMES = {
    "labels": "the labels: {low}",
    "etkdg": "RDKit ETKDG + MMFF94s",
    "multitask": "multi-task",
    "optimality": "+ optimality",
    "score": "+ score",
    "both": "+ both",
    "both-forces": "+ both, force labels",
    "proximal": "+ proximal (ours)",
    "control": "control: proximal, {low} energies",
    "relaxed": "control: multi-task, relaxed on its energy",
}


def main(arguments: list[str] | None = None) -> int:
    """Command line; errors of the user end in one line and status 2."""
    options = _parser().parse_args(arguments)
    prepare_cpu()
    return exit_status(lambda: _command(options))


def run(
    name: str, *, seed: int, out: Path, resume: bool, validate: bool = False, smiles: Path | None = None
) -> None:
    """The whole experiment: labels, one stage an arm, evaluation, report in the folder `out`.

    smiles: a file of molecules in place of the preset's.
    """
    started = time.perf_counter()
    preset = PRESETS[name] if smiles is None else _with_molecules(name, smiles)
    if out.exists() and any(out.iterdir()) and not resume:
        raise ValueError(f"{out} already holds a run: continue it with --resume, or choose another --out")
    _check_level(out, preset.level)
    cache = out.parent / LEVELS[preset.level].folder
    _say(started, f"structures and labels of {len(preset.smiles)} molecules; cache in {cache}")
    roles = make_structures(preset, seed, cache=cache, validate=validate)
    config = DenoiserConfig(species=roles["train"].high.elements, **preset.model)
    run_config = _run_config(name, preset, config, roles, seed, validate)
    params, seconds = _train(preset, config, run_config, roles, seed=seed, out=out)
    _say(started, "evaluation")
    results = _evaluate(preset, config, params, seconds, roles, seed=seed, cache=cache)
    names = {arm: text.format(low=preset.low_level) for arm, text in NAMES.items()}
    write_report(out, results, run_config=run_config, total=time.perf_counter() - started, names=names)


def _with_molecules(name: str, path: Path) -> Preset:
    """The preset with the molecules of a file."""
    preset = PRESETS[name]
    smiles = read_smiles(path, preset.low_level)
    if len(smiles) <= preset.test:
        raise ValueError(
            f"{path} has {len(smiles)} molecules, and the preset {name} holds {preset.test} out of training: "
            f"give at least {preset.test + 1}, and many more to learn from"
        )
    return dataclasses.replace(preset, smiles=smiles)


def _check_level(out: Path, level: str) -> None:
    """Before hours of labels: a checkpoint of another level would refuse them in the end."""
    if not (out / FIRST).is_dir() or Checkpoints(out / FIRST, {}).latest_step() is None:
        return
    known = load_params(out / FIRST)[1].get("level")
    if known != level:
        raise ValueError(
            f"{out} was trained on energies of {known}, the preset has {level}: energies of two levels do "
            "not mix, choose another --out"
        )


def _train(
    preset: Preset,
    config: DenoiserConfig,
    run_config: dict[str, Any],
    roles: dict[str, Structures],
    *,
    seed: int,
    out: Path,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Parameters of each arm, all from those of the first stage, and the seconds of its steps."""
    examples = make_examples(roles["train"], padded_size(roles))
    mesh = data_mesh() if jax.device_count() > 1 else None
    params: dict[str, Any] = {}
    seconds: dict[str, float] = {}

    def stage(name: str, laws: tuple[str, ...], start: Any) -> None:
        params[name], seconds[name] = run_stage(
            name,
            arm_loss(config, preset, laws),
            examples,
            start,
            preset.stages[name],
            run_config=run_config,
            folder=out,
            seed=seed,
            ema_decay=preset.ema_decay,
            checkpoint_every=preset.checkpoint_every,
            mesh=mesh,
        )

    stage(FIRST, BEFORE[FIRST], initial_params(config, examples, seed))
    if any("low_energy" in ARMS[arm] for arm in preset.arms):
        stage(LOW, BEFORE[LOW], params[FIRST])
    for arm in preset.arms:
        stage(arm, ARMS[arm], params[LOW if "low_energy" in ARMS[arm] else FIRST])
    return params, seconds


def _evaluate(
    preset: Preset,
    config: DenoiserConfig,
    params: dict[str, Any],
    seconds: dict[str, float],
    roles: dict[str, Structures],
    *,
    seed: int,
    cache: Path,
) -> dict[str, dict[str, Any]]:
    """Everything that is known of each arm's samples, of the labels, and of the baseline."""
    test, n_node = roles["test"], padded_size(roles)
    examples = make_examples(test, n_node)
    first = [test.smiles.index(text) for text in dict.fromkeys(test.smiles)]
    mols = [test.mols[i] for i in first]
    rows = np.repeat(first, preset.samples)
    # orientations of any of a molecule's minima are those of the molecule
    graphs = take(examples.graph, rows)
    model, key = MultiTask(config), jax.random.fold_in(jax.random.key(seed), 5)
    denoise = partial(_denoise, model)
    found = {
        arm: np.asarray(sample(denoise, params[arm], graphs, key, preset.sampler)) for arm in preset.arms
    }
    found["relaxed"] = _relaxed(model, params["multitask"], graphs, found["multitask"], preset.relaxed)
    sets = {arm: _by_molecule(mols, positions, preset.samples) for arm, positions in found.items()}
    sets |= {"labels": [own[:1] for own in (test.positions[i] for i in first)]}
    sets |= {"etkdg": baseline(mols, preset.samples, seed)}
    by: dict[str, Any] = {"level": LEVELS[preset.level], "cache": cache, "processes": PROCESSES}
    references = reference_minima(mols, preset.conformers, seed=seed, **by)
    results = {}
    for arm in [name for name in NAMES if name in sets]:
        judged = judge(mols, sets[arm], **by)
        results[arm] = {
            "summary": summarise(judged),
            "conformers": conformer_scores(mols, sets[arm], references),
            "energies": judged.energy,
        }
        if arm in preset.arms:
            results[arm] |= {"energy_mae": _energy_error(model, params[arm], examples)}
            results[arm] |= {"seconds": seconds[arm]}
    return results


def _denoise(model: MultiTask, params: Any, graph: Any, positions: Any, sigma: Any) -> Any:
    return denoise_fn(model, params, graph)(positions, sigma)


def _energy(model: MultiTask, params: Any, graph: Any, positions: Any) -> Any:
    return energy_fn(model, params, graph)(positions)


def _by_molecule(mols: list[Any], positions: np.ndarray, count: int) -> list[np.ndarray]:
    return [
        positions[i * count : (i + 1) * count, : mol.GetNumAtoms()].astype(float)
        for i, mol in enumerate(mols)
    ]


def _relaxed(model: MultiTask, params: Any, graphs: Any, positions: Any, steps: int) -> np.ndarray:
    """The samples after so many steps downhill on the model's own energy."""
    energy = jax.tree_util.Partial(partial(_energy, model), params)
    ends = relax_batch(energy, graphs, positions, mask=graphs.nodes["numbers"] > 0, max_steps=steps)
    return np.asarray(ends.positions)


def _energy_error(model: MultiTask, params: Any, examples: Examples) -> float:
    """Mean absolute error in meV of the energies of the test's geometries above their own minimum."""

    def errors(some: Examples) -> Any:
        predicted = jax.vmap(lambda graph, own: jax.vmap(partial(_energy, model, params, graph))(own))(
            some.graph, some.displaced
        )
        wrong = predicted - some.energy
        return jnp.abs(wrong - wrong[:, :1])[:, 1:]

    return 1000 * float(jnp.mean(map_batches(jax.jit(errors), examples, 32)))


def _run_config(
    name: str,
    preset: Preset,
    config: DenoiserConfig,
    roles: dict[str, Structures],
    seed: int,
    validate: bool,
) -> dict[str, Any]:
    """What a checkpoint is bound to."""
    left_out = (
        "smiles", "validation", "level", "low_level", "arms", "stages", "model", "sampler", "weights",
    )  # fmt: skip
    own = preset.smiles != PRESETS[name].smiles
    return {
        "experiment": "consistency",
        "preset": name,
        "seed": seed,
        "validate": validate,
        "level": preset.level,
        "structures": preset.low_level,
        "molecules": {role: len(set(part.smiles)) for role, part in roles.items()},
        "minima": {role: len(part) for role, part in roles.items()},
        "largest": largest(roles),
        "arms": list(preset.arms),
        "settings": {k: v for k, v in vars(preset).items() if k not in left_out},
        "weights": dataclasses.asdict(preset.weights),
        "model": dataclasses.asdict(config),
        "sampler": dataclasses.asdict(preset.sampler),
    } | ({"smiles": hashlib.sha256("\n".join(preset.smiles).encode()).hexdigest()} if own else {})


def _say(started: float, text: str) -> None:
    print(f"[{time.perf_counter() - started:5.0f} s] {text}", flush=True)


def _command(options: argparse.Namespace) -> None:
    if options.command == "predict":
        consistency_predict.predict(
            options.smiles,
            run=options.run,
            arm=options.arm,
            samples=options.samples,
            steps=options.steps,
            seed=options.seed,
            out=options.out,
        )
    elif options.command == "combine":
        print(combine(options.runs, against="multitask"))
    else:
        own = f"-{options.smiles.stem}" if options.smiles else ""
        run(
            options.preset,
            seed=options.seed,
            out=options.out or Path("runs") / f"consistency-{options.preset}{own}-{options.seed}",
            resume=options.resume,
            validate=options.validate,
            smiles=options.smiles,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.consistency",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.set_defaults(command="train")
    parser.add_argument(
        "--preset", choices=sorted(PRESETS), default="quick", help="size of the job (default: quick)"
    )
    parser.add_argument(
        "--smiles",
        type=Path,
        metavar="FILE",
        help="molecules of your own in place of the preset's: one SMILES a line, # before a comment",
    )
    parser.add_argument(
        "--validate", action="store_true", help="test on other molecules, which settings are to be chosen on"
    )
    parser.add_argument("--out", type=Path, help="run folder (default: runs/consistency-PRESET-SEED)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the run folder, exactly")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the split, batches and parameters (default: 0)"
    )
    commands = parser.add_subparsers(title="commands")
    consistency_predict.add_parser(commands)
    together = commands.add_parser("combine", help="one table of runs of several seeds")
    together.set_defaults(command="combine")
    together.add_argument("runs", type=Path, nargs="+", help="run folders, one a seed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
