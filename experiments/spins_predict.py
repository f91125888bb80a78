"""A trained model of `experiments.spins` at work: spins of low energy for a file of couplings."""

from __future__ import annotations

import argparse
import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.spins_data import Gauge
from experiments.spins_presets import ARMS
from experiments.spins_training import model_config
from jaxphys import report
from jaxphys.data import (
    SpinGlass,
    as_lattice,
    ground_states,
    lattice_reference,
    read_couplings,
    spin_graph,
)
from jaxphys.energies import ising
from jaxphys.models import SpinConfig, SpinModel
from jaxphys.relaxation import relax_spins
from jaxphys.training import load_params

RUN = Path("runs/spins-quick-0")
EXACT = 16  # the width of lattices that are solved exactly in a second


def add_parser(commands: Any) -> None:
    """The command `predict` beside the others; its options are what `predict` takes."""
    parser = commands.add_parser(
        "predict",
        help="spins of low energy for a file of couplings of your own",
        description="Spins of low energy, by a trained model and descent from there.",
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.set_defaults(command="predict")
    parser.add_argument(
        "couplings", type=Path, help="text: 'N M', then M lines 'i j J', spins counted from 1"
    )
    parser.add_argument("--out", type=Path, default=Path("spins.txt"), help="default: spins.txt")
    parser.add_argument("--run", type=Path, default=RUN, help=f"folder of a training run (default: {RUN})")
    parser.add_argument("--arm", default="true-strongest", help="of the run (default: true-strongest)")


def predict(couplings: Path, *, run: Path, arm: str, out: Path) -> None:
    """Write spins ±1, one a line in the order of the file, and print their energies.

    Raises ValueError for what cannot be done, in one line.
    """
    glass = read_couplings(couplings)
    params, config = load_model(run, arm)
    predicted = predict_spins(config, params, glass, ARMS[arm].gauge)
    energy_fn = ising(jnp.asarray(glass.couplings, jnp.float32), glass.senders, glass.receivers)
    descended = np.asarray(jax.jit(partial(relax_spins, energy_fn))(jnp.asarray(predicted, jnp.float32)))
    rows = [("the model", _energy(glass, predicted)), ("and descent from there", _energy(glass, descended))]
    lattice = as_lattice(glass)
    if lattice is not None and min(lattice[0].shape) <= EXACT:
        rows.append(("exact ground state", float(ground_states(*(part[None] for part in lattice))[1][0])))
    lowest = min(energy for _, energy in rows)
    out.write_text("".join(f"{int(spin):+d}\n" for spin in descended), encoding="utf-8")
    table = [[name, f"{energy:.6f}", f"{energy - lowest:.6f}"] for name, energy in rows]
    print(report.format_table(table, ["spins", "energy (J)", "above the lowest (J)"]))
    if lattice is None:
        print("no square lattice, and the model was trained on such: look at its spins with care")
    print(f"written: {out}, {glass.spins} spins, those after descent")


def load_model(run: Path, arm: str) -> tuple[Any, SpinConfig]:
    """One arm's parameters and model of a run folder. Raises ValueError if there is none."""
    if not run.is_dir():
        raise ValueError(
            f"{run} is no run folder: python -m experiments.spins makes one, --run names another"
        )
    if not (run / arm).is_dir():
        arms = sorted(path.parent.name for path in run.glob("*/metrics.jsonl"))
        raise ValueError(f"{run} has no arm {arm!r}, only {', '.join(arms) or 'none at all'}: --arm names it")
    params, config, _ = load_params(run / arm)
    if config.get("experiment") != "spins":
        raise ValueError(f"{run / arm} is no checkpoint of experiments.spins: {config}"[:300])
    return params, model_config(arm, config["model"])


def predict_spins(config: SpinConfig, params: Any, glass: SpinGlass, gauge: Gauge) -> np.ndarray:
    """The signs of the model's logits, ±1, (spins,)."""
    # the model knows couplings up to 1, and ground states know no unit
    scale = np.abs(glass.couplings).max(initial=0.0) or 1.0
    scaled = dataclasses.replace(glass, couplings=glass.couplings / scale)
    strongest = gauge == "strongest"
    graph = jax.tree.map(jnp.asarray, spin_graph(scaled, strongest=strongest))
    lattice = as_lattice(scaled)
    if lattice is not None:
        # that of training, in whatever order the file lists the bonds
        reference = lattice_reference(*(part[None] for part in lattice), strongest=strongest)[0].ravel()
        graph.nodes["reference"] = jnp.asarray(reference, graph.nodes["reference"].dtype)
    logits = np.asarray(jax.jit(SpinModel(config).apply)(params, graph))
    if not np.isfinite(logits).all():
        raise ValueError(f"the model's logits are not finite for couplings of at most {scale:g}")
    return np.where(logits >= 0, 1, -1)


def _energy(glass: SpinGlass, spins: np.ndarray) -> float:
    return -float(np.sum(glass.couplings * spins[glass.senders] * spins[glass.receivers]))
