"""Structures with energies and forces: one labelled set, on the host."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from jaxphys.molecule import Molecule

REFERENCES = {
    "total": "total energies of all electrons and nuclei",
    "valence": "total energies of pseudo-atoms: the zero is that of the program and its pseudopotentials",
    "atomisation": "energies above the separate neutral atoms: negative for whatever is bound",
    "formation": "energies above separate atoms and ions, as the set defines them",
    "adsorption": "energies above the clean surface and the free adsorbate",
    "strain": "energies of a force field: only those of one molecule can be compared",
    "mixed": "of several kinds, joined on request",
}
"""What energies are measured from."""

TEXT = np.dtypes.StringDType()

_PER_ATOM = ("numbers", "positions", "forces", "tags", "fixed")
_PER_FRAME = ("energy", "cell", "pbc", "charge", "spin", "name", "group")


@dataclasses.dataclass(frozen=True, eq=False)
class EnergyFrame:
    """One structure of a set, its fields as in `EnergyData`."""

    numbers: Int[np.ndarray, n]
    positions: Float[np.ndarray, "n 3"]
    energy: float
    forces: Float[np.ndarray, "n 3"] | None = None
    cell: Float[np.ndarray, "3 3"] | None = None
    pbc: Bool[np.ndarray, 3] | None = None
    charge: int = 0
    spin: int = 0
    name: str = ""
    group: str = ""
    tags: Int[np.ndarray, n] | None = None
    fixed: Bool[np.ndarray, n] | None = None

    @property
    def molecule(self) -> Molecule:
        """Without its labels. Raises ValueError if it is periodic, or as `check_molecule` does."""
        if self.pbc is not None and self.pbc.any():
            raise ValueError("a periodic structure is no molecule; use its numbers, positions and cell")
        return Molecule(self.numbers, self.positions, charge=self.charge, name=self.name)


@dataclasses.dataclass(frozen=True, eq=False)
class EnergyData:
    """Structures of any size with their energies, one after the other in flat arrays; read-only.

    Frame i owns the atoms offsets[i] to offsets[i + 1]. numbers: (atoms,). positions: (atoms, 3) in Å.
    energy: (frames,) in eV. forces: (atoms, 3) in eV/Å, minus the gradient. charge: (frames,) in e. spin:
    (frames,) number of unpaired electrons. name, group: (frames,) text, the SMILES where there is one, and
    what the set sorts its frames by. cell: (frames, 3, 3) in Å, rows are the vectors, with pbc: (frames, 3).
    tags: (atoms,) whole numbers of the set's own. fixed: (atoms,) atoms held in place. What the set has not
    is None.

    level: level of theory. reference: a key of `REFERENCES`. atomic_energies: eV of isolated neutral atoms
    at that level, by atomic number, where known. subtracted: eV by atomic number taken off `energy` by
    `subtract_atomic_energies`, None if nothing was: `reference` speaks of the energies before.

    len, iteration and data[3] give frames as `EnergyFrame`; slices, masks and arrays of indices give sets.
    Raises ValueError if the arrays do not fit each other. What the numbers mean is checked by
    `check_energies`, as every reader does.
    """

    numbers: Int[np.ndarray, atoms]
    positions: Float[np.ndarray, "atoms 3"]
    offsets: Int[np.ndarray, bounds]
    energy: Float[np.ndarray, frames]
    charge: Int[np.ndarray, frames]
    spin: Int[np.ndarray, frames]
    name: np.ndarray
    group: np.ndarray
    level: str
    reference: str
    forces: Float[np.ndarray, "atoms 3"] | None = None
    cell: Float[np.ndarray, "frames 3 3"] | None = None
    pbc: Bool[np.ndarray, "frames 3"] | None = None
    tags: Int[np.ndarray, atoms] | None = None
    fixed: Bool[np.ndarray, atoms] | None = None
    atomic_energies: Mapping[int, float] | None = None
    subtracted: Mapping[int, float] | None = None

    def __post_init__(self):
        if self.reference not in REFERENCES:
            raise ValueError(f"reference must be one of {', '.join(REFERENCES)}, got {self.reference!r}")
        if (self.cell is None) != (self.pbc is None):
            raise ValueError("cell and pbc come together or not at all")
        _check_offsets(self.offsets, len(self.numbers))
        sizes = dict.fromkeys(_PER_ATOM, len(self.numbers)) | dict.fromkeys(_PER_FRAME, len(self))
        for field, size in sizes.items():
            array = getattr(self, field)
            if array is None:
                continue
            if len(array) != size:
                raise ValueError(f"{field} must have {size} rows, got {len(array)}")
            view = array.view()
            view.setflags(write=False)
            # A frozen dataclass admits no other way to set its own fields.
            object.__setattr__(self, field, view)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[EnergyFrame]:
        return (self._frame(i) for i in range(len(self)))

    def __getitem__(self, index):
        if isinstance(index, int | np.integer):
            if not -len(self) <= index < len(self):
                raise IndexError(f"frame {index} of a set of {len(self)}")
            return self._frame(int(index) % len(self))
        # A mask of another length would be an error here.
        return self._take(np.arange(len(self))[index])

    @property
    def n_atoms(self) -> Int[np.ndarray, frames]:
        """Atoms of each frame."""
        return np.diff(self.offsets)

    @property
    def frame_of_atom(self) -> Int[np.ndarray, atoms]:
        """The frame that each atom belongs to."""
        return np.repeat(np.arange(len(self)), self.n_atoms)

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, in order."""
        return tuple(np.unique(self.numbers).tolist())

    def select(
        self,
        *,
        elements: Collection[int] | None = None,
        max_atoms: int | None = None,
        groups: Collection[str] | None = None,
        names: Collection[str] | None = None,
        charge: int | None = None,
    ) -> EnergyData:
        """The frames that meet every condition given.

        elements: frames of these alone. groups, names: frames whose group, name is among these.
        Raises ValueError if there are none.
        """
        kept = np.ones(len(self), dtype=bool)
        if elements is not None:
            kept &= np.logical_and.reduceat(np.isin(self.numbers, list(elements)), self.offsets[:-1])
        if max_atoms is not None:
            kept &= self.n_atoms <= max_atoms
        if groups is not None:
            kept &= _is_among(self.group, groups)
        if names is not None:
            kept &= _is_among(self.name, names)
        if charge is not None:
            kept &= self.charge == charge
        if not kept.any():
            raise ValueError(f"none of the {len(self)} frames meets the conditions")
        return self[kept]

    def _frame(self, i: int) -> EnergyFrame:
        atoms = slice(self.offsets[i], self.offsets[i + 1])
        parts: dict[str, Any] = {field: _part(getattr(self, field), atoms) for field in _PER_ATOM}
        return EnergyFrame(
            energy=float(self.energy[i]),
            cell=_part(self.cell, i),
            pbc=_part(self.pbc, i),
            charge=int(self.charge[i]),
            spin=int(self.spin[i]),
            name=str(self.name[i]),
            group=str(self.group[i]),
            **parts,
        )

    def _take(self, frames: np.ndarray) -> EnergyData:
        counts = self.n_atoms[frames]
        offsets = _offsets(counts)
        atoms = np.repeat(self.offsets[frames] - offsets[:-1], counts) + np.arange(offsets[-1])
        parts: dict[str, Any] = {field: _part(getattr(self, field), atoms) for field in _PER_ATOM}
        parts |= {field: _part(getattr(self, field), frames) for field in _PER_FRAME}
        return dataclasses.replace(self, offsets=offsets, **parts)


