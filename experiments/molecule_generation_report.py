"""What `experiments.molecule_generation` leaves: table.md, results.json, plots; seeds taken together."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.consistency_evaluation import compare
from experiments.finished_runs import read_runs
from experiments.molecule_generation_presets import NAMES
from experiments.stages import loss_curves
from jaxphys import report

COLUMNS = {
    "stable molecules (%)": "molecule_stability",
    "stable atoms (%)": "atom_stability",
    "one piece (%)": "connected",
    "valid (%)": "valid",
    "unique (%)": "unique",
    "novel (%)": "novel",
    "PoseBusters (%)": "poses",
    "strain (kcal/mol)": "strain_median",
    "changed (%)": "changed",
    "R centres (%)": "right_share",
    "loss of mirror images": "mirror",
    "time (s)": "seconds",
    "molecules/min": "speed",
}
"""By the head of a column, the name of its number in the results."""

COMPARED = ("molecule_stability", "atom_stability", "valid", "strain_median")

CAPTION = """\
stable: bonds by distance alone, and as many as each element has, by EDM's tables; one piece: no fragments, by
RDKit's distances; valid: that, and RDKit finds bonds of a closed shell; unique and novel: of the valid ones,
by SMILES. PoseBusters: valid ones that pass all of its checks; strain: median height of valid ones above
their own minimum of GFN2-xTB; changed: those whose minimum has other bonds. R centres: of all centres of
valid molecules with a hand. Loss of mirror images: what the loss says where the prediction is the mirror
image of a molecule with such a centre. Time: of training.
"""

Results = Mapping[str, Mapping[str, Any]]


def write_report(out: Path, results: Results, *, run_config: Mapping[str, Any], total: float) -> None:
    """Leave everything in the run folder, and print the table.

    results: by arm, and "data", a row each, as of `evaluate`. total: seconds of the run.
    """
    text = "\n".join(["# Molecules from noise\n", _head(run_config, total), table(results), CAPTION])
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text(text, encoding="utf-8")
    report.save_json(
        out / "results.json", {"config": run_config, "names": NAMES, "total": total, "results": results}
    )
    _plots(out, results)
    print("\n" + text)


def table(results: Results) -> str:
    """One row an arm, in Markdown; columns of which no row has a number are left out."""
    shown = {
        head: key
        for head, key in COLUMNS.items()
        if any(_value(r, key) is not None for r in results.values())
    }
    rows = [
        [NAMES.get(arm, arm), *(_cell(_value(row, key)) for key in shown.values())]
        for arm, row in results.items()
    ]
    return report.format_table(rows, ["loss of positions", *shown]) + "\n"


def combine(runs: Sequence[Path], *, against: str = "mse") -> str:
    """Runs of several seeds in one table, mean ± standard deviation, and differences of arms from one.

    p is of a t-test paired by seed. Raises ValueError for folders without results, of different settings, or
    of one seed twice.
    """
    found = read_runs(runs, "molecule_generation")
    arms = list(found[0]["results"])
    values = {
        arm: {key: [_value(f["results"][arm], key) for f in found] for key in COLUMNS.values()}
        for arm in arms
    }
    shown = {head: key for head, key in COLUMNS.items() if any(None not in values[arm][key] for arm in arms)}
    rows = [[NAMES.get(arm, arm), *(_spread(values[arm][key]) for key in shown.values())] for arm in arms]
    parts = [report.format_table(rows, ["loss of positions", *shown])]
    if against in arms and len(runs) > 1:
        parts += [
            f"Difference from {NAMES.get(against, against)}, over {len(runs)} seeds (p of a paired t-test):"
        ]
        parts += [_differences(values, against)]
    return "\n\n".join(parts) + "\n"


def _head(run_config: Mapping[str, Any], total: float) -> str:
    settings = [f"{key} {run_config[key]}" for key in ("preset", "seed", "source") if key in run_config]
    settings += [f"{sum(run_config.get('sizes', {}).values())} molecules"]
    device = f"{jax.device_count()} {jax.default_backend()} device(s)"
    return ", ".join([*settings, f"{os.cpu_count()} CPU cores, {device}", f"{total / 60:.1f} minutes\n"])


def _value(row: Mapping[str, Any], key: str) -> float | None:
    """None where a row has no such number; infinities are null in a file, and so is what is not known."""
    if key not in row or row[key] is None:
        return float("inf") if key in row and key == "strain_median" else None
    value = float(row[key])
    return None if np.isnan(value) else value


def _cell(value: float | None) -> str:
    return "–" if value is None else report.format_number(value)


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "–"
    mean = report.format_number(np.mean(known))
    if len(known) < 2 or not np.isfinite(known).all():
        return mean
    return f"{mean} ± {np.std(known, ddof=1):.2g}"


def _differences(values: Mapping[str, Mapping[str, Any]], against: str) -> str:
    keys = [key for key in COMPARED if None not in values[against][key]]
    rows = []
    for arm in values:
        if arm in (against, "data"):
            continue
        cells = []
        for key in keys:
            first, second = ([{key: value} for value in values[name][key]] for name in (against, arm))
            test = compare(first, second, key)
            p = "" if np.isnan(test.p) else f" (p = {test.p:.2g})"
            cells.append(f"{test.difference:+.3g} ± {test.spread:.2g}{p}")
        rows.append([NAMES.get(arm, arm), *cells])
    heads = {key: head for head, key in COLUMNS.items()}
    return report.format_table(rows, ["loss of positions", *(heads[key] for key in keys)])


def _plots(out: Path, results: Results) -> None:
    strains = {
        NAMES.get(arm, arm): _distribution(row["strains"]) for arm, row in results.items() if "strains" in row
    }
    if strains:
        report.plot_curves(
            out / "strain.png",
            strains,
            xlabel="energy above the molecule's own GFN2-xTB minimum (kcal/mol)",
            ylabel="valid molecules below (%)",
            title="How strained molecules are",
            log=False,
            log_x=True,
        )
    trained = [arm for arm in results if (out / arm / "metrics.jsonl").is_file()]
    if trained:
        report.plot_curves(
            out / "loss.png",
            {NAMES.get(arm, arm): curve for arm, curve in loss_curves(out, trained).items()},
            xlabel="step",
            ylabel="its own loss",
            title="Training",
        )


def _distribution(strains: Any) -> tuple[np.ndarray, np.ndarray]:
    """Share in % at or below each finite strain that a logarithmic axis can show."""
    values = np.sort(np.asarray(strains, dtype=float))
    share = 100 * np.arange(1, len(values) + 1) / len(values)
    shown = np.isfinite(values) & (values >= 1e-3)
    return values[shown], share[shown]
