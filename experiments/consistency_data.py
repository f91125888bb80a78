"""Structures of a force field with energies of a better level, padded, for `experiments.consistency`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Float
from rdkit import Chem

from experiments.consistency_levels import LEVELS
from experiments.consistency_presets import Preset
from jaxphys.data import (
    EnergyData,
    EnergyFrame,
    bond_graph,
    embed_conformers,
    fit_atomic_energies,
    force_field_energies,
    from_frames,
    parse_smiles,
    positions_of,
    subtract_atomic_energies,
)
from jaxphys.data.conformers import ForceFieldMethod
from jaxphys.metrics import rmsd_matrix
from jaxphys.molecule import Molecule, graph_sizes, stack_graphs

PROCESSES = 2
SAME = 0.05
"""Å of symmetric RMSD, below which two minima are one."""


@dataclass(frozen=True, eq=False)
class Structures:
    """Minima of the force field, each with displaced geometries of which it is the first.

    smiles, mol: one a minimum, (N,). positions: of each (k, n, 3) in Å. high, low: energies and forces of all
    geometries by the two levels, minimum after minimum, without those of the atoms.
    """

    smiles: list[str]
    mols: list[Chem.Mol]
    positions: list[Float[np.ndarray, "k n 3"]]
    high: EnergyData
    low: EnergyData

    def __len__(self) -> int:
        return len(self.mols)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Examples:
    """Structures of one padded shape, with a leading axis N.

    graph: with the minima of the force field, centred, in Å; mask (N, n) of real atoms.
    displaced (N, k, n, 3) in Å; energy (N, k) in eV and forces (N, k, n, 3) in eV/Å of the high level;
    low_energy (N, k) in eV.
    """

    graph: jraph.GraphsTuple
    mask: Any
    displaced: Any
    energy: Any
    forces: Any
    low_energy: Any

    def __len__(self) -> int:
        return len(self.mask)


def make_structures(
    preset: Preset, seed: int, *, cache: Path, validate: bool = False
) -> dict[str, Structures]:
    """Minima, displacements and labels of the preset's molecules, split by molecule into train and test.

    validate: the molecules for choosing settings stand for the test's. Energies are given without those of
    atoms, which the training molecules decide. Raises ValueError for too few molecules, and for a test with
    elements that no training molecule has.
    """
    roles = {"train": list(preset.smiles), "test": list(preset.validation)}
    if not validate:
        if len(preset.smiles) <= preset.test:
            raise ValueError(f"{len(preset.smiles)} molecules are too few to hold {preset.test} out of them")
        order = np.random.default_rng([seed, 11]).permutation(len(preset.smiles))
        shuffled = [preset.smiles[i] for i in order]
        roles = {"train": shuffled[preset.test :], "test": shuffled[: preset.test]}
    _check_elements(roles)
    found = {role: _label(_minima(smiles, preset), preset, cache) for role, smiles in roles.items()}
    atoms = {level: fit_atomic_energies(getattr(found["train"], level)) for level in ("high", "low")}
    return {
        role: replace(
            part,
            high=subtract_atomic_energies(part.high, atoms["high"]),
            low=subtract_atomic_energies(part.low, atoms["low"]),
        )
        for role, part in found.items()
    }


def _check_elements(roles: dict[str, list[str]]) -> None:
    """Of an element that it never met a model knows nothing, not even the atom's energy."""
    elements = {
        role: {text: {atom.GetSymbol() for atom in parse_smiles(text).GetAtoms()} for text in smiles}
        for role, smiles in roles.items()
    }
    known = set[str]().union(*elements["train"].values())
    for text, own in elements["test"].items():
        if own - known:
            raise ValueError(
                f"no training molecule has {', '.join(sorted(own - known))}, but {text}, which is held out, "
                "has: give more molecules with it, none, or another --seed"
            )