def from_arrays(
    numbers: ArrayLike,
    positions: ArrayLike,
    energy: ArrayLike,
    *,
    level: str,
    reference: str,
    forces: ArrayLike | None = None,
    charge: int = 0,
    spin: int = 0,
    name: str = "",
    group: str = "",
    atomic_energies: Mapping[int, float] | None = None,
) -> EnergyData:
    """Many conformations of one molecule.

    numbers: (n,). positions: (frames, n, 3) in Å. energy: (frames,) in eV. forces: (frames, n, 3) in eV/Å.
    Raises ValueError if the shapes do not match.
    """
    numbers = np.asarray(numbers, dtype=np.int32)
    positions, energy = np.asarray(positions, dtype=np.float64), np.asarray(energy, dtype=np.float64)
    forces = None if forces is None else np.asarray(forces, dtype=np.float64)
    shape = (len(energy), len(numbers), 3)
    for what, array in (("positions", positions), ("forces", forces)):
        if array is not None and array.shape != shape:
            raise ValueError(f"{what} of {shape[0]} energies and {shape[1]} atoms must have shape {shape}, "
                             f"got {array.shape}")  # fmt: skip
    return EnergyData(
        numbers=np.tile(numbers, len(energy)),
        positions=positions.reshape(-1, 3),
        offsets=len(numbers) * np.arange(len(energy) + 1),
        energy=energy,
        forces=None if forces is None else forces.reshape(-1, 3),
        charge=np.full(len(energy), charge),
        spin=np.full(len(energy), spin),
        name=np.full(len(energy), name, dtype=TEXT),
        group=np.full(len(energy), group, dtype=TEXT),
        level=level,
        reference=reference,
        atomic_energies=atomic_energies,
    )


