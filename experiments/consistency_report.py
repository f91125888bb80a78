"""What `experiments.consistency` leaves: table.md, results.json and the plots; seeds taken together."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from experiments.consistency_evaluation import Comparison, compare
from experiments.finished_runs import read_runs
from experiments.stages import loss_curves
from jaxphys import report

COLUMNS = {
    "ΔE median": ("summary", "energy_median"),
    "ΔE mean": ("summary", "energy_mean"),
    "RMSD (Å)": ("summary", "rmsd_median"),
    "bonds (Å)": ("summary", "bond_mean"),
    "angles (°)": ("summary", "angle_mean"),
    "COV-P (%)": ("conformers", "coverage_precision"),
    "COV-R (%)": ("conformers", "coverage_recall"),
    "AMR-P (Å)": ("conformers", "amr_precision"),
    "AMR-R (Å)": ("conformers", "amr_recall"),
    "stereo right (%)": ("summary", "stereo_right"),
    "broken (%)": ("summary", "unsound"),
    "E (meV)": ("energy_mae",),
    "time (s)": ("seconds",),
}
"""By the head of a column, where its number stands in an arm's results."""

COMPARED = {
    "ΔE median": "energy_median",
    "RMSD median": "rmsd_median",
    "bonds": "bond_mean",
    "angles": "angle_mean",
}

OF_SEED = ("seed", "minima")
"""What may differ in runs that are combined: molecules held out have other numbers of minima than others."""

Results = Mapping[str, Mapping[str, Any]]
Curves = Mapping[str, tuple[ArrayLike, ArrayLike]]

CAPTION = """\
ΔE, in kcal/mol: energy of a sample above the minimum of {level} that it falls to; RMSD: its distance
from there, all atoms, the median; bonds, angles: mean absolute differences from there. COV and AMR: samples
against the distinct minima of each molecule, of heavy atoms and with δ = 0.5 Å, precision and recall. stereo
right: all that the SMILES specifies; broken: bonds other than the graph's, or no minimum found: medians count
these samples as infinite, means leave them out. E: mean absolute error of the model's energies; time: of
training.
"""


