"""Evaluation of `experiments.hamiltonian` against converged DFT: the table, the plots, results.json."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.hamiltonian_data import EVALUATION_BATCH, Examples
from experiments.hamiltonian_training import predict
from experiments.stages import loss_curves, map_batches
from jaxphys import dft, report
from jaxphys.data import Method
from jaxphys.metrics import hamiltonian_metrics, scf_cycles
from jaxphys.models import HamiltonianConfig
from jaxphys.molecule import Molecule
from jaxphys.units import HARTREE_IN_EV, HARTREE_IN_KCAL_PER_MOL

MICRO = 1e6
COLUMNS = {  # heading: metric and factor from atomic units
    "H (µEh)": ("h_mae", MICRO),
    "ε occ (µEh)": ("orbital_energy_mae", MICRO),
    "C (%)": ("orbital_similarity", 100.0),
    "HOMO (µEh)": ("homo", MICRO),
    "LUMO (µEh)": ("lumo", MICRO),
    "gap (µEh)": ("gap", MICRO),
    "E (kcal/mol)": ("energy_error", HARTREE_IN_KCAL_PER_MOL),
    "SCF cycles": ("scf_cycles", 1.0),
}
SETTINGS = {
    "zero-shot": "zero-shot",
    "control": "control: labels only",
    "residual": "self-consistency",
    "variational": "variational",
}
Results = dict[str, dict[str, Any]]


def evaluate(
    config: HamiltonianConfig,
    params: dict[str, Any],
    examples: Examples,
    molecules: list[Molecule],
    method: Method,
) -> Results:
    """Metrics of each set of parameters: {setting: {metric: one value a molecule}}, levels, one error."""

    def one(params: Any, example: Examples) -> tuple[dict[str, Any], Any, Any]:
        fock = predict(config, params, example)
        energies, _ = dft.orbitals(example.system, fock)
        return hamiltonian_metrics(example.system, fock, example.solution), energies, fock

    solve = jax.jit(jax.vmap(one, in_axes=(None, 0)))
    firsts = _first_of_each(molecules)
    labels = {name: _own(examples, index, examples.solution.fock) for name, index in firsts.items()}
    results: Results = {
        "names": {"molecules": [molecule.name for molecule in molecules]},
        "reference": {
            "orbital_energies": _valence_levels(examples.solution.orbital_energies, examples.system),
            "scf_cycles": {name: _cycles(molecules[index], None, method) for name, index in firsts.items()},
        },
    }
    for setting, value in params.items():
        metrics, energies, focks = map_batches(partial(solve, value), examples, EVALUATION_BATCH)
        shown = {name: _own(examples, index, focks) for name, index in firsts.items()}
        last = list(firsts)[-1]
        results[setting] = {
            **{name: np.asarray(values) for name, values in metrics.items()},
            "scf_cycles": {
                name: _cycles(molecules[firsts[name]], fock, method) for name, fock in shown.items()
            },
            "predicted": _valence_levels(energies, examples.system),
            "error_matrix": np.abs(shown[last] - labels[last]),
        }
    return results


def _own(examples: Examples, index: int, matrices: Any) -> np.ndarray:
    """One example's matrix without padding."""
    n = int(np.sum(np.diagonal(examples.system.overlap[index]) > 0))
    return np.asarray(matrices[index])[:n, :n]


def _first_of_each(molecules: list[Molecule]) -> dict[str, int]:
    firsts: dict[str, int] = {}
    for index, molecule in enumerate(molecules):
        firsts.setdefault(molecule.name, index)
    return firsts


def _cycles(molecule: Molecule, fock: np.ndarray | None, method: Method) -> int:
    return scf_cycles(
        molecule,
        fock,
        basis=method.basis,
        xc=method.xc,
        auxbasis=method.auxbasis,
        grid_level=method.grid_level,
    )


def _valence_levels(energies: Any, system: dft.KohnSham) -> list[np.ndarray]:
    """Energies of the valence orbitals and the LUMO, in eV, an array a molecule.

    The core levels, hundreds of eV below, would hide the others in a plot.
    """
    counts = np.sum(np.asarray(system.occupation) > 0, axis=-1)
    cores = np.sum(np.asarray(system.numbers) > 2, axis=-1)  # a 1s level for each atom of the second row
    return [np.asarray(e)[c : n + 1] * HARTREE_IN_EV for e, c, n in zip(energies, cores, counts, strict=True)]


