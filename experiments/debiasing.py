"""Debias a sampler with its energy: potential score matching, what it mends, and what mends the rest.

    python -m experiments.debiasing          # Müller and Brown's surface, quick preset
    python -m experiments.debiasing --system lj13          # --data FILE compares with published samples
    python -m experiments.debiasing --system alanine_dipeptide

A denoiser learns from samples that are biased, and is to sample exp(−E/kT). Two kinds of bias: local, samples
of twice the temperature; and weights, where every basin is in equilibrium with itself and not with the
others. Arms of one network: the denoising score (DSM), which learns the bias; the potential score (PSM; Guo
et al., TMLR 2025), the force over kT of the samples; both blended by the level of noise; and the blend on
samples that sequential Monte Carlo has carried to the target. Beside them: samples of the flow weighted by
the energy, and plain Monte Carlo from the biased samples at equal calls of the energy. Controls: unbiased
data, on which all labels have one mean. Every number stands beside its noise floor. What to expect: see the
README.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.command_line import exit_status
from experiments.debiasing_evaluation import judge
from experiments.debiasing_peptide import alanine_dipeptide
from experiments.debiasing_presets import ARMS, PRESETS, Preset
from experiments.debiasing_report import write_report
from experiments.debiasing_sampling import (
    Made,
    by_annealing,
    by_crossing,
    by_denoiser,
    by_dynamics,
    by_weights,
)
from experiments.debiasing_systems import (
    REGIMES,
    Denoiser,
    Ensemble,
    System,
    ensemble,
    lennard_jones_13,
    mueller_brown,
)
from experiments.debiasing_training import arm_loss, examples, spread_of
from experiments.stages import run_stage
from jaxphys import losses, report
from jaxphys.training import prepare_cpu

SYSTEMS: Mapping[str, Callable[[Path | None], System]] = {
    "mueller_brown": lambda data: _without_data(mueller_brown, data),
    "alanine_dipeptide": lambda data: _without_data(alanine_dipeptide, data),
    "lj13": lambda data: lennard_jones_13(None if data is None else _published(data)),
}
REFERENCE, BIASED, ANNEALED, TRAINED, SAMPLED, WEIGHTED, DYNAMICS, CONTROL, CROSSING = range(
    9
)  # of random numbers


def run(name: str, system: System, *, seed: int, out: Path, resume: bool) -> None:
    """The whole experiment in the folder `out`: for each regime of bias, all rows of the table."""
    started = time.perf_counter()
    if system.name not in PRESETS[name]:
        having = ", ".join(own for own, presets in PRESETS.items() if system.name in presets)
        raise ValueError(f"{system.name} has no preset {name}, only {having}")
    preset = PRESETS[name][system.name]
    if out.exists() and any(out.iterdir()) and not resume:
        raise ValueError(f"{out} already holds a run: continue it with --resume, or choose another --out")
    run_config = _run_config(name, preset, system, seed)
    _same_run(out / "config.json", run_config)
    _say(started, f"{preset.reference} samples of the reference")
    reference = Ensemble(
        *_kept(out / "reference.npz", lambda: system.reference(_key(seed, REFERENCE), preset.reference))
    )
    job = _Job(system, preset, reference, run_config, seed=seed, out=out, started=started)
    results: dict[str, dict[str, Any]] = {}
    made: dict[str, dict[str, Ensemble]] = {}
    for regime in preset.arms:
        results[regime], made[regime] = job.rows(regime)
    write_report(
        out,
        system,
        results,
        made,
        reference,
        run_config=run_config,
        total=time.perf_counter() - started,
    )


def _same_run(path: Path, run_config: Mapping[str, Any]) -> None:
    """Leave the settings beside what is made by them; raise ValueError for a folder of other settings."""
    ours = json.loads(json.dumps(run_config))
    if not path.exists():
        report.save_json(path, ours)
    theirs = json.loads(path.read_text(encoding="utf-8"))
    for name in {**theirs, **ours}:
        if theirs.get(name) != ours.get(name):
            raise ValueError(
                f"{path.parent} holds a run with {name} {theirs.get(name)}, not {ours.get(name)}: resume "
                "that one, or choose another --out"
            )


def _kept(path: Path, make: Callable[[], Sequence[Any]]) -> list[np.ndarray]:
    """The arrays that `make` gives, from a file that this run left before, or made and left."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name("unfinished-" + path.name)
        np.savez(aside, *(np.asarray(array) for array in make()))
        aside.replace(path)
    with np.load(path) as arrays:
        return list(arrays.values())


