"""What `experiments.reliable_energy` leaves: table.md, results.json and the plots."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.reliable_presets import ARMS
from experiments.stages import loss_curves
from jaxphys import report

COLUMNS = {
    "E (meV)": "energy_mae",
    "F min": "force_at_minima",
    "F off": "force_off_minima",
    "ΔE (meV)": "energy_change",
    "ΔP (Å)": "displacement",
    "ΔP/ΔP₀": "displacement_ratio",
    "good (%)": "good",
    "bad (%)": "bad",
    "exploded": "exploded",
}
NAMES = {
    "constant": "constant energy",
    "energy": "energy only",
    "zero-force": "+ zero force",
    "bound": "+ bound",
    "masked": "+ masked atoms",
    "full": "full: all four",
    "published": "full, bound as published",
    "forces": "control: force labels",
}
PLOTTED = ("energy", "published", "full", "forces")
"""Arms whose reaction paths are drawn; the others' are in the table."""
Results = dict[str, dict[str, Any]]


def write_report(
    out: Path, results: Results, *, run_config: dict[str, Any], seconds: dict[str, float], total: float
) -> None:
    """Leave everything in the run folder, and print the table."""
    text = "\n".join(_sections(results, run_config, seconds, total))
    (out / "table.md").write_text(text, encoding="utf-8")
    report.save_json(
        out / "results.json", {"config": run_config, "seconds": seconds, "total": total, "results": results}
    )
    _plots(out, results)
    print("\n" + text)


def _sections(
    results: Results, run_config: dict[str, Any], seconds: dict[str, float], total: float
) -> list[str]:
    device = f"{jax.device_count()} {jax.default_backend()} device(s)"
    sizes = run_config["molecules"]
    sections = [
        "# Energy models from minima alone\n",
        f"preset {run_config['preset']}, seed {run_config['seed']}, {sizes['train']} molecules to train on, "
        f"{sizes['test']} to test, labels: {run_config['level']}, {os.cpu_count()} CPU cores, {device}, "
        f"{total / 60:.1f} minutes this time\n",
        _main_table(results, seconds),
        _caption(run_config),
        _gain(results),
    ]
    first = next(iter(results.values()))
    if first["paths"]:
        sections += ["## Reaction paths: error of the profile / barrier (eV)\n", _path_table(results)]
    if "assembly" in first:
        sections += ["## A functional group displaced by 0.7 Å and relaxed\n", _assembly_table(results)]
    return sections


def _main_table(results: Results, seconds: dict[str, float]) -> str:
    rows = [
        [
            NAMES[arm],
            *(_cell(found["test"].get(metric)) for metric in COLUMNS.values()),
            _seconds(seconds, arm),
        ]
        for arm, found in results.items()
    ]
    return report.format_table(rows, ["model", *COLUMNS, "training (s)"]) + "\n"


def _cell(value: Any) -> str:
    return "–" if value is None else report.format_number(value)


def _seconds(seconds: dict[str, float], arm: str) -> str:
    return f"{seconds[arm]:.0f}" if arm in seconds else "–"


def _caption(run_config: dict[str, Any]) -> str:
    lines = [
        "Test molecules, none of them trained on. E: mean absolute error of the energy at the minima; F min:",
        "mean |F| there, where the true one is zero; F off: mean |ΔF| at displaced geometries, both in eV/Å.",
        "ΔE, ΔP: after every atom was displaced "
        f"(σ {run_config['perturbation']} Å) and the molecule relaxed on the model;",
        "means without exploded ones. good: ΔP ≤ 0.075 Å; bad: ΔP > 0.3 Å or exploded. The constant shows",
        "what F min and ΔP cannot tell; F off can. The bound has a margin, "
        f"{run_config['bound']['margin']} of the energy of springs between",
        "all atoms, and looks for its violations downhill; as published it has neither, and noise of "
        f"{run_config['bound']['published_noise']} Å.",
    ]
    if run_config["force_labels"]:
        lines.append(f"The control's {run_config['force_labels']} further labels of energy and forces")
        lines.append("are what no other arm has seen.")
    return "\n".join(lines) + "\n"


def _gain(results: Results) -> str:
    start, end = results["energy"]["test"], results["full"]["test"]
    force = start["force_at_minima"] / end["force_at_minima"]
    displacement = start["displacement"] / end["displacement"]
    return (
        f"Full against energy only: |F| at minima {report.format_number(force)} times smaller, "
        f"ΔP {report.format_number(displacement)} times, energy error "
        f"{report.format_number(end['energy_mae'] / start['energy_mae'])} times as large.\n"
    )


def _path_table(results: Results) -> str:
    first = next(iter(results.values()))["paths"]
    rows = [["xTB", *(f"0 / {report.format_number(path['true_barrier'])}" for path in first.values())]]
    for arm, found in results.items():
        rows.append(
            [
                NAMES[arm],
                *(
                    f"{report.format_number(path['rmse'])} / {report.format_number(path['barrier'])}"
                    for path in found["paths"].values()
                ),
            ]
        )
    return report.format_table(rows, ["model", *first]) + "\n"


def _assembly_table(results: Results) -> str:
    rows = [
        [NAMES[arm], *(_cell(found["assembly"][key]) for key in ("before", "after", "recovered"))]
        for arm, found in results.items()
    ]
    header = ["model", "ΔP before (Å)", "ΔP after (Å)", "put back: ΔP ≤ 0.075 Å (%)"]
    return report.format_table(rows, header) + "\n"


def _plots(out: Path, results: Results) -> None:
    trained = [arm for arm in ARMS if arm in results]
    report.plot_curves(
        out / "loss.png",
        {NAMES[arm]: curve for arm, curve in loss_curves(out, trained).items()},
        xlabel="step",
        ylabel="loss of its own laws",
        title="Training",
    )
    report.plot_curves(
        out / "recovery.png",
        {NAMES[arm]: _distribution(found["test"]["displacements"]) for arm, found in results.items()},
        xlabel="ΔP after relaxation (Å)",
        ylabel="molecules below (%)",
        title="Perturbed minima found back",
        log=False,
        log_x=True,
    )
    for name, path in next(iter(results.values()))["paths"].items():
        steps = np.arange(len(path["reference"]))
        curves = {"xTB": (steps, path["reference"])}
        curves |= {
            NAMES[arm]: (steps, results[arm]["paths"][name]["profile"]) for arm in PLOTTED if arm in results
        }
        report.plot_curves(
            out / f"path-{name.replace(' ', '-')}.png",
            curves,
            xlabel="image",
            ylabel="energy above the start (eV)",
            title=name,
            log=False,
        )


def _distribution(displacements: Any) -> tuple[np.ndarray, np.ndarray]:
    values = np.sort(np.asarray(displacements))
    return values, 100 * np.arange(1, len(values) + 1) / len(values)
