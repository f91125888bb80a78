"""A training step of the energy model beside mace-torch's MACE of the same size, on the same cores.

    pip install mace-torch==0.3.16            the peer, which brings torch; without it jaxphys runs alone
    python -m benchmarks.energy_model                      a minute on 2 cores
    python -m benchmarks.energy_model --channels 32 --batch 16

A step is the loss of energies and forces, its gradient and the update by Adam, in float32. Both have the same
molecules, batch, channels, l of messages and features, correlation, layers, radial functions and cutoff. The
peer goes first, in PyTorch's eager mode as its own training runs it. On a busy machine take --threads 1:
PyTorch's threads wait for each other by spinning, which makes its time many times too long.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.timing import Timing, compilations, measure
from jaxphys.data import embed
from jaxphys.losses import energy_and_force_matching
from jaxphys.models import EnergyConfig, EnergyModel, energy_fn
from jaxphys.molecule import stack_graphs, to_graph
from jaxphys.report import format_table
from jaxphys.training import create_state, make_train_step, prepare_cpu

MOLECULES = {"ethanol": "CCO", "aspirin": "CC(=O)Oc1ccccc1C(=O)O"}
SPECIES = (1, 6, 8)
LMAX, FEATURE_LMAX, CORRELATION, LAYERS, RADIAL, RADIAL_HIDDEN, HIDDEN = 3, 1, 3, 2, 8, (64, 64, 64), 16
CUTOFF, NEIGHBOURS = 5.0, 8.0  # Å; what sums over neighbours are divided by
PERTURBATION, LEARNING_RATE = 0.05, 1e-3  # Å
HEADER = (
    "molecule|atoms|MACE first (s)|MACE (ms)|MACE, CPU (ms)|jaxphys first (s)|jaxphys (ms)|jaxphys, CPU (ms)|"
    "MACE/jaxphys|recompiled"
)


class Frames(NamedTuple):
    """Geometries of one molecule with labels: numbers (n,), positions and forces (b, n, 3), energies (b,).

    Å, eV and eV/Å.
    """

    numbers: np.ndarray
    positions: np.ndarray
    energies: np.ndarray
    forces: np.ndarray


def run(*, channels: int = 64, batch: int = 8, threads: int = 2) -> str:
    """The table, in Markdown."""
    frames = {name: _frames(smiles, batch) for name, smiles in MOLECULES.items()}
    peers = {}
    if find_spec("mace") is not None:
        peers = {name: _measure_mace(some, channels, threads) for name, some in frames.items()}
    rows = [_row(name, some, channels, peers.get(name)) for name, some in frames.items()]
    title = (
        f"## Training step, energies and forces, batch of {batch}, {channels} channels, lmax {LMAX}, "
        f"{LAYERS} layers, float32, {threads} threads\n\n"
    )
    missing = "" if peers else "\n\nThe peer is not installed: pip install mace-torch==0.3.16"
    return title + format_table(rows, HEADER.split("|")) + missing


def use_cores(count: int) -> None:
    """Keep the process, and with it XLA's threads, to so many cores; before JAX and torch start theirs."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def _frames(smiles: str, batch: int) -> Frames:
    """Perturbed geometries; labels of the right size, which the time of a step does not depend on."""
    molecule = embed(smiles, seed=0)
    rng = np.random.default_rng(0)
    shape = (batch, *molecule.positions.shape)
    return Frames(
        molecule.numbers,
        molecule.positions + PERTURBATION * rng.normal(size=shape),
        rng.normal(size=batch),
        rng.normal(size=shape),
    )


def _row(name: str, frames: Frames, channels: int, peer: Timing | None) -> list[str]:
    step = _jaxphys_step(frames, channels)
    timing = measure(step)
    with compilations() as compiled:
        step()
    theirs = [_cell(peer.first, 1), _cell(peer.warm, 1e3), _cell(peer.cpu, 1e3)] if peer else ["–"] * 3
    ours = [_cell(timing.first, 1), _cell(timing.warm, 1e3), _cell(timing.cpu, 1e3)]
    ratio = f"{peer.warm / timing.warm:.1f}×" if peer else "–"
    return [name, str(len(frames.numbers)), *theirs, *ours, ratio, str(len(compiled))]


def _cell(seconds: float, scale: float) -> str:
    return f"{scale * seconds:.1f}"


