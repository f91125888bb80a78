"""OC20 IS2RE: adsorbates on surfaces, before and after relaxation, as LMDB files. Needs the package lmdb."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxphys.data.energy_checks import check_energies
from jaxphys.data.energy_data import EnergyData, EnergyFrame, from_frames
from jaxphys.data.files import check_keys, one_line
from jaxphys.data.torch_pickle import read_pickle, read_record

LEVEL = "RPBE, plane waves and PAW (VASP)"

_KEYS = ("atomic_numbers", "pos", "cell", "natoms", "tags", "fixed", "sid")
_LABELS = {"initial": ("pos", "y_init"), "relaxed": ("pos_relaxed", "y_relaxed")}


def read_oc20_is2re(
    path: str | os.PathLike,
    *,
    state: Literal["initial", "relaxed"] = "relaxed",
    forces: bool = False,
    drop_invalid: bool = False,
) -> EnergyData:
    """Structures before or after relaxation, with their energies of adsorption in eV.

    path: data.lmdb, or a folder that holds data.mdb. Its keys are 0, 1 and so on, with or without "length";
    its values pickled records of torch_geometric, old or new, read without torch: pos, pos_relaxed (n, 3)
    and cell (1, 3, 3) in Å, atomic_numbers, natoms, tags, fixed, sid, and y_init, y_relaxed in eV, those of
    the structure less clean surface and free adsorbate. The task that gives the set its name is from the
    initial structure to the relaxed energy: both states are read in the same order, the same sids.
    forces: whether to read `force`, in eV/Å, which belongs to the initial structure.
    cell is kept, periodic in all directions. tags: 0 below the surface, 1 surface, 2 adsorbate. fixed: held
    in the relaxation. group: the sid.
    Raises FileNotFoundError; ImportError that says what to install; or ValueError with the record: a file
    that is damaged or truncated, records or fields that are missing (the test sets have no labels), a
    record that names more than tensors, and as `check_energies`.
    Source: Chanussot et al. 2021, ACS Catal. 11, 6059.
    """
    if forces and state != "initial":
        raise ValueError("forces belong to the initial structure; read state='initial', or forces=False")
    with _open(path) as records:
        frames = [_frame(f"{path}, record {i}", content, state, forces) for i, content in enumerate(records)]
    if not frames:
        raise ValueError(f"{path}: empty; it should hold at least one record")
    data = from_frames(frames, level=LEVEL, reference="adsorption")
    return check_energies(data, path, drop_invalid=drop_invalid)


@contextlib.contextmanager
def _open(path: str | os.PathLike) -> Iterator[Iterator[bytes]]:
    """The records of a database, in order."""
    try:
        import lmdb
    except ImportError:
        raise ImportError('OC20 needs the package lmdb: pip install "jaxphys[data]"') from None
    path = Path(path)
    file = path / "data.mdb" if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file")
    try:
        with lmdb.open(
            str(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False
        ) as database:
            # Beyond the end of a mapped file the system kills the process: nothing to catch later.
            needed = (database.info()["last_pgno"] + 1) * database.stat()["psize"]
            if file.stat().st_size < needed:
                raise ValueError(f"{file}: truncated; {needed} bytes announced, it has {file.stat().st_size}")
            with database.begin() as transaction:
                yield _records(file, transaction, database.stat()["entries"])
    except lmdb.Error as error:
        raise ValueError(f"{file}: not an LMDB file, truncated or damaged ({one_line(error)})") from None


def _records(file: Path, transaction: Any, entries: int) -> Iterator[bytes]:
    length = transaction.get(b"length")
    count = entries if length is None else _length(file, length)
    if length is not None and count != entries - 1:
        raise ValueError(f"{file}: its length is {count}, but there are {entries - 1} records")
    for i in range(count):
        content = transaction.get(str(i).encode("ascii"))
        if content is None:
            raise ValueError(f"{file}: record {i} of {count} is missing")
        yield content


def _length(file: Path, content: bytes) -> int:
    length = read_pickle(content)
    if not isinstance(length, int | np.integer) or length < 0:
        raise ValueError(f"{file}: its length is {length!r}, not a number of records")
    return int(length)


def _frame(where: str, content: bytes, state: str, forces: bool) -> EnergyFrame:
    try:
        fields = read_record(content)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    positions, energy = _LABELS[state]
    wanted = [*_KEYS, positions, energy, *(["force"] if forces else [])]
    if energy not in fields:
        raise ValueError(f"{where}: no {energy}; the test sets are published without labels")
    check_keys(where, sorted(fields), wanted)
    n = int(fields["natoms"])
    shapes = {"atomic_numbers": (n,), positions: (n, 3), "tags": (n,), "fixed": (n,), "cell": (1, 3, 3)}
    if forces:
        shapes["force"] = (n, 3)
    for key, shape in shapes.items():
        if np.shape(fields[key]) != shape:
            raise ValueError(f"{where}: {key} must have shape {shape}, got {np.shape(fields[key])}")
    return EnergyFrame(
        numbers=fields["atomic_numbers"].astype(np.int32),  # stored as floats
        positions=fields[positions].astype(np.float64),
        energy=float(fields[energy]),
        forces=fields["force"].astype(np.float64) if forces else None,
        cell=fields["cell"][0].astype(np.float64),
        pbc=np.ones(3, dtype=bool),
        tags=fields["tags"].astype(np.int64),
        fixed=fields["fixed"].astype(bool),
        group=str(fields["sid"]),
    )
