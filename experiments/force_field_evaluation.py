"""What a run of `experiments.force_field` leaves: table, plots, results.json."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ase.data import chemical_symbols

from experiments.force_field_data import Split
from experiments.force_field_training import STAGE, errors, make_predictor
from experiments.stages import loss_curves
from jaxphys import report
from jaxphys.data import EnergyData
from jaxphys.models import EnergyConfig
from jaxphys.training import MetricsLog

MILLI = 1e3
COLUMNS = {"E (meV)": "energy_mae", "E (meV/atom)": "energy_mae_per_atom", "F (meV/Å)": "force_mae"}
MODEL, BASELINE = "model", "mean energy, no forces"

Evaluation = dict[str, dict[str, Any]]


def evaluate(config: EnergyConfig, params: Any, split: Split) -> dict[str, Evaluation]:
    """Errors of the model and of the baseline, and the predictions, on the sets that were not trained on."""
    found = {}
    mean = float(np.mean(split.train.energy))
    for role in ("validation", "test"):
        data: EnergyData = getattr(split, role)
        assert data.forces is not None
        energy, forces = make_predictor(config, data)(params)
        constant = np.full(len(data), mean), np.zeros_like(data.forces)
        found[role] = {
            MODEL: _errors(data, energy, forces),
            BASELINE: _errors(data, *constant),
            "predicted": {"energy": energy, "forces": forces},
        }
    return found


def _errors(data: EnergyData, energy: np.ndarray, forces: np.ndarray) -> dict[str, Any]:
    off = np.abs(forces - data.forces)
    elements = {chemical_symbols[z]: float(np.mean(off[data.numbers == z])) for z in data.elements}
    return {**errors(data, energy, forces), "force_mae_by_element": elements, "frames": len(data)}


def write_report(
    out: Path,
    found: dict[str, Evaluation],
    split: Split,
    *,
    run_config: dict[str, Any],
    seconds: float,
    total: float,
) -> None:
    """Leave table.md, results.json and the plots in the run folder, and print the table."""
    conditions = (
        f"{run_config['data']}, {run_config['level']}; {len(split.train)} frames to train, "
        f"{len(split.validation)} to validate, {len(split.test)} to test"
        + (f" from {run_config['test']}" if run_config["test"] else "")
        + f"; preset {run_config['preset']}, seed {run_config['seed']}, {os.cpu_count()} CPU cores, "
        f"{jax.device_count()} {jax.default_backend()} device(s), {seconds / 60:.1f} minutes of training, "
        f"{total / 60:.1f} in all this time"
    )
    page = (
        f"# Force field\n\n{conditions}\n\n{_table(found)}\n\n"
        "Mean absolute errors; of the forces over components, of the elements beside it over those atoms.\n"
    )
    (out / "table.md").write_text(page)
    print("\n" + page)
    curve = _learning_curve(out)
    errors_only = {
        role: {k: v for k, v in entry.items() if k != "predicted"} for role, entry in found.items()
    }
    report.save_json(
        out / "results.json",
        {"config": run_config, "seconds": seconds, "learning_curve": curve, **errors_only},
    )
    _plots(out, found, split, curve)
    print(f"table, plots, checkpoints: {out}")


def _table(found: dict[str, Evaluation]) -> str:
    symbols = list(dict.fromkeys(s for f in found.values() for s in f[MODEL]["force_mae_by_element"]))
    rows = []
    for role, entry in found.items():
        for setting in (BASELINE, MODEL):
            values = [entry[setting][name] for name in COLUMNS.values()]
            values += [entry[setting]["force_mae_by_element"].get(symbol, np.nan) for symbol in symbols]
            cells = ["" if np.isnan(v) else report.format_number(MILLI * v) for v in values]
            rows.append([role, setting, *cells])
    return report.format_table(rows, ["frames", "", *COLUMNS, *(f"F on {symbol}" for symbol in symbols)])


def _learning_curve(out: Path) -> dict[str, list[float]]:
    """Steps and validation errors, in eV and Å."""
    lines = MetricsLog(out / STAGE / "metrics.jsonl").read()
    lines = [line for line in lines if line.get("validation_force_mae") is not None]
    names = ("step", "seconds", *(f"validation_{name}" for name in COLUMNS.values()))
    return {name: [line[name] for line in lines] for name in names}


def _plots(out: Path, found: dict[str, Evaluation], split: Split, curve: dict[str, list[float]]) -> None:
    report.plot_curves(
        out / "learning_curve.png",
        {
            label: (curve["step"], MILLI * np.array(curve[f"validation_{name}"]))
            for label, name in COLUMNS.items()
        },
        xlabel="step",
        ylabel="mean absolute error on validation",
        title="Learning curve",
    )
    report.plot_curves(
        out / "loss.png", loss_curves(out, [STAGE]), xlabel="step", ylabel="loss", title="Training"
    )
    # the few above the many
    pairs = {role: (getattr(split, role), found[role]["predicted"]) for role in ("test", "validation")}
    report.plot_parity(
        out / "energies.png",
        {role: (MILLI * data.energy, MILLI * own["energy"]) for role, (data, own) in pairs.items()},
        label="energy without atoms (meV)",
        title="Energies",
    )
    report.plot_parity(
        out / "forces.png",
        {role: (MILLI * data.forces, MILLI * own["forces"]) for role, (data, own) in pairs.items()},
        label="force component (meV/Å)",
        title="Forces",
    )