class _Job:
    """One run: everything that its rows have in common."""

    def __init__(
        self,
        system: System,
        preset: Preset,
        reference: Ensemble,
        run_config: dict[str, Any],
        *,
        seed: int,
        out: Path,
        started: float,
    ) -> None:
        self.system, self.preset, self.reference = system, preset, reference
        self.run_config, self.seed, self.out, self.started = run_config, seed, out, started

    def rows(self, regime: str) -> tuple[dict[str, Any], dict[str, Ensemble]]:
        """The rows of one regime's table, and the samples of those that are drawn."""
        system, preset = self.system, self.preset
        number = list(REGIMES).index(regime)
        key = _key(self.seed, BIASED, number)
        path = self.out / f"biased-{regime}.npz"
        biased = jnp.asarray(_kept(path, lambda: [system.biased[regime](key, preset.train)])[0])
        _say(self.started, f"{REGIMES[regime]}: {len(biased)} samples")
        rows, drawn = {}, {}

        def add(row: str, title: str, found: Made, **facts: Any) -> None:
            value, samples = judge(system, found.positions, self.reference, groups=found.groups)
            calls = {"calls": found.force_calls} if found.force_calls else {}
            rows[row] = {"name": title} | value | dict(found.facts) | calls | facts
            drawn[row] = samples
            first = next(iter(system.columns))
            _say(self.started, f"{title}: {first} {value[first]['value']:.3g}")

        add("biased", "the biased samples", Made(biased))
        annealed = by_annealing(
            system, biased, _key(self.seed, ANNEALED, number), preset=preset, regime=regime
        )
        add("walkers", "annealed walkers", annealed)
        add("dynamics", "HMC alone, as many calls", self._dynamics(biased, annealed, number))
        if system.crossing is not None:
            step, calls = annealed.facts["step"], annealed.force_calls
            found = by_crossing(system, biased, _key(self.seed, CROSSING, number), step=step, calls=calls)
            add("crossing", "HMC and turns, as many calls", found)
        self.width = float(losses.score_width(examples(system, annealed.positions)["forces"], system.kt))
        for arm in preset.arms[regime]:
            data = {"biased": biased, "annealed": annealed.positions}.get(ARMS[arm].data)
            self._arm(regime, arm, self._unbiased() if data is None else data, annealed, add)
        return rows, drawn

    def _dynamics(self, start: Any, annealed: Made, number: int) -> Made:
        return by_dynamics(
            self.system,
            start,
            _key(self.seed, DYNAMICS, number),
            step=annealed.facts["step"],
            calls=annealed.force_calls,
            leapfrog=self.preset.leapfrog,
        )

    def _arm(self, regime: str, arm: str, data: Any, annealed: Made, add: Callable[..., None]) -> None:
        """Train, sample, and what else is made of this arm's samples."""
        preset, system, what = self.preset, self.system, ARMS[arm]
        number = [list(REGIMES).index(regime), list(ARMS).index(arm)]
        denoise, params, seconds = self._train(regime, arm, jnp.asarray(data[: preset.train]))
        calls = preset.train if what.label != "denoising" else 0
        calls += annealed.force_calls if what.data == "annealed" else 0
        sampled = by_denoiser(
            system,
            denoise,
            params,
            _key(self.seed, SAMPLED, *number),
            count=preset.samples,
            levels=preset.levels,
        )
        add(arm, what.title, sampled._replace(force_calls=calls), seconds=seconds)
        if arm in preset.reweighted:
            key = _key(self.seed, WEIGHTED, *number)
            found = by_weights(system, denoise, params, key, count=preset.samples, levels=preset.flow_levels)
            add(
                f"{arm}-weighted",
                f"{what.title}, weighted",
                found._replace(force_calls=calls + found.force_calls),
            )
        if arm == preset.moved and preset.moves:
            found = self._dynamics_after(sampled, annealed, number)
            title = f"{what.title}, {preset.moves * preset.leapfrog} calls each"
            add(f"{arm}-moved", title, found._replace(force_calls=calls + found.force_calls))

    def _dynamics_after(self, sampled: Made, annealed: Made, number: list[int]) -> Made:
        return by_dynamics(
            self.system,
            # without those that have no energy to begin with
            jnp.asarray(ensemble(self.system.energy_fn, sampled.positions).positions),
            _key(self.seed, DYNAMICS, *number, 1),
            step=annealed.facts["step"],
            calls=self.preset.moves * self.preset.leapfrog * len(sampled.positions),
            leapfrog=self.preset.leapfrog,
        )

    def _unbiased(self) -> Any:
        """Data of the controls, drawn as the reference is, but not the same."""

        def make() -> Ensemble:
            return self.system.reference(_key(self.seed, CONTROL), self.preset.train)

        return jnp.asarray(_kept(self.out / "unbiased.npz", make)[0])

    def _train(self, regime: str, arm: str, data: Any) -> tuple[Denoiser, Any, float]:
        preset, system = self.preset, self.system
        seen = examples(system, data)
        init, denoise = system.denoiser(preset.model, seen["positions"])
        loss = arm_loss(
            system,
            denoise,
            ARMS[arm].label,
            width=self.width,
            spread=spread_of(seen["positions"]),
        )
        params, seconds = run_stage(
            f"{regime}-{arm}",
            loss,
            seen,
            init(_key(self.seed, TRAINED)),
            dataclasses.replace(preset.stage, steps=preset.fewer.get(arm, preset.stage.steps)),
            run_config=self.run_config,
            folder=self.out,
            seed=self.seed,
            ema_decay=preset.ema_decay,
            checkpoint_every=preset.checkpoint_every,
        )
        return denoise, params, seconds


