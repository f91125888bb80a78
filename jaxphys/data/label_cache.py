"""Labels of molecules one by one: each computed once, on several processes, and kept on disk under a hash."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import multiprocessing
import os
import uuid
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float
from tqdm import tqdm

from jaxphys.data.energy_data import EnergyData, EnergyFrame, from_frames
from jaxphys.data.frames import Failure
from jaxphys.molecule import Molecule

FORMAT = 1
"""To be raised whenever a molecule would get another label; older files are then left alone."""

Label = dict[str, Any]
"""Arrays "positions" in Å, "energy" in eV, "forces" in eV/Å; or "reason", why there are none."""


@dataclasses.dataclass(frozen=True, eq=False)
class Descent:
    """Energies in eV of a geometry and of the minimum next to it, whose positions are (n, 3) in Å."""

    start_energy: float
    energy: float
    positions: Float[np.ndarray, "n 3"]


def find_labels(
    molecules: Sequence[Molecule],
    function: Callable[[Molecule], Label],
    what: list[Any],
    *,
    cache: str | os.PathLike | None,
    processes: int,
    threads: bool = False,
) -> list[Label]:
    """A label for each closed-shell molecule, from the cache or computed and put there; equal ones once.

    function: makes a label, with a reason in place of numbers where the method fails; what else it raises
    ends all. what: all that a label depends on but the molecule, for JSON: its kind, the level of theory, and
    settings; so labels of several levels may share a folder, and are never taken for each other. cache: that
    folder, or None to keep nothing. processes: how many work at a time; with more than one, `function` has to
    be picklable, and a script needs a main guard, but not if they are threads, which share compiled programs.
    Raises ValueError for no molecules, odd numbers of electrons, and processes below 1.
    """
    _check(molecules, processes)
    folder = None if cache is None else Path(cache)
    keys = [_key(what, molecule) for molecule in molecules]
    found = {} if folder is None else {key: label for key in {*keys} if (label := _read(folder, key))}
    missing = {key: m for key, m in zip(keys, molecules, strict=True) if key not in found}
    with (_threads if threads else _processes)(min(processes, len(missing))) as mapping:
        results = mapping(function, missing.values())
        for key, label in tqdm(
            zip(missing, results, strict=True), f"{what[1]:12s}", len(missing), disable=None
        ):
            found[key] = label
            if folder is not None:
                _write(folder, key, label)
    return [found[key] for key in keys]


def collect(
    molecules: Sequence[Molecule], labels: Sequence[Label], *, level: str, reference: str
) -> tuple[EnergyData, list[Failure]]:
    """The labels as one set, and the failures. Raises ValueError if there is nothing but failures."""
    frames, failures = [], []
    for index, (molecule, label) in enumerate(zip(molecules, labels, strict=True)):
        if "reason" in label:
            failures.append(_failure(index, molecule, label))
            continue
        frames.append(
            EnergyFrame(
                molecule.numbers,
                label["positions"],
                float(label["energy"]),
                label["forces"],
                charge=molecule.charge,
                name=molecule.name,
            )
        )
    if not frames:
        raise ValueError(f"{level} gives no label for any of {len(molecules)} molecules: {failures[0]}")
    return from_frames(frames, level=level, reference=reference), failures


def collect_all(
    molecules: Sequence[Molecule], labels: Sequence[Label], *, level: str, reference: str
) -> EnergyData:
    """The labels as one set. Raises ValueError for any failure, naming the first."""
    data, failures = collect(molecules, labels, level=level, reference=reference)
    if failures:
        raise ValueError(f"{level} fails for {len(failures)} of {len(molecules)} molecules: {failures[0]}")
    return data


def collect_descents(molecules: Sequence[Molecule], labels: Sequence[Label]) -> list[Descent | Failure]:
    """Labels that have a "start_energy" in eV too, in the order given."""
    return [
        _failure(index, molecule, label)
        if "reason" in label
        else Descent(float(label["start_energy"]), float(label["energy"]), label["positions"])
        for index, (molecule, label) in enumerate(zip(molecules, labels, strict=True))
    ]


def reason_of(error: Exception) -> Label:
    """In place of a label, what was raised, in one line."""
    return {"reason": " ".join(str(error).split()) or type(error).__name__}


def label_of(atoms: Atoms) -> Label:
    """Label of a geometry whose calculator has done its work."""
    return {
        "positions": atoms.get_positions(),
        "energy": np.asarray(atoms.get_potential_energy()),
        "forces": atoms.get_forces(),
    }


def check_limits(fmax: float, max_steps: int) -> None:
    """Raise ValueError for limits by which no minimum can be found."""
    if not fmax > 0 or max_steps < 1:
        raise ValueError(f"fmax and max_steps must be positive, got {fmax} and {max_steps}")


@contextlib.contextmanager
def _processes(processes: int) -> Iterator[Callable[..., Any]]:
    """`map`, or that of a pool. Its processes are started anew: a fork of JAX's threads may hang."""
    if processes < 2:
        yield map
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield pool.imap


@contextlib.contextmanager
def _threads(threads: int) -> Iterator[Callable[..., Any]]:
    """`map` by threads, that start nothing new once the caller has stopped."""
    pool = ThreadPoolExecutor(max(threads, 1))
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)


def _check(molecules: Sequence[Molecule], processes: int) -> None:
    if not molecules:
        raise ValueError("no molecules to label")
    if processes < 1:
        raise ValueError(f"processes must be at least 1, got {processes}")
    for index, molecule in enumerate(molecules):
        electrons = int(molecule.numbers.sum()) - molecule.charge
        if electrons % 2:
            raise ValueError(
                f"molecule {index} ({molecule.name or _formula(molecule)}) has {electrons} electrons: "
                "labels are for closed shells, which have an even number"
            )


def _failure(index: int, molecule: Molecule, label: Label) -> Failure:
    return Failure(index, _formula(molecule), molecule.name, str(label["reason"]))


def _formula(molecule: Molecule) -> str:
    return Atoms(molecule.numbers).get_chemical_formula("hill")


def _key(what: list[Any], molecule: Molecule) -> str:
    head = json.dumps([FORMAT, *what, molecule.charge, len(molecule.numbers)])
    return hashlib.sha256(
        head.encode() + molecule.numbers.tobytes() + molecule.positions.tobytes()
    ).hexdigest()[:32]


def _read(folder: Path, key: str) -> Label | None:
    """A label of the cache; a damaged one counts as none and is computed again."""
    try:
        with np.load(folder / f"{key}.npz", allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _write(folder: Path, key: str, label: Label) -> None:
    """In full or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{key}.{uuid.uuid4().hex}.tmp"
    with open(aside, "wb") as file:
        np.savez(file, **label)
    os.replace(aside, folder / f"{key}.npz")