def write_report(
    out: Path,
    results: dict[str, Results],
    *,
    run_config: dict[str, Any],
    seconds: dict[str, float],
    total: float,
) -> None:
    """Leave table.md, results.json and the plots in the run folder, and print the table."""
    conditions = (
        f"preset {run_config['preset']}, seed {run_config['seed']}, {os.cpu_count()} CPU cores, "
        f"{jax.device_count()} {jax.default_backend()} device(s), {total / 60:.1f} minutes this time"
    )
    text = [f"# Hamiltonian prediction without labels\n\n{conditions}\n"]
    titles = {
        "test": "Molecules it saw without labels, new geometries",
        "larger": "Larger molecules it never saw",
    }
    for role, found in results.items():
        text.append(f"## {titles[role]}\n\n{_table(found, seconds)}\n")
    text.append(
        "Mean absolute errors against converged DFT; C is the similarity of occupied orbitals, E the energy\n"
    )
    text.append(
        "of the predicted density above the ground state; SCF cycles: what PySCF needs from the prediction.\n"
    )
    page = "\n".join(text)
    (out / "table.md").write_text(page)
    print("\n" + page)
    report.save_json(out / "results.json", _summary(results, run_config, seconds))
    _plots(out, results["test"])
    print(f"table, plots, checkpoints: {out}")


def _settings(found: Results) -> list[str]:
    return [setting for setting in SETTINGS if setting in found]


def _table(found: Results, seconds: dict[str, float]) -> str:
    names = list(dict.fromkeys(found["names"]["molecules"]))
    rows = []
    for name in [*names, *(["mean"] if len(names) > 1 else [])]:
        for setting in _settings(found):
            values = [_mean(found, setting, metric, name) * factor for metric, factor in COLUMNS.values()]
            cells = map(report.format_number, values)
            rows.append([name, SETTINGS[setting], *cells, f"{seconds[setting]:.0f}"])
    for setting in _settings(found)[1:]:
        gains = [_gain(found, setting, metric) for metric, _ in COLUMNS.values()]
        rows.append(["gain", SETTINGS[setting], *gains, ""])
    return report.format_table(rows, ["molecule", "setting", *COLUMNS, "seconds"])


def _gain(found: Results, setting: str, metric: str) -> str:
    """How many times lower the mean error is than zero-shot; empty for what is no error of one size."""
    if metric in ("orbital_similarity", "scf_cycles", "energy_error"):
        return ""
    ratio = _mean(found, "zero-shot", metric, "mean") / _mean(found, setting, metric, "mean")
    return f"{report.format_number(ratio)}×"


def _mean(found: Results, setting: str, metric: str, name: str) -> float:
    """Mean over the geometries of one molecule; for "mean", the mean of the molecules' means."""
    molecules = np.array(found["names"]["molecules"])
    chosen = list(dict.fromkeys(molecules)) if name == "mean" else [name]
    values = found[setting][metric]
    if isinstance(values, dict):
        return float(np.mean([values[m] for m in chosen]))
    return float(np.mean([np.mean(values[molecules == m]) for m in chosen]))


def _summary(
    results: dict[str, Results], run_config: dict[str, Any], seconds: dict[str, float]
) -> dict[str, Any]:
    """Means of every metric in atomic units, a setting and molecule."""
    summary: dict[str, Any] = {"config": run_config, "seconds": seconds}
    for role, found in results.items():
        names = [*dict.fromkeys(found["names"]["molecules"]), "mean"]
        metrics = [m for m, v in found["zero-shot"].items() if m not in ("predicted", "error_matrix")]
        summary[role] = {
            setting: {name: {m: _mean(found, setting, m, name) for m in metrics} for name in names}
            for setting in _settings(found)
        }
        summary[role]["scf_cycles from minao"] = found["reference"]["scf_cycles"]
    return summary


def _plots(out: Path, found: Results) -> None:
    last = found["names"]["molecules"][-1]
    report.plot_matrices(
        out / "matrix_error.png",
        {SETTINGS[s]: found[s]["error_matrix"] for s in _settings(found)},
        unit=f"|Ĥ − H| of {last} (Eh)",
    )
    reference = np.concatenate(found["reference"]["orbital_energies"])
    report.plot_parity(
        out / "orbital_energies.png",
        {SETTINGS[s]: (reference, np.concatenate(found[s]["predicted"])) for s in _settings(found)},
        label="valence and LUMO energy (eV)",
        title="Predicted against converged DFT",
    )
    curves = loss_curves(out, ["labels", "control", "residual", "variational"])
    report.plot_curves(
        out / "loss.png", curves, xlabel="step", ylabel="loss of its own law", title="Training"
    )