def from_frames(
    frames: Sequence[EnergyFrame],
    *,
    level: str,
    reference: str,
    atomic_energies: Mapping[int, float] | None = None,
) -> EnergyData:
    """A set of frames; those without a cell count as isolated.

    Raises ValueError if there are none, or only some have forces, tags or fixed atoms.
    """
    if not frames:
        raise ValueError("a set needs at least one frame, got none")
    cell = pbc = None
    if any(frame.cell is not None for frame in frames):
        cell = np.stack([np.zeros((3, 3)) if frame.cell is None else frame.cell for frame in frames])
        pbc = np.stack([np.zeros(3, dtype=bool) if frame.pbc is None else frame.pbc for frame in frames])
    return EnergyData(
        numbers=np.concatenate([frame.numbers for frame in frames]).astype(np.int32),
        positions=np.concatenate([frame.positions for frame in frames]).astype(np.float64),
        offsets=_offsets(np.array([len(frame.numbers) for frame in frames])),
        energy=np.array([frame.energy for frame in frames], dtype=np.float64),
        charge=np.array([frame.charge for frame in frames]),
        spin=np.array([frame.spin for frame in frames]),
        name=np.array([frame.name for frame in frames], dtype=TEXT),
        group=np.array([frame.group for frame in frames], dtype=TEXT),
        forces=_join([frame.forces for frame in frames], "forces", "frame"),
        tags=_join([frame.tags for frame in frames], "tags", "frame"),
        fixed=_join([frame.fixed for frame in frames], "fixed", "frame"),
        cell=cell,
        pbc=pbc,
        level=level,
        reference=reference,
        atomic_energies=atomic_energies,
    )


def concatenate(sets: Sequence[EnergyData], *, mixed: bool = False) -> EnergyData:
    """Several sets as one, in order.

    mixed: join sets of different level of theory or reference; the result names all levels, its reference
    is "mixed" where they differ, and atomic energies are kept only where all agree.
    Raises ValueError if there are none; if level or reference differ and `mixed` is not set; if what was
    subtracted differs; if some have forces, tags or fixed atoms and others not.
    """
    if not sets:
        raise ValueError("a set needs at least one part, got none")
    first = sets[0]
    for other in sets[1:]:
        _check_same_kind(first, other, mixed)
    levels = list(dict.fromkeys(part.level for part in sets))
    references = {part.reference for part in sets}
    parts = {field: np.concatenate([getattr(part, field) for part in sets])
             for field in ("numbers", "positions", "energy", "charge", "spin", "name", "group")}  # fmt: skip
    if any(part.cell is not None for part in sets):
        parts["cell"] = np.concatenate([_or_zeros(part.cell, (len(part), 3, 3), float) for part in sets])
        parts["pbc"] = np.concatenate([_or_zeros(part.pbc, (len(part), 3), bool) for part in sets])
    return EnergyData(
        **parts,
        offsets=_offsets(np.concatenate([part.n_atoms for part in sets])),
        forces=_join([part.forces for part in sets], "forces", "set"),
        tags=_join([part.tags for part in sets], "tags", "set"),
        fixed=_join([part.fixed for part in sets], "fixed", "set"),
        level=" + ".join(levels),
        reference=first.reference if len(references) == 1 else "mixed",
        atomic_energies=_common([part.atomic_energies for part in sets]),
        subtracted=first.subtracted,
    )


def _check_same_kind(one: EnergyData, other: EnergyData, mixed: bool) -> None:
    if one.subtracted != other.subtracted:
        raise ValueError(
            f"atomic energies {one.subtracted} and {other.subtracted} were subtracted; "
            "use restore_atomic_energies first, and subtract those of the whole"
        )
    for what in ("level", "reference"):
        a, b = getattr(one, what), getattr(other, what)
        if a != b and not mixed:
            raise ValueError(
                f"energies of {what} {a!r} and {b!r} do not compare; convert one set, or pass mixed=True to "
                "join them all the same"
            )


def _check_offsets(offsets: np.ndarray, n_atoms: int) -> None:
    if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != n_atoms or (np.diff(offsets) < 1).any():
        raise ValueError(
            f"offsets must rise from 0 to the {n_atoms} atoms, at least one atom a frame, got {offsets}"
        )


def _offsets(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)])


def _part(array: np.ndarray | None, index) -> np.ndarray | None:
    return None if array is None else array[index]


def _join(arrays: Sequence[np.ndarray | None], what: str, where: str) -> np.ndarray | None:
    present = [array for array in arrays if array is not None]
    if not present:
        return None
    if len(present) < len(arrays):
        missing = next(i for i, array in enumerate(arrays) if array is None)
        raise ValueError(
            f"{where} {missing} has no {what}, others have; all or none must: dataclasses.replace("
            f"data, {what}=None) leaves them out"
        )
    joined = np.concatenate(present)
    return joined.astype({"forces": np.float64, "tags": np.int64, "fixed": np.bool_}[what], copy=False)


def _or_zeros(array: np.ndarray | None, shape: tuple[int, ...], kind: type) -> np.ndarray:
    return np.zeros(shape, dtype=kind) if array is None else array


def _common(mappings: Sequence[Mapping[int, float] | None]) -> Mapping[int, float] | None:
    return functools.reduce(lambda one, other: one if one == other else None, mappings)


def _is_among(texts: np.ndarray, wanted: Collection[str]) -> np.ndarray:
    return np.fromiter((text in wanted for text in texts), dtype=bool, count=len(texts))