def _key(seed: int, *path: int) -> Any:
    key = jax.random.key(seed)
    for number in path:
        key = jax.random.fold_in(key, number)
    return key


def _without_data(make: Callable[[], System], data: Path | None) -> System:
    if data is not None:
        raise ValueError(f"--data goes with --system lj13, whose published samples it holds, got {data}")
    return make()


def _published(path: Path) -> np.ndarray:
    """Samples (k, 13, 3) of a file of NumPy with (k, 39) or (k, 13, 3) numbers."""
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is no file of NumPy: {error}") from None
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fi":
        raise ValueError(f"{path} must hold one array of numbers, as numpy.save writes it")
    if found.shape[1:] not in ((39,), (13, 3)) or not len(found) or not np.isfinite(found).all():
        raise ValueError(
            f"{path} must hold samples of 13 particles, finite numbers (k, 39), got shape {found.shape}"
        )
    return found.reshape(len(found), 13, 3)


def _run_config(name: str, preset: Preset, system: System, seed: int) -> dict[str, Any]:
    """What a checkpoint is bound to."""
    return {
        "experiment": "debiasing",
        "system": system.name,
        "preset": name,
        "seed": seed,
        "kt": [system.kt, system.hot],
    } | {key: value for key, value in dataclasses.asdict(preset).items() if key != "checkpoint_every"}


def _say(started: float, text: str) -> None:
    print(f"[{time.perf_counter() - started:5.0f} s] {text}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Command line; errors of the user end in one line and status 2."""
    options = _parser().parse_args(arguments)
    prepare_cpu()
    out = options.out or Path("runs") / f"debiasing-{options.system}-{options.preset}-{options.seed}"

    def action() -> None:
        system = SYSTEMS[options.system](options.data)
        run(options.preset, system, seed=options.seed, out=out, resume=options.resume)

    return exit_status(action)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.debiasing",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument(
        "--system", choices=sorted(SYSTEMS), default="mueller_brown", help="default: mueller_brown"
    )
    parser.add_argument(
        "--preset", choices=sorted(PRESETS), default="quick", help="size of the job (default: quick)"
    )
    parser.add_argument(
        "--data", type=Path, metavar="FILE", help="published samples of lj13, (k, 39), to compare with too"
    )
    parser.add_argument("--out", type=Path, help="run folder (default: runs/debiasing-SYSTEM-PRESET-SEED)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the run folder, exactly")
    parser.add_argument("--seed", type=int, default=0, help="of samples, batches and parameters (default: 0)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
