"""Transition1x: reaction paths of 10,073 reactions of C, H, N and O, one HDF5 file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Literal

import h5py

from jaxphys.data.energy_checks import check_energies
from jaxphys.data.energy_data import EnergyData, concatenate, from_arrays
from jaxphys.data.files import check_keys, open_hdf5

LEVEL = "ωB97x/6-31G(d)"

ATOMIC_ENERGIES = {
    1: -13.62222753701504,
    6: -1029.4130839658328,
    7: -1484.8710358098756,
    8: -2041.8396277138045,
    9: -2712.8213146878606,
}
"""eV, those of the set's own loader."""

_ENERGY, _FORCES = "wB97x_6-31G(d).energy", "wB97x_6-31G(d).forces"
_KEYS = ("atomic_numbers", "positions", _ENERGY, _FORCES)


def read_transition1x(
    path: str | os.PathLike,
    *,
    split: Literal["data", "train", "val", "test"] = "data",
    endpoints_only: bool = False,
    drop_invalid: bool = False,
) -> EnergyData:
    """Total energies in eV and forces in eV/Å of the frames of a split, "data" being all.

    The file holds /<split>/<formula>/<reaction>/ with atomic_numbers (n,), positions (frames, n, 3) in Å,
    energies in eV and forces in eV/Å, named after the level, and with groups of one frame each: reactant,
    transition_state and product; the splits but "data" are links. Read are, as in the set's own loader, of
    each reaction reactant, product and the frames of its path, the transition state among them; with
    `endpoints_only` reactant, transition state and product.
    name: reactant, product, transition_state or path. group: <formula>/<reaction>.
    Raises FileNotFoundError, or ValueError: a split or dataset that is not there, a damaged file, an empty
    split, and as `check_energies`.
    Source: Schreiner et al. 2022, Sci. Data 9, 779.
    """
    with open_hdf5(path) as file:
        check_keys(path, list(file), (split,))
        sets = list(_reactions(path, file[split], endpoints_only))
    if not sets:
        raise ValueError(f"{path}: split {split!r} is empty")
    return check_energies(concatenate(sets), path, drop_invalid=drop_invalid)


def _reactions(path: object, split: h5py.Group, endpoints_only: bool) -> Iterator[EnergyData]:
    ends = ("reactant", "transition_state", "product") if endpoints_only else ("reactant", "product")
    for formula, reactions in split.items():
        for reaction in reactions:
            group = reactions[reaction]  # `items` gives None for a link that leads nowhere
            where = f"{path}, {formula}/{reaction}"
            check_keys(where, list(group), ends)
            for end in ends:
                yield _frames(f"{where}/{end}", group[end], end, f"{formula}/{reaction}")
            if not endpoints_only:
                yield _frames(where, group, "path", f"{formula}/{reaction}")


def _frames(where: str, group: h5py.Group, name: str, reaction: str) -> EnergyData:
    check_keys(where, list(group), _KEYS)
    try:
        return from_arrays(
            group["atomic_numbers"][:],
            group["positions"][:],
            group[_ENERGY][:],
            forces=group[_FORCES][:],
            level=LEVEL,
            reference="total",
            name=name,
            group=reaction,
            atomic_energies=ATOMIC_ENERGIES,
        )
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
