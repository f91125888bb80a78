"""What `experiments.debiasing` leaves: table.md, results.json, energies.png and surfaces.png."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.debiasing_systems import REGIMES, Ensemble, System
from experiments.stages import loss_curves
from jaxphys import report

FLOOR = "noise floor"
PICTURED = 6
"""At most so many surfaces in a picture."""

CAPTION = """\
E-W2, E-W1: Wasserstein distances of the energies from those of the reference, in {unit}. {notes}virial: mean
of R·∇E over kT and the degrees of freedom, 1 in equilibrium. lost: samples without a finite energy, left out.
calls: of energy and force in all, to make the samples or the labels that a network learned from; the biased
samples themselves are given, and a network's own samples take none. ESS: effective part of the samples before
resampling by weight. The last line is what two independent sets of the reference have.
"""

Results = Mapping[str, Mapping[str, Any]]


def write_report(
    out: Path,
    system: System,
    results: Mapping[str, Results],
    made: Mapping[str, Mapping[str, Ensemble]],
    reference: Ensemble,
    *,
    run_config: Mapping[str, Any],
    total: float,
) -> None:
    """Everything, and prints the tables.

    results: by regime and row, "name" and what `judge` found, or what it cost; made: the samples of the rows
    that are drawn.
    """
    text = "\n".join(_sections(system, results, run_config, total))
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text(text, encoding="utf-8")
    report.save_json(out / "results.json", {"config": run_config, "total": total, "results": results})
    for regime, rows in made.items():
        _plots(out, system, regime, {results[regime][row]["name"]: e for row, e in rows.items()}, reference)
    stages = [path.parent.name for path in sorted(out.glob("*/metrics.jsonl"))]
    report.plot_curves(
        out / "loss.png",
        loss_curves(out, stages),
        xlabel="step",
        ylabel="loss",
        title="Training, each arm by its own labels",
    )
    print("\n" + text)


def _sections(
    system: System, results: Mapping[str, Results], run_config: Mapping[str, Any], total: float
) -> list[str]:
    device = f"{jax.device_count()} {jax.default_backend()} device(s)"
    notes = " ".join(f"{name}: {text}." for name, text in system.notes.items())
    sections = [
        f"# Debiasing: {system.title}\n",
        f"preset {run_config['preset']}, seed {run_config['seed']}, kT = {system.kt:.4g} {system.unit}, "
        f"{run_config['train']} biased samples, {run_config['samples']} made of each, {os.cpu_count()} CPU "
        f"cores, {device}, {total / 60:.1f} minutes\n",
    ]
    for regime, rows in results.items():
        title = REGIMES[regime]
        sections += [f"## {title[0].upper()}{title[1:]}\n", _table(system, rows) + "\n"]
    return [*sections, CAPTION.format(unit=system.unit, notes=notes + " " if notes else "")]


def _table(system: System, rows: Results) -> str:
    basin = ["ΔF"] if system.basin is not None else []
    header = ["samples", *system.columns, *basin, "virial", "lost (%)", "ESS (%)", "calls", "training (s)"]
    lines = [_line(system, row, bool(basin)) for row in rows.values()]
    first = next(iter(rows.values()))
    floors = [
        _with_deviation(first[name]["floor"], first[name]["floor_deviation"]) for name in system.columns
    ]
    exact = [_exact(system)] if basin else []
    lines.append([FLOOR, *floors, *exact, "1", "0", "–", "–", "–"])
    return report.format_table(lines, header)


def _line(system: System, row: Mapping[str, Any], basin: bool) -> list[str]:
    values = [_with_deviation(row[name]["value"], row[name]["value_deviation"]) for name in system.columns]
    free = [_interval(row["ΔF"])] if basin else []
    ess = f"{100 * row['ess']:.3g}" if "ess" in row else "–"
    seconds = f"{row['seconds']:.0f}" if "seconds" in row else "–"
    calls = _count(row["calls"]) if "calls" in row else "–"
    lost = report.format_number(row["lost"])
    return [row["name"], *values, *free, f"{row['virial']:.3f}", lost, ess, calls, seconds]


def _exact(system: System) -> str:
    return "–" if system.exact_free_energy is None else f"exact {system.exact_free_energy:.3g}"


def _with_deviation(value: float, deviation: float) -> str:
    return f"{report.format_number(value)} ± {deviation:.1g}"


def _interval(found: Mapping[str, Any]) -> str:
    return f"{found['value']:.3g} ({found['low']:.3g} to {found['high']:.3g})"


def _count(calls: int) -> str:
    return f"{calls:,}"


def _plots(out: Path, system: System, regime: str, made: Mapping[str, Ensemble], reference: Ensemble) -> None:
    low, high = np.quantile(reference.energies, [0.0005, 0.9995])
    low, high = low - 0.3 * (high - low), high + 1.2 * (high - low)
    edges = np.linspace(low, high, 81)
    shown = {"reference": reference, **made}
    report.plot_curves(
        out / f"energies-{regime}.png",
        {
            name: (
                (edges[1:] + edges[:-1]) / 2,
                np.histogram(e.energies, edges)[0] / len(e.energies) / np.diff(edges),
            )
            for name, e in shown.items()
        },
        xlabel=f"energy ({system.unit})",
        ylabel="probability density",
        title=f"{system.title}, {regime}",
        log=False,
    )
    if system.surface is None or system.surface_edges is None:
        return
    surfaces = {}
    for name, e in list(shown.items())[:PICTURED]:
        points = system.surface(e.positions)
        counts = np.histogram2d(points[:, 0], points[:, 1], system.surface_edges)[0]
        with np.errstate(divide="ignore"):
            free = -system.kt * np.log(counts / counts.sum())
        surfaces[name] = free - free[np.isfinite(free)].min()
    report.plot_surfaces(
        out / f"surfaces-{regime}.png",
        surfaces,
        system.surface_edges,
        xlabel=system.surface_labels[0],
        ylabel=system.surface_labels[1],
        unit=f"free energy ({system.unit})",
        highest=8 * system.kt,
    )
