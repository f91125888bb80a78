"""What `experiments.stability` leaves: table.md, results.json and the plots."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.stability_evaluation import Ensemble, profile
from experiments.stability_presets import KT
from experiments.stability_reference import KT_IN_KCAL
from experiments.stages import loss_curves
from jaxphys import report

ERRORS = {
    "ΔΔG MAE": ("ddg", "mae"),
    "ΔΔG Spearman": ("ddg", "spearman"),
    "ΔG MAE": ("dg", "mae"),
    "ΔG Spearman": ("dg", "spearman"),
}
DRIFTS = {
    "native fraction": "fraction",
    "R_g (Å)": "gyration",
    "end to end (Å)": "ends",
    "bond (Å)": "bond",
    "bond's width (Å)": "bond_width",
    "contacts when folded": "folded",
    "variance of foldedness": "variance",
}
EDGES = np.linspace(0, 1, 21)

CAPTION = """\
Errors in kcal/mol, of mutants that were held out, with 95 % intervals over these; ΔΔG = ΔG − ΔG of the wild
type; slope: of the predicted ΔΔG over the exact ones, 1 at best. Intervals do not know of the noise of the
samples themselves. Rank correlation is blind to the slope: of next to nothing it may be perfect.
"""
DRIFT_CAPTION = """\
Mean distance from the exact ensembles: Wasserstein distance of the native fraction; absolute differences of
the means of R_g, end to end distance and bond length, and of the bond's standard deviation; of the parts of
contacts formed within the folded basin; and the variance of foldedness over the exact one, 1 at best. The
tilted wild type, p exp(λ f)/Z, is the least change that has the label. The last line is how far the exact
ensembles of the two runs are apart.
"""


def write_report(
    out: Path,
    results: Mapping[str, Any],
    sampled: Mapping[str, list[Ensemble]],
    exact: list[Ensemble],
    *,
    run_config: Mapping[str, Any],
    total: float,
) -> None:
    """Everything, and prints the tables.

    sampled: by arm, of the test's systems; exact: of the first of them.
    """
    text = "\n".join(_sections(results, run_config, total))
    (out / "table.md").write_text(text, encoding="utf-8")
    report.save_json(out / "results.json", {"config": run_config, "total": total, "results": results})
    _parity(out / "parity.png", results)
    _profiles(out, results, sampled, exact)
    report.plot_curves(
        out / "loss.png",
        {
            results["arms"][arm]["name"]: curve
            for arm, curve in loss_curves(out, list(results["arms"])[1:], key="square").items()
        },
        xlabel="step",
        ylabel="(mean foldedness of the replicas − label)²",
        title="Fine-tuning",
    )
    print("\n" + text)


def _sections(results: Mapping[str, Any], run_config: Mapping[str, Any], total: float) -> list[str]:
    device = f"{jax.device_count()} {jax.default_backend()} device(s)"
    facts, apart = results["reference"], results["agreement"]
    return [
        "# Folding free energies of a Gō protein's mutants\n",
        f"preset {run_config['preset']}, seed {run_config['seed']}, villin headpiece, 35 beads, kT = "
        f"{KT_IN_KCAL:.3f} kcal/mol ({KT:.4f} eV), {run_config['settings']['train']} mutants to train on, "
        f"{len(results['exact']) - 1} to test, {os.cpu_count()} CPU cores, {device}, "
        f"{total / 60:.1f} minutes\n",
        f"Exact: {facts['samples']} samples, wild type ΔG = {results['exact'][0]:.2f} kcal/mol; two runs, "
        f"folded and unfolded starts, differ by {apart['dg']:.3f} in ΔG and {apart['ddg']:.3f} in ΔΔG on "
        f"average; effective samples of a label {results['effective']['least']:.0f} at least, "
        f"{results['effective']['median']:.0f} in the median{_virial(facts)}.\n",
        "## Free energies\n",
        _errors(results),
        CAPTION,
        "## Everything else, of the wild type\n",
        _drifts(results, " of the wild type"),
        "## Everything else, of held-out mutants\n",
        _drifts(results, ""),
        DRIFT_CAPTION,
    ]


def _virial(facts: Mapping[str, Any]) -> str:
    if "virial" not in facts:
        return ""
    found = " and ".join(f"{value:.1f} ± {error:.1f}" for value, error in facts["virial"])
    return (
        f"; virial {found}, {facts['degrees of freedom']} expected; R̂ of the native fraction "
        f"{facts['rhat']:.3f}"
    )


def _errors(results: Mapping[str, Any]) -> str:
    rows = []
    for row in [*results["arms"].values(), *({"name": k} | v for k, v in results["baselines"].items())]:
        cells = [_interval(row[part][score]) for part, score in ERRORS.values()]
        spent = f"{row['seconds']:.0f}" if "seconds" in row else "–"
        slope, wild = f"{row['slope']:.2f}", f"{row['wild']:.2f}"
        rows.append([row["name"], *cells, slope, wild, spent])
    return report.format_table(rows, ["", *ERRORS, "ΔΔG slope", "wild type ΔG", "training (s)"]) + "\n"


def _interval(found: list[float]) -> str:
    value, low, high = (f"{part:.2f}" if np.isfinite(part) else "–" for part in found)
    return f"{value} ({low} to {high})" if value != "–" else "–"


def _drifts(results: Mapping[str, Any], which: str) -> str:
    named = {row["name"]: row[f"drift{which}"] for row in results["arms"].values()}
    if not which:
        named["yardstick: tilted wild type"] = results["tilted"]
    named["floor: one run and the other"] = results[f"floor{which}"]
    rows = [[name, *(f"{found[key]:.3f}" for key in DRIFTS.values())] for name, found in named.items()]
    return report.format_table(rows, ["", *DRIFTS]) + "\n"


SHORT = {"pretrained": "before", "pairs": "fine-tuned", "shuffled": "others' labels"}
"""Arms in the plot of parity, whose legend has little room."""


def _parity(path: Path, results: Mapping[str, Any]) -> None:
    shown = {
        name: (results["exact"], results["arms"][arm]["predicted"])
        for arm, name in SHORT.items()
        if arm in results["arms"]
    }
    report.plot_parity(path, shown, label="ΔG (kcal/mol)", title="Held-out mutants")


def _profiles(
    out: Path,
    results: Mapping[str, Any],
    sampled: Mapping[str, list[Ensemble]],
    exact: list[Ensemble],
) -> None:
    """Of the wild type, and of the least and the most stable of the mutants that are compared."""
    values = np.array(results["exact"][: len(exact)])
    chosen = {"wild type": 0, "least stable": int(np.argmax(values)), "most stable": int(np.argmin(values))}
    middle = (EDGES[1:] + EDGES[:-1]) / 2
    for name, place in chosen.items():
        curves = {"exact": (middle, profile(exact[place], EDGES))}
        for arm in [arm for arm in ("pretrained", "pairs", "square") if arm in sampled]:
            curves[results["arms"][arm]["name"]] = (middle, profile(sampled[arm][place], EDGES))
        report.plot_curves(
            out / f"profile-{name.replace(' ', '-')}.png",
            curves,
            xlabel="fraction of native contacts",
            ylabel="free energy (kcal/mol)",
            title=f"{name[0].upper()}{name[1:]}, ΔG = {values[place]:.2f} kcal/mol",
            log=False,
        )
