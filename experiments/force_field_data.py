"""Data of `experiments.force_field`: reading, splitting, labels of its own, and arrays for the device."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import jax
import jax.numpy as jnp
import jraph
import numpy as np

from experiments.force_field_presets import Preset
from jaxphys.data import (
    EnergyData,
    concatenate,
    from_arrays,
    read_extxyz,
    read_rmd17,
    read_spice,
    read_transition1x,
    thermal,
    write_xyz,
)
from jaxphys.data.bulk import Recipe
from jaxphys.data.files import MissingKeyError, existing_file, npz_keys, open_hdf5
from jaxphys.label import label_file
from jaxphys.molecule import stack_graphs, to_graph
from jaxphys.neighbours import with_charge
from jaxphys.units import BOHR_IN_ANGSTROM, HARTREE_IN_EV

SUFFIXES = (".npz", ".xyz", ".extxyz", ".h5", ".hdf5")
# Not `warnings`: the run goes on, and the line stands among its own.
_log = logging.getLogger(__name__)

SAME = 1e-6  # Å: frames whose positions agree so far are one


@dataclass(frozen=True)
class Keys:
    """What an extended XYZ file calls its labels, and what its energies are measured from."""

    energy: str = "energy"
    forces: str = "forces"
    reference: str = "total"


class Split(NamedTuple):
    """Frames by their role: no frame has two."""

    train: EnergyData
    validation: EnergyData
    test: EnergyData


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Examples:
    """Frames of one padded shape with a leading axis.

    positions, forces: (N, n, 3) in Å and eV/Å. energy: (N,) in eV, without atoms. mask: (N, n), None if no
    atom is padding. graph: of each frame, None if they share one.
    """

    positions: Any
    energy: Any
    forces: Any
    mask: Any
    graph: jraph.GraphsTuple | None

    def __len__(self) -> int:
        return len(self.energy)


def read_data(path: Path, keys: Keys) -> EnergyData:
    """The labelled frames of a file, whose format its suffix tells.

    Raises FileNotFoundError, and ValueError for an unknown suffix, frames without forces or periodic ones.
    """
    suffix = existing_file(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: unknown suffix {suffix!r}; data are read from {', '.join(SUFFIXES)}")
    if suffix == ".npz":
        data = _read_npz(path)
    elif suffix in (".h5", ".hdf5"):
        data = _read_hdf5(path)
    else:
        data = _read_xyz(path, keys)
    if data.forces is None:
        raise ValueError(f"{path}: no forces; a force field is trained on energies and forces")
    if data.pbc is not None and data.pbc.any():
        raise ValueError(f"{path}: periodic frames; this experiment trains on molecules only")
    return data


def _read_xyz(path: Path, keys: Keys) -> EnergyData:
    try:
        return read_extxyz(
            path,
            level=f"that of {path.name}",
            reference=keys.reference,
            energy=keys.energy,
            forces=keys.forces,
        )
    except MissingKeyError as error:
        raise ValueError(f"{error}; other names are given with --energy-key and --forces-key") from None


def _read_npz(path: Path) -> EnergyData:
    if "R_train" in npz_keys(path):
        return read_rmd17(path)
    return _own_split(lambda kind: read_rmd17(path, subset=kind))


def _read_hdf5(path: Path) -> EnergyData:
    with open_hdf5(path) as file:
        kinds = set(file)
    if {"labels", "molecules"} <= kinds:
        return read_labels(path)
    if {"data", "train", "test"} <= kinds:
        return _own_split(lambda kind: read_transition1x(path, split=kind))
    return read_spice(path)


def _own_split(read: Callable[[Any], EnergyData]) -> EnergyData:
    """Training and test frames of a set with a split of its own, whose groups then say so."""
    parts = {kind: read(kind) for kind in ("train", "test")}
    return concatenate(
        [dataclasses.replace(part, group=np.full_like(part.group, kind)) for kind, part in parts.items()]
    )


def read_labels(path: Path) -> EnergyData:
    """Frames of a file that `python -m jaxphys.label` wrote. Raises ValueError if they have no forces."""
    with open_hdf5(path) as file:
        level = f"{file.attrs['xc']}/{file.attrs['basis']}"
        groups = [file[f"molecules/{name}"] for name in file["molecules"]]
        if not groups or any("forces" not in group for group in groups):
            raise ValueError(f"{path}: no forces; label without --no-forces")
        return concatenate([_labelled(group, level) for group in groups])


def _labelled(group: h5py.Group, level: str) -> EnergyData:
    return from_arrays(
        group["numbers"][:],
        group["positions"][:][None],
        HARTREE_IN_EV * group["energy"][()][None],
        forces=HARTREE_IN_EV / BOHR_IN_ANGSTROM * group["forces"][:][None],
        level=level,
        reference="total",
        charge=int(group.attrs["charge"]),
        spin=int(group.attrs["spin"]),
        name=str(group.attrs["name"]),
    )


def make_data(preset: Preset, seed: int, folder: Path, say: Callable[[str], None]) -> EnergyData:
    """Thermal geometries of the preset's molecule with labels from DFT, kept in `folder` for later runs."""
    if preset.smiles is None:
        raise ValueError("this preset has no data of its own: name a file with --data")
    own = 100 * (seed + 1)  # as in experiments.hamiltonian
    molecules = thermal(preset.smiles, preset.geometries, temperature=preset.temperature, seed=own)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{preset.smiles}-{preset.temperature:g}K-{preset.geometries}-{own}"
    method = f"{preset.method.xc}-{preset.method.basis}-{preset.method.grid_level}"
    source, target = folder / f"{name}.xyz", folder / f"{name}-{method}.h5"
    say(f"labelling {len(molecules)} geometries of {preset.smiles}; cache {target}")
    write_xyz(source, molecules)
    summary = label_file(source, target, Recipe(preset.method))
    if summary.failures:
        raise ValueError(f"no label for {len(summary.failures)} geometries: {summary.failures[0]}")
    return read_labels(target)


