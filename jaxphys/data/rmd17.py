"""rMD17: 100,000 frames of molecular dynamics for each of ten molecules, one npz file a molecule."""

import os
from pathlib import Path
from typing import Literal

import numpy as np

from jaxphys.data.energy_checks import check_energies
from jaxphys.data.energy_data import EnergyData, concatenate, from_arrays
from jaxphys.data.files import check_keys, existing_file, npz_keys, read_npz
from jaxphys.units import KCAL_PER_MOL_IN_EV

LEVEL = "PBE/def2-SVP"

_KINDS = ("train", "test")


def read_rmd17(
    path: str | os.PathLike,
    *,
    subset: Literal["all", "train", "test"] = "all",
    split: int = 1,
    splits: str | os.PathLike | None = None,
    drop_invalid: bool = False,
) -> EnergyData:
    """Total energies in eV and forces in eV/Å of one molecule.

    The file is that of the archive, rmd17_<molecule>.npz with nuclear_charges, coords, energies and forces
    in Å and kcal/mol; or one cut to a split, with z, R_train, E_train, F_train and the same of test, in Å
    and eV. subset: the training or the test structures. Of the archive's file these are the numbers in
    index_train_<split>.csv and index_test_<split>.csv, split 1 to 5, in the folder `splits`, by default that
    of the archive beside npz_data/. A file cut to a split has one only: `split` and `splits` do not matter.
    group: train or test where the file says it. name: the molecule.
    Raises FileNotFoundError if the file or the index is not there, or ValueError: missing keys, an index
    beyond the file or twice, and as `check_energies`.
    Source: Christensen and von Lilienfeld 2020, Mach. Learn.: Sci. Technol. 1, 045018; figshare 12672038.
    """
    path = existing_file(path)
    keys = npz_keys(path)
    if "nuclear_charges" in keys:
        data = _archive(path)
        if subset != "all":
            data = data[_read_index(_index_file(path, subset, split, splits), len(data))]
    elif "R_train" in keys:
        kinds = _KINDS if subset == "all" else (subset,)
        data = concatenate([_cut(path, kind) for kind in kinds])
    else:
        check_keys(path, keys, ("nuclear_charges", "coords", "energies", "forces"))
    return check_energies(data, path, drop_invalid=drop_invalid)


def _archive(path: Path) -> EnergyData:
    arrays = read_npz(path, ("nuclear_charges", "coords", "energies", "forces"))
    return from_arrays(
        arrays["nuclear_charges"],
        arrays["coords"],
        KCAL_PER_MOL_IN_EV * arrays["energies"],
        forces=KCAL_PER_MOL_IN_EV * arrays["forces"],
        level=LEVEL,
        reference="total",
        name=_molecule(path),
    )


def _cut(path: Path, kind: str) -> EnergyData:
    arrays = read_npz(path, ("z", f"R_{kind}", f"E_{kind}", f"F_{kind}"))
    return from_arrays(
        arrays["z"],
        arrays[f"R_{kind}"],
        arrays[f"E_{kind}"],
        forces=arrays[f"F_{kind}"],
        level=LEVEL,
        reference="total",
        name=_molecule(path),
        group=kind,
    )


def _molecule(path: Path) -> str:
    return path.stem.removeprefix("rmd17_").split("_split")[0]


def _index_file(path: Path, subset: str, split: int, splits: str | os.PathLike | None) -> Path:
    folder = path.resolve().parent.parent / "splits" if splits is None else Path(splits)
    index = folder / f"index_{subset}_{split:02d}.csv"
    if not index.is_file():
        raise FileNotFoundError(
            f"{index}: no such file; name the archive's folder of index_{subset}_01.csv to 05 with splits="
        )
    return index


def _read_index(path: Path, n_frames: int) -> np.ndarray:
    try:
        index = np.loadtxt(path, dtype=np.int64, ndmin=1)
    except ValueError as error:
        raise ValueError(f"{path}: expected one whole number a line ({error})") from None
    outside = (index < 0) | (index >= n_frames)
    if outside.any():
        raise ValueError(f"{path}: index {index[outside][0]} of a file of {n_frames} frames")
    values, counts = np.unique(index, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"{path}: index {values[counts > 1][0]} stands there {counts.max()} times")
    return index
