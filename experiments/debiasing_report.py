"""What `experiments.debiasing` leaves: table.md, results.json, energies.png and surfaces.png."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.debiasing_evaluation import free_energy
from experiments.debiasing_systems import REGIMES, Ensemble, System
from experiments.stages import loss_curves
from jaxphys import report

FLOOR = "noise floor"
PICTURED = ("biased", "denoising", "potential", "dynamics", "annealed", "blend-weighted")
"""The rows that are drawn, as far as there are; of surfaces the first five."""

CAPTION = """\
E-W2, E-W1: Wasserstein distances of the energies from those of the reference, in {unit}. {notes}virial: mean
of R·∇E over kT and the degrees of freedom, 1 in equilibrium. lost: samples without a finite energy, left out.
ESS: effective part of the samples before resampling by weight; ancestors: walkers at the start that annealed
ones descend from. calls: of energy and force in all, to make the samples or the labels that a network learned
from; the biased samples and the reference are given, and a network's own samples take none. ±: standard
deviation over five draws of samples and of the reference, as far as there are more than are drawn. Brackets:
95 % interval, by groups of samples that are correlated: of one walker, of one ancestor, or the same sample.
The last line is what two independent sets of the reference have.
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
    text = "\n".join(_sections(system, results, reference, run_config, total))
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text(text, encoding="utf-8")
    print("\n" + text)
    report.save_json(out / "results.json", {"config": run_config, "total": total, "results": results})
    for regime, rows in made.items():
        shown = {results[regime][row]["name"]: rows[row] for row in PICTURED if row in rows}
        _plots(out, system, regime, shown, reference)
    stages = [path.parent.name for path in sorted(out.glob("*/metrics.jsonl"))]
    report.plot_curves(
        out / "loss.png",
        loss_curves(out, stages),
        xlabel="step",
        ylabel="loss",
        title="Training, each arm by its own labels",
    )


def _sections(
    system: System,
    results: Mapping[str, Results],
    reference: Ensemble,
    run_config: Mapping[str, Any],
    total: float,
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
        sections += [f"## {title[0].upper()}{title[1:]}\n", _table(system, rows, reference) + "\n"]
    return [*sections, CAPTION.format(unit=system.unit, notes=notes + " " if notes else "")]


def _table(system: System, rows: Results, reference: Ensemble) -> str:
    name, value = system.free_energy_unit or (system.unit, 1.0)
    basin = [f"ΔF ({name})"] if system.basin is not None else []
    header = [
        "samples",
        *system.columns,
        *basin,
        "virial",
        "lost (%)",
        "ESS (%)",
        "ancestors",
        "calls",
        "training (s)",
    ]
    lines = [_line(system, row, value) for row in rows.values()]
    first = next(iter(rows.values()))
    floors = [
        _with_deviation(first[name]["floor"], first[name]["floor_deviation"]) for name in system.columns
    ]
    exact = [_exact(system, reference, value)] if basin else []
    lines.append([FLOOR, *floors, *exact, "1", "0", "–", "–", "–", "–"])
    return report.format_table(lines, header)


def _line(system: System, row: Mapping[str, Any], unit: float) -> list[str]:
    values = [_with_deviation(row[name]["value"], row[name]["value_deviation"]) for name in system.columns]
    free = [_interval(row["ΔF"], unit)] if system.basin is not None else []
    ess = f"{100 * row['ess']:.3g}" if "ess" in row else "–"
    seconds = f"{row['seconds']:.0f}" if "seconds" in row else "–"
    calls = f"{row['calls']:,}" if "calls" in row else "–"
    ancestors = str(row.get("ancestors", "–"))
    lost = report.format_number(row["lost"])
    return [row["name"], *values, *free, f"{row['virial']:.3f}", lost, ess, ancestors, calls, seconds]


def _exact(system: System, reference: Ensemble, unit: float) -> str:
    """The free energy by quadrature, or that of the reference."""
    if system.exact_free_energy is not None:
        return f"exact {system.exact_free_energy / unit:.3g}"
    return _interval(free_energy(system, reference), unit)


def _with_deviation(value: float, deviation: float) -> str:
    return f"{report.format_number(value)} ± {deviation:.1g}"


def _interval(found: Mapping[str, Any], unit: float) -> str:
    value, low, high = (found[name] / unit for name in ("value", "low", "high"))
    return f"{value:.3g} ({low:.3g} to {high:.3g})"


def _plots(out: Path, system: System, regime: str, made: Mapping[str, Ensemble], reference: Ensemble) -> None:
    low, high = np.quantile(reference.energies, [0.0005, 0.9995])
    low, high = low - 0.2 * (high - low), high + 0.8 * (high - low)
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
    for name, e in list(shown.items())[:6]:
        points = system.surface(e.positions)
        counts = np.histogram2d(points[:, 0], points[:, 1], system.surface_edges)[0]
        with np.errstate(divide="ignore"):
            # from the fullest cell; without any sample on the surface nothing is drawn
            surfaces[name] = -system.kt * np.log(counts / max(counts.max(), 1))
    report.plot_surfaces(
        out / f"surfaces-{regime}.png",
        surfaces,
        system.surface_edges,
        xlabel=system.surface_labels[0],
        ylabel=system.surface_labels[1],
        unit=f"free energy ({system.unit})",
        highest=7 * system.kt,
    )
