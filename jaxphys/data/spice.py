"""SPICE 1 and 2: drug-like molecules, peptides, dimers, ions and water, one HDF5 file."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Literal

import h5py
import numpy as np
from rdkit import Chem

from jaxphys.data.energy_checks import check_energies
from jaxphys.data.energy_data import EnergyData, concatenate, from_arrays
from jaxphys.data.files import check_keys, open_hdf5
from jaxphys.units import BOHR_IN_ANGSTROM, HARTREE_IN_EV

LEVEL = "ωB97M-D3(BJ)/def2-TZVPPD"

ATOMIC_ENERGIES = {
    1: HARTREE_IN_EV * -0.4987605100487531,
    6: HARTREE_IN_EV * -37.87264507233593,
    7: HARTREE_IN_EV * -54.62327513368922,
    8: HARTREE_IN_EV * -75.11317840410095,
    9: HARTREE_IN_EV * -99.78611622985483,
    15: HARTREE_IN_EV * -341.3059197024934,
    16: HARTREE_IN_EV * -398.1599636677874,
    17: HARTREE_IN_EV * -460.1988762285739,
    35: HARTREE_IN_EV * -2574.1167240829964,
    53: HARTREE_IN_EV * -297.76228914445625,
}
"""eV of neutral atoms, those of the set's own formation energies; of metals it has ions only."""

_ENERGIES = {"total": "dft_total_energy", "formation": "formation_energy"}
_UNITS = {
    "conformations": "bohr",
    "dft_total_energy": "hartree",
    "formation_energy": "hartree",
    "dft_total_gradient": "hartree/bohr",
}


def read_spice(
    path: str | os.PathLike,
    *,
    reference: Literal["total", "formation"] = "total",
    subsets: Collection[str] | None = None,
    forces: bool = True,
    drop_invalid: bool = False,
) -> EnergyData:
    """Energies in eV, and forces in eV/Å, of every conformation.

    The file holds one group a molecule: smiles (1,) with explicit hydrogens, subset (1,), atomic_numbers
    (n,), conformations (m, n, 3) in Bohr, dft_total_energy and formation_energy (m,) in Hartree, and
    dft_total_gradient (m, n, 3) in Hartree/Bohr, each with its attribute `units`. The formation energy is
    that above the separate atoms, those that are charged chosen to suit the molecule's charge and be lowest.
    subsets: names of those to read, by default all. forces: False for files made without the gradient.
    The charge is that of the SMILES. name: the SMILES. group: the subset.
    Raises FileNotFoundError, or ValueError: a subset or dataset that is not there, another unit, a damaged
    file, and as `check_energies`.
    Source: Eastman et al. 2023, Sci. Data 10, 11; Eastman et al. 2024, J. Chem. Theory Comput. 20, 8583.
    """
    sets, seen = [], set()
    with open_hdf5(path) as file:
        for key in file:
            group = file[key]  # `items` gives None for damage
            where = f"{path}, {key!r}"
            needed = ("smiles", "subset", "atomic_numbers", "conformations", _ENERGIES[reference])
            check_keys(where, list(group), (*needed, "dft_total_gradient") if forces else needed)
            subset = group["subset"].asstr()[0]
            seen.add(subset)
            if subsets is None or subset in subsets:
                sets.append(_conformations(where, group, subset, reference, forces))
    for subset in subsets or ():
        if subset not in seen:
            raise ValueError(f"{path}: no subset {subset!r}; there are {', '.join(sorted(seen))}")
    if not sets:
        raise ValueError(f"{path}: empty; it should hold at least one molecule")
    return check_energies(concatenate(sets), path, drop_invalid=drop_invalid)


def _conformations(where: str, group: h5py.Group, subset: str, reference: str, forces: bool) -> EnergyData:
    smiles = group["smiles"].asstr()[0]
    gradient = _read(where, group, "dft_total_gradient") if forces else None
    try:
        return from_arrays(
            group["atomic_numbers"][:],
            BOHR_IN_ANGSTROM * _read(where, group, "conformations"),
            HARTREE_IN_EV * _read(where, group, _ENERGIES[reference]),
            forces=None if gradient is None else -HARTREE_IN_EV / BOHR_IN_ANGSTROM * gradient,
            charge=_charge(smiles),
            name=smiles,
            group=subset,
            level=LEVEL,
            reference=reference,
            atomic_energies=ATOMIC_ENERGIES,
        )
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _read(where: str, group: h5py.Group, key: str) -> np.ndarray:
    """An array in the unit that the format has for it."""
    dataset = group[key]
    unit = dataset.attrs.get("units", _UNITS[key])
    if unit != _UNITS[key]:
        raise ValueError(f"{where}: {key} is in {unit!r}, expected {_UNITS[key]!r}")
    return dataset[:].astype(np.float64)


def _charge(smiles: str) -> int:
    # Unsanitised: RDKit refuses the valences of some ions, and their charges are all that matters.
    mol = Chem.MolFromSmiles(smiles, sanitize=False)
    if mol is None:
        raise ValueError(f"cannot read the SMILES {smiles!r}")
    return Chem.GetFormalCharge(mol)