def make_examples(structures: Structures, n_node: int) -> Examples:
    """Graphs and labels, padded to n_node, in single precision."""
    minima = [positions[0] - positions[0].mean(axis=0) for positions in structures.positions]
    graphs = [
        bond_graph(mol, own.astype(np.float32), n_node=n_node, n_edge=(n_node - 1) * (n_node - 2))
        for mol, own in zip(structures.mols, minima, strict=True)
    ]
    graph = jax.tree.map(jnp.asarray, stack_graphs(graphs))
    shape = (len(structures), len(structures.positions[0]))

    def padded(rows: list[np.ndarray]) -> Any:
        full = [np.pad(row, ((0, n_node - len(row)), (0, 0))) for row in rows]
        return jnp.asarray(np.reshape(full, (*shape, n_node, 3)), jnp.float32)

    return Examples(
        graph=graph,
        mask=graph.nodes["numbers"] > 0,
        displaced=padded([frame for own in structures.positions for frame in own - own[0].mean(axis=0)]),
        energy=jnp.asarray(structures.high.energy.reshape(shape), jnp.float32),
        forces=padded([np.asarray(frame.forces) for frame in structures.high]),
        low_energy=jnp.asarray(structures.low.energy.reshape(shape), jnp.float32),
    )


def padded_size(roles: dict[str, Structures]) -> int:
    """n_node of the largest molecule of all roles."""
    return graph_sizes(largest(roles))[0]


def largest(roles: dict[str, Structures]) -> int:
    """Atoms of the largest molecule."""
    return max(mol.GetNumAtoms() for part in roles.values() for mol in part.mols)


def _minima(smiles: Sequence[str], preset: Preset) -> list[tuple[str, Chem.Mol, np.ndarray]]:
    """(SMILES, graph, positions) of the distinct minima of the force field."""
    found = []
    for text in smiles:
        mol = embed_conformers(parse_smiles(text), preset.conformers, seed=0, method=preset.low_level)
        kept: list[np.ndarray] = []
        for positions in positions_of(mol):
            if not kept or rmsd_matrix(mol, positions[None], np.stack(kept)).min() > SAME:
                kept.append(positions)
        graph = Chem.Mol(mol)
        graph.RemoveAllConformers()
        found += [(text, graph, positions) for positions in kept]
    return found


def _label(minima: list[tuple[str, Chem.Mol, np.ndarray]], preset: Preset, cache: Path) -> Structures:
    """Displaced geometries of each minimum, and their energies and forces by both levels."""
    rng = np.random.default_rng(len(minima))
    smiles, mols, positions = [], [], []
    for text, mol, minimum in minima:
        low, high = np.log(preset.thermal)
        sizes = np.exp(rng.uniform(low, high, size=preset.displaced - 1))
        moves = sizes[:, None, None] * rng.standard_normal((preset.displaced - 1, *minimum.shape))
        smiles.append(text)
        mols.append(mol)
        positions.append(np.concatenate([minimum[None], minimum + moves]))
    level = LEVELS[preset.level]
    labels = level.energies(_molecules(smiles, mols, positions), cache=cache, processes=PROCESSES)
    return Structures(smiles, mols, positions, labels, _low(smiles, mols, positions, preset.low_level))


def _molecules(smiles: list[str], mols: list[Chem.Mol], positions: list[np.ndarray]) -> list[Molecule]:
    return [
        Molecule(_numbers(mol), geometry, charge=Chem.GetFormalCharge(mol), name=text)
        for text, mol, own in zip(smiles, mols, positions, strict=True)
        for geometry in own
    ]


def _low(
    smiles: list[str], mols: list[Chem.Mol], positions: list[np.ndarray], level: ForceFieldMethod
) -> EnergyData:
    frames = []
    for text, mol, own in zip(smiles, mols, positions, strict=True):
        energies, forces = force_field_energies(mol, own, level)
        frames += [
            EnergyFrame(_numbers(mol), geometry, float(energy), force, name=text)
            for geometry, energy, force in zip(own, energies, forces, strict=True)
        ]
    return from_frames(frames, level=level, reference="strain")


def _numbers(mol: Chem.Mol) -> np.ndarray:
    return np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
