"""What the laws of consistency cost in training, and how fast the denoiser makes conformers beside RDKit.

    python -m benchmarks.consistency           three minutes on 2 cores

Training: steps of `experiments.consistency` with its quick preset's model and batch, one arm after the other
in turns, so that a machine that slows down slows all of them. Sampling: an untrained model of that
size takes the time of a trained one; molecules of QM7's size, compilation apart. RDKit makes as many by ETKDG
and MMFF94s.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.timing import compilations
from experiments.consistency_data import Examples, make_examples, make_structures, padded_size
from experiments.consistency_presets import ARMS, PRESETS
from experiments.consistency_sampling import sample
from experiments.consistency_training import arm_loss, initial_params
from experiments.stages import batch_of_step
from jaxphys.data import bond_graph, embed_conformers, parse_smiles
from jaxphys.models import DenoiserConfig, MultiTask, denoise_fn
from jaxphys.molecule import stack_graphs
from jaxphys.report import format_table
from jaxphys.training import create_state, make_optimizer, make_train_step, prepare_cpu

SMALL = 64  # molecules to train on
ROUNDS, STEPS = 8, 15
QM7_SIZE = (
    "CC1CCC(=O)C1",
    "CC(C)CC(N)C",
    "c1ccccc1C",
    "CCOC(=O)CC",
    "C#CCC(O)CC",
    "NC1CCOCC1",
    "CCCCCCN",
    "CC1CC1CCO",
)
PER_MOLECULE = 64


def main() -> None:
    """Print both tables."""
    prepare_cpu()
    preset = PRESETS["quick"]
    with tempfile.TemporaryDirectory() as folder:
        small = replace(preset, smiles=preset.smiles[:SMALL], conformers=1, displaced=3, test=8)
        roles = make_structures(small, 0, cache=Path(folder))
    config = DenoiserConfig(species=roles["train"].high.elements, **preset.model)
    examples = make_examples(roles["train"], padded_size(roles))
    print(f"jax {jax.__version__} on {jax.default_backend()}, {examples.mask.shape[1]} padded atoms\n")
    print(training(preset, config, examples))
    print(sampling(preset, config, initial_params(config, examples, 0)))


COMPARED = ARMS | {"force labels alone": ("structure", "forces")}
"""With what the arms with force labels are to be compared with."""


def training(preset: Any, config: DenoiserConfig, examples: Examples) -> str:
    """Milliseconds of a step of each arm, and how many times those of the multi-task arm."""
    batch = preset.stages["multitask"].batch
    steps, states = {}, {}
    for arm, laws in COMPARED.items():
        optimizer = make_optimizer(1e-3, 1000, algorithm=preset.stages["multitask"].algorithm)
        steps[arm] = make_train_step(arm_loss(config, preset, laws), optimizer)
        start = create_state(initial_params(config, examples, 0), optimizer, jax.random.key(0))
        states[arm], _ = steps[arm](start, batch_of_step(examples, batch, 0, 0))
    times: dict[str, list[float]] = {arm: [] for arm in COMPARED}
    with compilations() as compiled:
        for _ in range(ROUNDS):
            for arm, step in steps.items():
                began = time.perf_counter()
                for count in range(STEPS):
                    states[arm], metrics = step(states[arm], batch_of_step(examples, batch, 0, count))
                jax.block_until_ready(metrics)
                times[arm].append((time.perf_counter() - began) / STEPS)
    medians = {arm: float(np.median(own)) for arm, own in times.items()}
    rows = [[arm, f"{1000 * own:.1f}", f"{own / medians['multitask']:.2f}×"] for arm, own in medians.items()]
    table = format_table(rows, ["arm", "step (ms)", "of multi-task"])
    return f"One training step, batch of {batch}; {len(compiled)} compilations on the way\n\n{table}\n"


def sampling(preset: Any, config: DenoiserConfig, params: Any) -> str:
    """Conformers a minute, each of jaxphys from its own noise."""
    mols = [parse_smiles(text) for text in QM7_SIZE]
    n_node = max(mol.GetNumAtoms() for mol in mols) + 1
    n_edge = (n_node - 1) * (n_node - 2)
    own = [bond_graph(mol, n_node=n_node, n_edge=n_edge) for mol in mols]
    graphs = stack_graphs([graph for graph in own for _ in range(PER_MOLECULE)])
    model, count = MultiTask(config), len(mols) * PER_MOLECULE

    def denoise(params: Any, graph: Any, positions: Any, sigma: Any) -> Any:
        return denoise_fn(model, params, graph)(positions, sigma)

    draw = partial(sample, denoise, params, graphs, sampler=preset.sampler)
    first = _seconds(lambda: draw(key=jax.random.key(0)))
    warm = _seconds(lambda: draw(key=jax.random.key(1)))
    embedded = _seconds(lambda: [embed_conformers(mol, PER_MOLECULE, seed=0, method=None) for mol in mols])
    relaxed = _seconds(lambda: [embed_conformers(mol, PER_MOLECULE, seed=0, method="MMFF") for mol in mols])
    rows = [
        [f"jaxphys, {preset.sampler.calls} calls", f"{first - warm:.1f}", f"{60 * count / warm:.0f}"],
        ["RDKit ETKDG, one core", "–", f"{60 * count / embedded:.0f}"],
        ["RDKit ETKDG + MMFF94s, one core", "–", f"{60 * count / relaxed:.0f}"],
    ]
    table = format_table(rows, ["sampler", "compilation (s)", "conformers a minute"])
    return f"{count} conformers of {len(mols)} molecules of 7 heavy atoms\n\n{table}\n"


def _seconds(function: Any) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
