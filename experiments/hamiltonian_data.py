"""Molecules, labels and graphs of `experiments.hamiltonian`, as arrays on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jraph
import numpy as np

from experiments.hamiltonian_presets import Preset
from experiments.stages import map_batches
from jaxphys import dft
from jaxphys.data import Method, build_systems, label, read_xyz, thermal
from jaxphys.models import HamiltonianConfig, Layout, orbital_layout
from jaxphys.molecule import Molecule, stack_graphs, to_graph
from jaxphys.training import release_freed_memory

EVALUATION_BATCH = 4


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Examples:
    """Molecules of one padded shape, with a leading axis; `solution` is None for those without labels."""

    system: dft.KohnSham
    graph: jraph.GraphsTuple
    layout: Layout
    guess: Any  # (N, n, n) Fock matrix of the superposition of atomic densities, Ha
    solution: Any  # dft.SCFResult: the labels

    def __len__(self) -> int:
        return len(self.guess)


@dataclass(frozen=True)
class Geometries:
    """Molecules by their role; `test` are other geometries of the unlabelled molecules."""

    labelled: list[Molecule]
    unlabelled: list[Molecule]
    test: list[Molecule]
    larger: list[Molecule]


def sample_geometries(preset: Preset, seed: int) -> Geometries:
    """Thermal geometries of the preset's molecules; the four roles never share one."""

    def sample(smiles: Sequence[str], count: int, role: int) -> list[Molecule]:
        own = 100 * (seed + 1) + role  # geometries below 100 were looked at while the presets were chosen
        return [m for name in smiles for m in thermal(name, count, temperature=preset.temperature, seed=own)]

    return Geometries(
        labelled=sample(preset.labelled, preset.labelled_geometries, 0),
        unlabelled=sample(preset.unlabelled, preset.unlabelled_geometries, 1),
        test=sample(preset.unlabelled, preset.test_geometries, 2),
        larger=sample(preset.larger, preset.larger_geometries, 3),
    )


def read_geometries(folder: Path) -> Geometries:
    """Geometries from labelled.xyz, unlabelled.xyz, test.xyz and, if there, larger.xyz."""
    if not folder.is_dir():
        raise ValueError(
            f"--data must be a folder with labelled.xyz, unlabelled.xyz and test.xyz, got {folder}"
        )
    roles = {}
    for role in ("labelled", "unlabelled", "test", "larger"):
        path = folder / f"{role}.xyz"
        optional = role == "larger" and not path.exists()
        roles[role] = [] if optional else [_named(molecule) for molecule in read_xyz(path)]
    return Geometries(**roles)


def _named(molecule: Molecule) -> Molecule:
    """A molecule without a name gets its formula, by which the tables group it."""
    if molecule.name:
        return molecule
    from ase.formula import Formula
    from ase.symbols import Symbols

    return replace(molecule, name=Formula(Symbols(molecule.numbers).get_chemical_formula()).format("hill"))


def make_examples(
    molecules: list[Molecule], method: Method, config: HamiltonianConfig, *, labels: Path | None = None
) -> Examples:
    """Integrals, graphs and guesses, padded to the largest molecule; labels through the cache `labels`."""
    systems = build_systems(molecules, method)
    solution = None
    stacked = dft.stack(systems)
    n = stacked.overlap.shape[-1]
    if labels is not None:
        solutions = label(molecules, systems, method, cache=labels)
        solution = jax.tree.map(
            lambda *leaves: jnp.asarray(np.stack(leaves)), *(_padded(s, n) for s in solutions)
        )
    del systems
    atoms = max(len(molecule.numbers) for molecule in molecules)
    sizes = {"n_node": atoms + 1, "n_edge": max(atoms * (atoms - 1), 1)}
    graphs = [to_graph(m.numbers, m.positions.astype(np.float32), **sizes) for m in molecules]
    layouts = [orbital_layout(config, m.numbers, n) for m in molecules]
    system = jax.tree.map(jnp.asarray, stacked)
    del stacked
    release_freed_memory()  # of the single systems, as much as the stack
    return Examples(
        system=system,
        graph=jax.tree.map(jnp.asarray, stack_graphs(graphs)),
        layout=jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *layouts),
        guess=map_batches(jax.jit(jax.vmap(dft.guess_fock)), system, EVALUATION_BATCH),
        solution=solution,
    )


def _padded(solution: dft.SCFResult, n: int) -> dft.SCFResult:
    """Labels of one molecule in larger arrays: matrices and orbitals are zero in the padding."""

    def grow(leaf: Any) -> np.ndarray:
        leaf = np.asarray(leaf)
        return np.pad(leaf, [(0, n - size) for size in leaf.shape]) if leaf.ndim else leaf

    return jax.tree.map(grow, solution)
