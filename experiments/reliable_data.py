"""Minima and displaced geometries of `experiments.reliable_energy`, and their padded graphs on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jraph
import numpy as np
from ase.data import covalent_radii

from experiments.reliable_presets import Preset
from jaxphys.data import (
    EnergyData,
    embed,
    fit_atomic_energies,
    read_qm7,
    subtract_atomic_energies,
    thermal_modes,
    xtb_energies,
    xtb_minima,
)
from jaxphys.energies import elastic_network
from jaxphys.molecule import Molecule, stack_graphs, to_graph

PROCESSES = 2
BONDED = 1.25  # of the sum of two covalent radii
ROLES = ("train", "test")


@dataclass(frozen=True)
class Sets:
    """Minima by their role, without the energies of their atoms, which `train` alone decided.

    displaced: geometries around each minimum with xTB's energies and forces, all of the first minimum first;
    None where the minima are of another level of theory.
    """

    minima: dict[str, EnergyData]
    displaced: Mapping[str, EnergyData | None]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Displaced:
    """k geometries of each molecule: positions and forces (N, k, n, 3), Å and eV/Å, energy (N, k), eV."""

    positions: Any
    energy: Any
    forces: Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Examples:
    """Minima of one padded shape, with a leading axis: mask (N, n) of real atoms, energy (N,) in eV.

    modes: (N, n, 3, m) in Å/√eV, of the elastic network of each minimum, for `losses.downhill_noise`.
    """

    graph: jraph.GraphsTuple
    mask: Any
    energy: Any
    displaced: Displaced | None
    modes: Any = None

    @property
    def positions(self) -> Any:
        """(N, n, 3) in Å."""
        return self.graph.nodes["positions"]

    def __len__(self) -> int:
        return len(self.energy)


def make_sets(
    preset: Preset, seed: int, *, cache: Path, without: Sequence[str] = (), validate: bool = False
) -> Sets:
    """The preset's molecules at their xTB minima, displaced geometries of them, and the split by molecule.

    without: SMILES that no role may have. validate: the molecules for choosing settings stand for the test's.
    """
    roles = _split(_minima(preset.smiles, cache, without), preset, seed)
    if validate:
        roles["test"] = _minima(preset.validation, cache, without)
    atomic = fit_atomic_energies(roles["train"])
    displaced = {}
    for place, (role, data) in enumerate(roles.items()):
        geometries = _displaced(data, preset, np.random.default_rng([seed, place]))
        labelled = xtb_energies(geometries, cache=cache, processes=PROCESSES)
        displaced[role] = subtract_atomic_energies(labelled, atomic)
    return Sets({role: subtract_atomic_energies(data, atomic) for role, data in roles.items()}, displaced)


def _minima(smiles: Sequence[str], cache: Path, without: Sequence[str]) -> EnergyData:
    """xTB minima of the molecules that keep their bonds."""
    molecules = [m for m in (embed(s, seed=0) for s in smiles) if m.name not in without]
    minima, _ = xtb_minima(molecules, cache=cache, processes=PROCESSES)
    starts = {molecule.name: molecule for molecule in molecules}
    kept = [np.array_equal(bonds(f.molecule), bonds(starts[f.name])) for f in minima]
    return minima[np.array(kept)]


def read_sets(folder: Path, preset: Preset, seed: int) -> Sets:
    """The molecules of QM7 in the folder, of H, C, N and O alone: minima without displaced geometries."""
    if not folder.is_dir():
        raise ValueError(f"--data must be a folder with QM7 as qm7_7101.npz, got {folder}")
    data = read_qm7(folder / "qm7_7101.npz").select(elements=(1, 6, 7, 8), max_atoms=preset.max_atoms)
    order = np.random.default_rng(0).permutation(len(data))
    roles = _split(data[order[: preset.max_molecules]], preset, seed)
    atomic = fit_atomic_energies(roles["train"])
    minima = {role: subtract_atomic_energies(part, atomic) for role, part in roles.items()}
    return Sets(minima, dict.fromkeys(ROLES))


def bonds(molecule: Molecule) -> np.ndarray:
    """Which atoms are bonded, (n, n), by their distance."""
    radii = covalent_radii[molecule.numbers]
    distance = np.linalg.norm(molecule.positions[:, None] - molecule.positions, axis=-1)
    return (distance < BONDED * (radii[:, None] + radii)) & ~np.eye(len(radii), dtype=bool)


def make_examples(minima: EnergyData, displaced: EnergyData | None, n_node: int) -> Examples:
    """Graphs and labels, padded to n_node, in single precision."""
    graphs = [
        to_graph(f.numbers, f.positions.astype(np.float32), n_node=n_node, n_edge=(n_node - 1) * (n_node - 2))
        for f in minima
    ]
    graph = jax.tree.map(jnp.asarray, stack_graphs(graphs))
    return Examples(
        graph=graph,
        mask=graph.nodes["numbers"] > 0,
        energy=jnp.asarray(minima.energy, jnp.float32),
        displaced=None if displaced is None else _stacked(displaced, len(minima), n_node),
    )


def with_modes(examples: Examples) -> Examples:
    """The same with the modes of each minimum's elastic network."""

    @jax.jit
    @jax.vmap
    def force_constants(positions: Any, mask: Any) -> Any:
        return jax.hessian(elastic_network(positions, mask=mask))(positions)

    matrices = np.asarray(force_constants(examples.positions, examples.mask), dtype=float)
    modes = np.zeros((*examples.positions.shape, examples.positions[0].size), np.float32)
    for place, mask in enumerate(np.asarray(examples.mask)):
        n = int(mask.sum())
        at = np.asarray(examples.positions[place][:n], dtype=float)
        found = thermal_modes(matrices[place][:n, :, :n].reshape(3 * n, 3 * n), at, kt=1.0)
        modes[place, :n, :, : found.shape[1]] = found.reshape(n, 3, -1)
    return replace(examples, modes=jnp.asarray(modes))


def _stacked(displaced: EnergyData, count: int, n_node: int) -> Displaced:
    frames = list(displaced)

    def padded(arrays: list[Any]) -> Any:
        rows = [np.pad(a, ((0, n_node - len(a)), (0, 0))) for a in arrays]
        return jnp.asarray(np.reshape(rows, (count, -1, n_node, 3)), jnp.float32)

    return Displaced(
        positions=padded([f.positions for f in frames]),
        energy=jnp.asarray(displaced.energy.reshape(count, -1), jnp.float32),
        forces=padded([f.forces for f in frames]),
    )


def _split(data: EnergyData, preset: Preset, seed: int) -> dict[str, EnergyData]:
    if len(data) < preset.test + 1:
        raise ValueError(f"{len(data)} molecules are too few to hold {preset.test} out and train on others")
    order = np.random.default_rng([seed, 7]).permutation(len(data))
    return {"train": data[order[preset.test :]], "test": data[order[: preset.test]]}


def _displaced(minima: EnergyData, preset: Preset, rng: np.random.Generator) -> list[Molecule]:
    sizes = [preset.thermal[k % len(preset.thermal)] for k in range(preset.displaced)]
    return [
        replace(m, positions=m.positions + size * rng.standard_normal(m.positions.shape))
        for m in (frame.molecule for frame in minima)
        for size in sizes
    ]
