"""Molecules to learn from, padded to a few sizes, for `experiments.molecule_generation`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from experiments.stages import take
from jaxphys.data import embed_conformers, parse_smiles, positions_of, read_qm7, read_qm9
from jaxphys.metrics.generation import Geometry
from jaxphys.molecule import check_molecule


@dataclass(frozen=True, eq=False)
class Molecules:
    """Geometries to learn from, each (numbers, positions in Å). source: what they are, in words.

    species: the elements among them. Raises ValueError for no molecules, and naming the first of them that is
    empty or has positions that are not finite, or whatever else `check_molecule` refuses.
    """

    geometries: Sequence[Geometry]
    source: str

    def __post_init__(self) -> None:
        if not self.geometries:
            raise ValueError(f"{self.source}: no molecules to learn from")
        for index, (numbers, positions) in enumerate(self.geometries):
            try:
                check_molecule(numbers, positions)
            except ValueError as error:
                raise ValueError(f"{self.source}, molecule {index}: {error}") from None

    def __len__(self) -> int:
        return len(self.geometries)

    @property
    def species(self) -> tuple[int, ...]:
        return tuple(int(z) for z in np.unique(np.concatenate([numbers for numbers, _ in self.geometries])))

    @property
    def counts(self) -> Int[np.ndarray, " N"]:
        """Atoms of each."""
        return np.array([len(numbers) for numbers, _ in self.geometries])

    @property
    def spread(self) -> float:
        """Of the positions about their molecule's mean, in Å, a component; of one atom alone 1 Å."""
        about = [positions - positions.mean(axis=0) for _, positions in self.geometries]
        return float(np.sqrt(np.mean(np.concatenate(about) ** 2))) or 1.0


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Examples:
    """Molecules of one padded size, with a leading axis: positions (N, n, 3) in Å, centred; places of their
    elements among the species, (N, n), and mask (N, n) of real atoms."""

    positions: Any
    elements: Any
    mask: Any


def embedded(smiles: Sequence[str], conformers: int) -> Molecules:
    """Up to so many conformers of MMFF94s of each SMILES."""
    found: list[Geometry] = []
    for text in smiles:
        mol = embed_conformers(parse_smiles(text), conformers, seed=0, method="MMFF")
        numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
        found += [(numbers, positions) for positions in positions_of(mol)]
    return Molecules(found, f"conformers of {len(smiles)} SMILES")


def read(path: Path, *, elements: Sequence[int], largest: int) -> Molecules:
    """Molecules of QM7 (npz) or QM9 (any form that `read_qm9` reads), of these elements and sizes alone.

    path: the file, or a folder with one npz or with QM9's files. How many molecules are left out is said on
    stderr. Raises FileNotFoundError, and ValueError as the readers do or if none is left.
    """
    path = Path(path)
    archives = sorted(path.glob("*.npz")) if path.is_dir() else []
    if len(archives) > 1:
        raise ValueError(f"{path} holds {len(archives)} npz files, name one of them")
    file = archives[0] if archives else path
    data = (read_qm7 if file.suffix == ".npz" else read_qm9)(file)
    frames = [(np.asarray(frame.numbers), np.asarray(frame.positions)) for frame in data]
    kept = [frame for frame in frames if len(frame[0]) <= largest and np.isin(frame[0], list(elements)).all()]
    if len(kept) < len(frames):
        print(
            f"note: {file}: {len(frames) - len(kept)} of {len(frames)} molecules have more than {largest} "
            f"atoms or elements other than {', '.join(map(str, elements))}, left out",
            file=sys.stderr,
        )
    return Molecules(kept, file.name)


def make_examples(molecules: Molecules, species: Sequence[int], sizes: Sequence[int]) -> list[Examples]:
    """The molecules by the smallest of the sizes that they fit, each size's in one; empty sizes are left out.

    Raises ValueError for elements that are not among the species, and molecules larger than all sizes.
    """
    sizes = sorted(sizes)
    if molecules.counts.max() > sizes[-1]:
        raise ValueError(f"a molecule has {molecules.counts.max()} atoms, at most {sizes[-1]} fit")
    places = np.searchsorted(sizes, molecules.counts)
    return [
        _stacked([molecules.geometries[i] for i in np.flatnonzero(places == place).tolist()], species, size)
        for place, size in enumerate(sizes)
        if (places == place).any()
    ]


def _stacked(geometries: Sequence[Geometry], species: Sequence[int], size: int) -> Examples:
    positions: Float[np.ndarray, "N n 3"] = np.zeros((len(geometries), size, 3), np.float32)
    elements = np.zeros((len(geometries), size), np.int32)
    mask = np.zeros((len(geometries), size), bool)
    known = {number: place for place, number in enumerate(species)}
    for row, (numbers, own) in enumerate(geometries):
        if not set(numbers.tolist()) <= set(known):
            unknown = sorted(set(numbers.tolist()) - set(known))
            raise ValueError(f"the model has the elements {tuple(species)}, a molecule has {unknown}")
        positions[row, : len(numbers)] = own - own.mean(axis=0)
        elements[row, : len(numbers)] = [known[number] for number in numbers.tolist()]
        mask[row, : len(numbers)] = True
    return Examples(jnp.asarray(positions), jnp.asarray(elements), jnp.asarray(mask))


def batch_of_step(examples: Sequence[Examples], batch: int, seed: int, step: int) -> Examples:
    """The step's molecules, all of one size, which is drawn as often as molecules have it."""
    rng = np.random.default_rng([seed, step])
    counts = np.array([len(own.mask) for own in examples])
    place = rng.choice(len(examples), p=counts / counts.sum())
    return take(examples[place], rng.integers(counts[place], size=batch))