def split_data(
    data: EnergyData,
    *,
    train: int | None,
    validation: int | None,
    seed: int,
    test: EnergyData | None = None,
) -> Split:
    """Roles of the frames: the set's own where its groups name train and test, else drawn by `seed`.

    train, validation: numbers of frames, by default 95 % and 5 % of the set's own training frames, or 80 %
    and 10 % of all (90 % and 10 % with a `test` set of its own). The rest is for the test, which drops what
    is also in training or validation. Raises ValueError if there are not so many frames, or none to test.
    """
    published = set(data.group.tolist()) == {"train", "test"}
    if published:
        pool, rest = data[data.group == "train"], data[data.group == "test"]
    else:
        pool = rest = data[np.random.default_rng(seed).permutation(len(data))]
    count, held = _counts(len(pool), train, validation, published=published, tested=test is not None)
    if test is None:
        test = rest if published else rest[count + held :]
    used = pool[: count + held]
    known = set(_fingerprints(used))
    fresh = [mark not in known for mark in _fingerprints(test)]
    if not any(fresh):
        raise ValueError(
            f"nothing is left to test on: {len(test)} frames, all of them among the {len(used)} of training "
            "and validation; ask for fewer, or name another file with --test"
        )
    if not all(fresh):
        _log.warning(
            "%d of %d test frames are also in training or validation and left out",
            fresh.count(False),
            len(test),
        )
    return Split(used[:count], used[count:], test[np.flatnonzero(fresh)])


def _counts(
    total: int, train: int | None, validation: int | None, *, published: bool, tested: bool
) -> tuple[int, int]:
    share = 0.05 if published else 0.1
    if validation is None:
        validation = max(round(share * total), 1)
    if train is None:
        test = 0 if published or tested else max(round(share * total), 1)
        train = total - validation - test
    if train < 1 or validation < 1 or train + validation > total:
        raise ValueError(
            f"{train} frames to train and {validation} to validate, at least 1 of each, are asked for; "
            f"there are {total}"
        )
    return train, validation


def _fingerprints(data: EnergyData) -> list[bytes]:
    """What tells frames apart: elements and positions."""
    places = np.round(data.positions / SAME).astype(np.int64)
    bounds = zip(data.offsets[:-1], data.offsets[1:], strict=True)
    return [data.numbers[a:b].tobytes() + places[a:b].tobytes() for a, b in bounds]


def shared_graph(data: EnergyData) -> jraph.GraphsTuple | None:
    """The one graph of all frames, if they are of one composition in one order and one charge."""
    first = data[0].numbers
    same = np.all(data.n_atoms == len(first)) and np.all(data.charge == data.charge[0])
    if not same or not np.all(data.numbers.reshape(len(data), -1) == first):
        return None
    return jax.tree.map(jnp.asarray, frame_graph(first, data.positions[: len(first)], int(data.charge[0])))


def frame_graph(
    numbers: np.ndarray, positions: np.ndarray, charge: int, n_node: int | None = None
) -> jraph.GraphsTuple:
    """Graph of one frame with float32 positions, one padding node unless n_node says more; on the host."""
    n_node = len(numbers) + 1 if n_node is None else n_node
    n_edge = max((n_node - 1) * (n_node - 2), 1)
    graph = to_graph(np.asarray(numbers), positions.astype(np.float32), n_node=n_node, n_edge=n_edge)
    return with_charge(graph, charge)


def make_examples(data: EnergyData) -> tuple[Examples, jraph.GraphsTuple | None]:
    """Frames, their atoms' energies subtracted before, as float32 on the device; and the graph they share."""
    common = shared_graph(data)
    most = int(data.n_atoms.max())
    rows = np.arange(most) < data.n_atoms[:, None]
    assert data.forces is not None
    graph = None
    if common is None:
        graphs = [frame_graph(f.numbers, f.positions, f.charge, most + 1) for f in data]
        graph = jax.tree.map(jnp.asarray, stack_graphs(graphs))
    examples = Examples(
        positions=jnp.asarray(_padded(data.positions, rows)),
        energy=jnp.asarray(data.energy, jnp.float32),
        forces=jnp.asarray(_padded(data.forces, rows)),
        mask=None if common is not None else jnp.asarray(rows),
        graph=graph,
    )
    return examples, common


def _padded(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    padded = np.zeros((*rows.shape, 3), np.float32)
    padded[rows] = values
    return padded


def mean_neighbours(data: EnergyData, cutoff: float, frames: int = 100) -> float:
    """Average number of atoms within the cutoff (Å) of an atom, of evenly spaced frames of the set."""
    chosen = data[np.unique(np.linspace(0, len(data) - 1, frames).astype(int))]
    pairs = 0
    for frame in chosen:
        distance = np.linalg.norm(frame.positions[:, None] - frame.positions, axis=-1)
        pairs += int(np.sum(distance < cutoff)) - len(distance)
    return max(pairs / len(chosen.numbers), 1.0)
