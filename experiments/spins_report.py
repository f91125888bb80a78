"""What `experiments.spins` leaves: table.md, results.json and the plots; seeds taken together."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy import stats

from experiments.finished_runs import read_runs
from experiments.stages import loss_curves
from jaxphys import report

COLUMNS = {
    "gap (J)": ("direct", "gap"),
    "gap (%)": ("direct", "relative_gap"),
    "solved (%)": ("direct", "solved"),
    "gap after descent (%)": ("descended", "relative_gap"),
    "solved after descent (%)": ("descended", "solved"),
    "time (ms)": ("milliseconds",),
}
"""By the head of a column, where its number stands in a row's result for one test set."""

CAPTION = """\
gap: mean energy above the exact ground state, in units of J, and over its size; solved: lattices whose
ground state was found; after descent: single spins flipped downhill until none gains; time: of one lattice,
in batches, without the reference that the model starts from, a minimum spanning tree on the host, and without
descent. The time of annealing by number of sweeps is the one to compare with.
"""
AGAINST = "cross-entropy"
UNPLOTTED = ("no-gauge", "label-limit", "shuffled", "shortest", "chance")
"""Rows that stand in the tables alone: their curves would lie on each other."""

Results = Mapping[str, Mapping[str, Any]]


def write_report(out: Path, results: Results, *, run_config: Mapping[str, Any], total: float) -> None:
    """Leave everything but the picture of a lattice in the run folder, and print the tables.

    results: by arm or baseline, a row each: "name", "sets" as of `evaluate`, and "seconds" of training.
    """
    text = "\n".join(_sections(results, run_config, total))
    (out / "table.md").write_text(text, encoding="utf-8")
    report.save_json(out / "results.json", {"config": run_config, "total": total, "results": results})
    _plots(out, results)
    print("\n" + text)


def combine(runs: Sequence[Path]) -> str:
    """Runs of several seeds in tables of mean ± standard deviation, and differences from cross-entropy.

    Raises ValueError for folders without results, of different arms or settings, or of one seed twice.
    """
    found = read_runs(runs, "spins")
    first = found[0]["results"]
    sets = list(next(iter(first.values()))["sets"])

    def cell(arm: str, name: str, path: tuple[str, ...]) -> str:
        return _spread([_value(one["results"][arm]["sets"][name], path) for one in found])

    parts = []
    for name in sets:
        rows = [
            [row["name"], *(cell(arm, name, path) for path in COLUMNS.values())] for arm, row in first.items()
        ]
        parts += [f"## {name}", report.format_table(rows, ["", *COLUMNS])]
    if AGAINST in first:
        head = (
            f"Gap below that of {AGAINST}, in % of it, over {len(runs)} seeds (p of a paired t-test of gaps):"
        )
        parts += [head, _differences(found, sets)]
    return "\n\n".join(parts) + "\n"


def _sections(results: Results, run_config: Mapping[str, Any], total: float) -> list[str]:
    device = f"{jax.device_count()} {jax.default_backend()} device(s)"
    sets = list(next(iter(results.values()))["sets"])
    sections = [
        "# Ground states of spin glasses\n",
        f"preset {run_config['preset']}, seed {run_config['seed']}, {run_config['lattices']['train']} "
        f"lattices of {run_config['lattices']['size']} to train on, {os.cpu_count()} CPU cores, {device}, "
        f"{total / 60:.1f} minutes\n",
        "## Gap in % of the ground state's energy, by test set\n",
        _table(results, sets, lambda found: [_value(found[name], COLUMNS["gap (%)"]) for name in sets]),
    ]
    for name in sets:
        columns = [*COLUMNS, "training (s)"]
        sections += [f"## {name}\n", _table(results, columns, lambda found, name=name: _row(found[name]))]
    return [*sections, CAPTION, _gain(results, sets)]


def _table(results: Results, columns: Sequence[str], values: Callable[..., list[Any]]) -> str:
    rows = []
    for row in results.values():
        cells = [report.format_number(value) for value in values(row["sets"])]
        seconds = [f"{row['seconds']:.0f}" if "seconds" in row else "–"]
        rows.append([row["name"], *cells, *(seconds if columns[-1] == "training (s)" else [])])
    return report.format_table(rows, ["", *columns]) + "\n"


def _row(found: Mapping[str, Any]) -> list[float]:
    return [_value(found, path) for path in COLUMNS.values()]


def _value(found: Mapping[str, Any], path: tuple[str, ...]) -> float:
    value: Any = found
    for key in path:
        value = value[key]
    return float("nan") if value is None else float(value)


def _gain(results: Results, sets: Sequence[str]) -> str:
    """How far below cross-entropy's the gaps of the energy losses are."""
    if AGAINST not in results:
        return ""
    parts = []
    for arm in ("margin", "local", "true"):
        if arm in results:
            gains = [f"{_gain_of(results, arm, name):.0f} % on {name}" for name in sets]
            parts.append(f"{results[arm]['name']}: {', '.join(gains)}")
    return f"Gap below that of {AGAINST}: {'; '.join(parts)}.\n"


def _gain_of(results: Results, arm: str, name: str) -> float:
    base, own = (_value(results[one]["sets"][name], COLUMNS["gap (J)"]) for one in (AGAINST, arm))
    return 100 * (1 - own / base) if base else float("nan")


def _spread(values: Sequence[float]) -> str:
    mean = report.format_number(np.mean(values))
    return f"{mean} ± {np.std(values, ddof=1):.2g}" if len(values) > 1 else mean


def _differences(found: Sequence[Mapping[str, Any]], sets: Sequence[str]) -> str:
    first, rows = found[0]["results"], []
    for arm, row in first.items():
        if arm == AGAINST or "seconds" not in row:
            continue
        cells = []
        for name in sets:
            base, own = (
                [_value(one["results"][which]["sets"][name], COLUMNS["gap (J)"]) for one in found]
                for which in (AGAINST, arm)
            )
            gain = _spread([100 * (1 - b / a) if a else float("nan") for a, b in zip(base, own, strict=True)])
            p = f" (p = {stats.ttest_rel(base, own).pvalue:.2g})" if len(found) > 1 else ""
            cells.append(gain + p)
        rows.append([row["name"], *cells])
    return report.format_table(rows, ["", *sets])


def _plots(out: Path, results: Results) -> None:
    by_size = {}
    for arm, row in results.items():
        if arm in UNPLOTTED:
            continue
        points = [
            (found["size"], _value(found, COLUMNS["gap (%)"]))
            for found in row["sets"].values()
            if "size" in found
        ]
        by_size[row["name"]] = ([size for size, _ in points], [gap for _, gap in points])
    report.plot_curves(
        out / "gap.png",
        by_size,
        xlabel="spins along a side of the lattice",
        ylabel="gap above the ground state (% of its energy)",
        title="Trained on small lattices, tested on larger ones",
    )
    trained = [arm for arm, row in results.items() if "seconds" in row]
    report.plot_curves(
        out / "loss.png",
        {results[arm]["name"]: curve for arm, curve in loss_curves(out, trained).items()},
        xlabel="step",
        ylabel="its own loss per spin",
        title="Training",
        log=False,
    )