def _jaxphys_step(frames: Frames, channels: int) -> Callable[[], Any]:
    """One step of the training that experiments run, on its own state."""
    config = EnergyConfig(
        SPECIES,
        channels=channels,
        lmax=LMAX,
        feature_lmax=FEATURE_LMAX,
        correlation=CORRELATION,
        layers=LAYERS,
        radial=RADIAL,
        radial_hidden=RADIAL_HIDDEN,
        hidden=HIDDEN,
        cutoff=CUTOFF,
        neighbours=NEIGHBOURS,
    )
    model = EnergyModel(config)
    graphs = stack_graphs([to_graph(frames.numbers, r.astype(np.float32)) for r in frames.positions])
    labels = [jnp.asarray(label, jnp.float32) for label in (frames.energies, frames.forces)]
    atoms = len(frames.numbers)

    def loss(params: Any, batch: Any, key: Any) -> Any:
        def one(graph: Any, energy: Any, forces: Any) -> Any:
            positions = graph.nodes["positions"][:atoms]
            return energy_and_force_matching(energy_fn(model, params, graph), positions, energy, forces)

        losses = jax.vmap(one)(*batch)
        return jnp.sum(losses), len(losses), {}

    data = (jax.tree.map(jnp.asarray, graphs), *labels)
    params = jax.jit(model.init)(jax.random.key(0), jax.tree.map(lambda leaf: leaf[0], data[0]))
    optimizer = optax.adam(LEARNING_RATE)
    train_step = make_train_step(loss, optimizer, ema_decay=None)
    state = create_state(params, optimizer, jax.random.key(0))

    def step() -> Any:
        nonlocal state
        state, metrics = train_step(state, data)
        return jax.block_until_ready(metrics["loss"])

    return step


def _measure_mace(frames: Frames, channels: int, threads: int) -> Timing:
    with warnings.catch_warnings(), contextlib.redirect_stdout(None):  # it warns of optional packages
        warnings.simplefilter("ignore")
        return measure(_mace_step(frames, channels, threads))


def _mace_step(frames: Frames, channels: int, threads: int) -> Callable[[], Any]:
    import mace  # noqa: F401  first: it lets e3nn load its constants
    import torch
    from mace.tools import torch_geometric

    torch.set_num_threads(threads)
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    loader = torch_geometric.dataloader.DataLoader(_mace_data(frames), batch_size=len(frames.energies))
    batch = next(iter(loader)).to_dict()
    model = _mace_model(channels)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        found = model(batch, training=True, compute_force=True)
        energy = torch.mean((found["energy"] - batch["energy"]) ** 2)
        forces = torch.mean((found["forces"] - batch["forces"]) ** 2)
        loss = energy + forces
        loss.backward()
        optimizer.step()
        return float(loss)

    return step


def _mace_data(frames: Frames) -> list[Any]:
    """The frames as its graphs; its neighbour list is not part of the step, nor is ours."""
    import ase
    from mace import data, tools

    table = tools.AtomicNumberTable(list(SPECIES))
    keys = data.KeySpecification(info_keys={"energy": "REF_energy"}, arrays_keys={"forces": "REF_forces"})
    graphs = []
    for positions, energy, forces in zip(frames.positions, frames.energies, frames.forces, strict=True):
        atoms = ase.Atoms(frames.numbers, positions)
        atoms.info["REF_energy"], atoms.arrays["REF_forces"] = energy, forces
        configuration = data.config_from_atoms(atoms, key_specification=keys)
        graphs.append(data.AtomicData.from_config(configuration, z_table=table, cutoff=CUTOFF))
    return graphs


def _mace_model(channels: int) -> Any:
    import torch
    from e3nn import o3
    from mace import modules

    blocks = modules.interaction_classes
    return modules.ScaleShiftMACE(
        r_max=CUTOFF,
        num_bessel=RADIAL,
        num_polynomial_cutoff=5,
        max_ell=LMAX,
        interaction_cls_first=blocks["RealAgnosticInteractionBlock"],
        interaction_cls=blocks["RealAgnosticResidualInteractionBlock"],
        num_interactions=LAYERS,
        num_elements=len(SPECIES),
        hidden_irreps=o3.Irreps([(channels, (l, (-1) ** l)) for l in range(FEATURE_LMAX + 1)]),
        MLP_irreps=o3.Irreps([(HIDDEN, (0, 1))]),
        atomic_energies=np.zeros(len(SPECIES)),
        avg_num_neighbors=NEIGHBOURS,
        atomic_numbers=list(SPECIES),
        correlation=CORRELATION,
        gate=torch.nn.functional.silu,
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
        radial_MLP=list(RADIAL_HIDDEN),
        radial_type="bessel",
    )


def main() -> None:
    """The table, in Markdown."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.energy_model", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--channels", type=int, default=64, help="copies of each feature (64)")
    parser.add_argument("--batch", type=int, default=8, help="geometries in a step (8)")
    parser.add_argument("--threads", type=int, default=2, help="of each (2)")
    arguments = parser.parse_args()
    use_cores(arguments.threads)
    prepare_cpu()
    print(run(channels=arguments.channels, batch=arguments.batch, threads=arguments.threads))


if __name__ == "__main__":
    main()
