"""QM7 as one npz file: 7,101 small organic molecules at their minima, with energies of atomisation."""

import os
from typing import Literal

import numpy as np

from jaxphys.data.energy_checks import check_energies
from jaxphys.data.energy_data import EnergyData, EnergyFrame, from_frames
from jaxphys.data.files import read_npz
from jaxphys.units import KCAL_PER_MOL_IN_EV

LEVELS = {"pbe0": "PBE0/def2-TZVP", "dftb": "DFTB"}


def read_qm7(
    path: str | os.PathLike, *, method: Literal["pbe0", "dftb"] = "pbe0", drop_invalid: bool = False
) -> EnergyData:
    """QM7's molecules with energies of atomisation in eV, without zero-point energy; there are no forces.

    The file holds Z (molecules, 23), 0 for no atom, R_angstrom, natoms, fname, and E_pbe0_kcal, or for
    comparison E_dftb_kcal, in kcal/mol: energies above the free atoms, negative. group: the file's fname.
    Raises FileNotFoundError, or ValueError: missing keys, atoms beyond natoms, and as `check_energies`.
    Source: Rupp et al. 2012, Phys. Rev. Lett. 108, 058301, in the form of github.com/qmlcode/qml.
    """
    energies = f"E_{method}_kcal"
    arrays = read_npz(path, ("Z", "R_angstrom", "natoms", "fname", energies))
    numbers, natoms = arrays["Z"].astype(np.int32), arrays["natoms"]
    real = np.arange(numbers.shape[1]) < natoms[:, None]
    wrong = ((numbers > 0) != real).any(axis=1)
    if wrong.any():
        i = int(wrong.argmax())
        raise ValueError(f"{path}, frame {i}: natoms says {natoms[i]}, Z has {np.count_nonzero(numbers[i])}")
    positions = arrays["R_angstrom"].astype(np.float64)
    frames = [
        EnergyFrame(numbers[i, :n], positions[i, :n], float(energy), group=str(name))
        for i, (n, energy, name) in enumerate(
            zip(natoms, KCAL_PER_MOL_IN_EV * arrays[energies], arrays["fname"], strict=True)
        )
    ]
    if not frames:
        raise ValueError(f"{path}: empty; it should hold at least one molecule")
    data = from_frames(frames, level=LEVELS[method], reference="atomisation")
    return check_energies(data, path, drop_invalid=drop_invalid)