def write_report(
    out: Path,
    results: Results,
    *,
    run_config: Mapping[str, Any],
    total: float,
    names: Mapping[str, str] | None = None,
    sweeps: Mapping[str, Curves] | None = None,
) -> None:
    """Leave everything in the run folder, and print the table.

    results: by arm or baseline, a row each: "summary" as of `summarise`, "conformers" as of
    `conformer_scores`, "energies", (s,) in kcal/mol, as of `Judged`; and, where there are such, "energy_mae"
    in meV and "seconds" of training. total: seconds of the run. names: of arms in tables and plots.
    sweeps: by the label of the x axis, for example "calls of the network", curves of the median ΔE in
    kcal/mol by arm.
    """
    names, level = names or {}, run_config.get("level", "GFN2-xTB")
    caption = CAPTION.format(level=level)
    text = "\n".join(
        ["# Structures better than their labels\n", _head(run_config, total), table(results, names), caption]
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text(text, encoding="utf-8")
    report.save_json(
        out / "results.json",
        {"config": run_config, "names": names, "total": total, "results": results, "sweeps": sweeps or {}},
    )
    _plots(out, results, names, sweeps or {}, level)
    print("\n" + text)


def table(results: Results, names: Mapping[str, str]) -> str:
    """One row an arm, in Markdown; columns of which no row has a number are left out."""
    values = {arm: [_value(row, path) for path in COLUMNS.values()] for arm, row in results.items()}
    shown = [i for i in range(len(COLUMNS)) if any(row[i] is not None for row in values.values())]
    rows = [[names.get(arm, arm), *(_cell(row[i]) for i in shown)] for arm, row in values.items()]
    return report.format_table(rows, ["model", *(list(COLUMNS)[i] for i in shown)]) + "\n"


def combine(runs: Sequence[Path], *, against: str | None = None) -> str:
    """Runs of several seeds in one table, mean ± standard deviation for each arm, in Markdown.

    runs: run folders, one a seed. against: an arm; a second table then gives the difference of each other
    trained arm from it, with p of a t-test paired by seed. Raises ValueError for folders without results,
    of different arms or settings, or of one seed twice.
    """
    found = read_runs(runs, "consistency", of_seed=OF_SEED)
    arms, names = list(found[0]["results"]), found[0]["names"]
    if against is not None and against not in arms:
        raise ValueError(f"the runs have the arms {', '.join(arms)}, not {against}")
    rows, paths = [], COLUMNS.values()
    values = {arm: [[_value(f["results"][arm], path) for f in found] for path in paths] for arm in arms}
    shown = [i for i in range(len(COLUMNS)) if any(None not in row[i] for row in values.values())]
    for arm, row in values.items():
        rows.append([names.get(arm, arm), *(_mean_and_spread(row[i]) for i in shown)])
    parts = [report.format_table(rows, ["model", *(list(COLUMNS)[i] for i in shown)])]
    if against is not None:
        base = names.get(against, against)
        parts += [f"Difference from {base}, over {len(runs)} seeds (p of a paired t-test):"]
        parts += [_differences(found, names, against)]
    return "\n\n".join(parts) + "\n"


def _head(run_config: Mapping[str, Any], total: float) -> str:
    settings = [f"{key} {run_config[key]}" for key in ("preset", "seed") if key in run_config]
    molecules = run_config.get("molecules", {})
    settings += [f"{count} molecules of {role}" for role, count in molecules.items()]
    device = f"{jax.device_count()} {jax.default_backend()} device(s)"
    return ", ".join([*settings, f"{os.cpu_count()} CPU cores, {device}", f"{total / 60:.1f} minutes\n"])


def _value(row: Mapping[str, Any], path: tuple[str, ...]) -> float | None:
    """None where a row has no such number; infinities are null in a file."""
    value: Any = row
    for key in path:
        if key not in value:
            return None
        value = value[key]
    if value is None:
        return float("inf") if path[-1].endswith(("median", "p90")) else float("nan")
    return float(value)


def _cell(value: float | None) -> str:
    return "–" if value is None else report.format_number(value)


def _mean_and_spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "–"
    mean = report.format_number(np.mean(known))
    if len(known) < 2 or not np.isfinite(known).all():
        return mean
    return f"{mean} ± {np.std(known, ddof=1):.2g}"


def _differences(found: Sequence[Mapping[str, Any]], names: Mapping[str, str], against: str) -> str:
    rows = []
    for arm, row in found[0]["results"].items():
        if arm == against or "seconds" not in row:
            continue
        cells = []
        for metric in COMPARED.values():
            first, second = (
                [{metric: _value(f["results"][name], ("summary", metric))} for f in found]
                for name in (against, arm)
            )
            test = compare(first, second, metric)  # type: ignore[arg-type]  # every summary has it
            cells.append(_difference(test))
        rows.append([names.get(arm, arm), *cells])
    return report.format_table(rows, ["model", *COMPARED])


def _difference(test: Comparison) -> str:
    """As much of it as is known."""
    if np.isnan(test.difference):
        return "–"
    spread = "" if np.isnan(test.spread) else f" ± {test.spread:.2g}"
    p = "" if np.isnan(test.p) else f" (p = {test.p:.2g})"
    return f"{test.difference:+.3g}{spread}{p}"


def _plots(
    out: Path, results: Results, names: Mapping[str, str], sweeps: Mapping[str, Curves], level: str
) -> None:
    report.plot_boxes(
        out / "energies.png",
        {names.get(arm, arm): row["energies"] for arm, row in results.items()},
        xlabel=f"energy above the {level} minimum (kcal/mol):\nmedian, quartiles, 5 and 95 %",
        title="How far samples are from their minima",
        log=True,
    )
    trained = [arm for arm in results if (out / arm / "metrics.jsonl").is_file()]
    if trained:
        # the laws' own values have no common zero
        report.plot_curves(
            out / "loss.png",
            {names.get(arm, arm): loss_curves(out, [arm], key="structure")[arm] for arm in trained},
            xlabel="step",
            ylabel="denoising loss, at the noise of the arm's laws",
            title="Training",
        )
    for label, curves in sweeps.items():
        report.plot_curves(
            out / f"{re.sub(r'[^a-z0-9]+', '-', label.lower()).strip('-')}.png",
            {names.get(arm, arm): curve for arm, curve in curves.items()},
            xlabel=label,
            ylabel="median energy above the minimum (kcal/mol)",
            title="Quality of samples",
        )
