"""Energies, forces and minima of the tight-binding method GFN2-xTB, each molecule's kept on disk."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import multiprocessing
import os
import uuid
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator
from ase.optimize import LBFGS
from jaxtyping import Float
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from jaxphys.data.energy_data import EnergyData, EnergyFrame, from_frames
from jaxphys.data.frames import Failure
from jaxphys.molecule import Molecule

FORMAT = 1
"""To be raised whenever a molecule would get another label; older files are then left alone."""

METHODS = ("GFN2-xTB", "GFN1-xTB")

Label = dict[str, Any]  # "positions", "energy", "forces"; or "reason", why there is none


def xtb_calculator(method: str = "GFN2-xTB") -> Calculator:
    """ASE's calculator of a molecule, with energies in eV and forces in eV/Å.

    Raises ModuleNotFoundError without tblite, ValueError for an unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    try:
        from tblite.ase import TBLite
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "xTB labels need tblite, which is not installed: pip install 'jaxphys[xtb]'", name=error.name
        ) from None
    return TBLite(method=method, verbosity=0)


def xtb_energies(
    molecules: Sequence[Molecule],
    *,
    cache: str | os.PathLike | None = None,
    method: str = "GFN2-xTB",
    processes: int = 1,
) -> EnergyData:
    """Energies in eV and forces in eV/Å of closed-shell molecules as they stand.

    cache: a folder in which each molecule's label is kept, under a hash of all that it depends on.
    processes: how many work at a time, one thread each; with more than one, a script needs a main guard.
    Source: Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 15, 1652 (2019), by tblite.
    Raises ValueError for no molecules, for odd numbers of electrons, and naming the first molecule for which
    the method fails; ModuleNotFoundError without tblite.
    """
    labels = _labels(
        molecules, functools.partial(_single_point, method), ["energy", method], cache, processes
    )
    data, failures = _collect(molecules, labels, method)
    if failures:
        raise ValueError(f"{method} fails for {len(failures)} of {len(molecules)} molecules: {failures[0]}")
    return data


def xtb_minima(
    molecules: Sequence[Molecule],
    *,
    cache: str | os.PathLike | None = None,
    method: str = "GFN2-xTB",
    processes: int = 1,
    fmax: float = 0.005,
    max_steps: int = 500,
) -> tuple[EnergyData, list[Failure]]:
    """The minimum next to each closed-shell molecule, with its energy and what is left of its forces.

    fmax: in eV/Å, of an atom, for ASE's LBFGS; the rest as for `xtb_energies`. Molecules that find no minimum
    within max_steps are left out, and named in the failures. Which minimum it is, only the start decides;
    whether its bonds are still those of the start is for the caller to see.
    Raises as `xtb_energies`, but for failures only if no molecule is left.
    """
    _check_limits(fmax, max_steps)
    function = functools.partial(_minimum, method, fmax, max_steps)
    labels = _labels(molecules, function, ["minimum", method, fmax, max_steps], cache, processes)
    return _collect(molecules, labels, method)


@dataclasses.dataclass(frozen=True, eq=False)
class Descent:
    """Energies in eV of a geometry and of the minimum next to it, whose positions are (n, 3) in Å."""

    start_energy: float
    energy: float
    positions: Float[np.ndarray, "n 3"]


def xtb_descents(
    molecules: Sequence[Molecule],
    *,
    cache: str | os.PathLike | None = None,
    method: str = "GFN2-xTB",
    processes: int = 1,
    fmax: float = 0.005,
    max_steps: int = 500,
) -> list[Descent | Failure]:
    """How far each closed-shell molecule lies above the minimum next to it, in the order given.

    As `xtb_energies` and `xtb_minima` at once, but what fails costs itself alone: its place holds the reason.
    Raises as they do for wrong arguments only.
    """
    _check_limits(fmax, max_steps)
    function = functools.partial(_minimum, method, fmax, max_steps)
    labels = _labels(molecules, function, ["descent", method, fmax, max_steps], cache, processes)
    return [
        Failure(index, _formula(molecule), molecule.name, str(label["reason"]))
        if "reason" in label
        else Descent(float(label["start_energy"]), float(label["energy"]), label["positions"])
        for index, (molecule, label) in enumerate(zip(molecules, labels, strict=True))
    ]


def _single_point(method: str, molecule: Molecule) -> Label:
    return _label(_atoms(method, molecule))


def _minimum(method: str, fmax: float, max_steps: int, molecule: Molecule) -> Label:
    atoms = _atoms(method, molecule)
    start = {"start_energy": np.asarray(atoms.get_potential_energy())}
    quiet: Any = None  # ASE's annotation leaves it out
    if not LBFGS(atoms, logfile=quiet).run(fmax=fmax, steps=max_steps):
        return {"reason": f"no minimum to {fmax} eV/Å within {max_steps} steps of {method}"}
    return _label(atoms) | start


def _atoms(method: str, molecule: Molecule) -> Atoms:
    charges = np.zeros(len(molecule.numbers))
    charges[0] = molecule.charge  # tblite takes their sum
    atoms = Atoms(molecule.numbers, molecule.positions, charges=charges)
    atoms.calc = xtb_calculator(method)
    return atoms


def _label(atoms: Atoms) -> Label:
    return {
        "positions": atoms.get_positions(),
        "energy": np.asarray(atoms.get_potential_energy()),
        "forces": atoms.get_forces(),
    }


def _attempt(function: Callable[[Molecule], Label], molecule: Molecule) -> Label:
    """A failure of the method is a result; everything else is an error. On one thread, as it is fastest."""
    xtb_calculator()  # a library is limited only once it is loaded
    with threadpool_limits(limits=1):
        try:
            return function(molecule)
        except (CalculationFailed, RuntimeError) as error:
            return {"reason": " ".join(str(error).split()) or type(error).__name__}


def _labels(
    molecules: Sequence[Molecule],
    function: Callable[[Molecule], Label],
    what: list[Any],
    cache: str | os.PathLike | None,
    processes: int,
) -> list[Label]:
    """A label for each molecule, from the cache or computed and put there; equal ones once."""
    _check(molecules, what[1], processes)
    folder = None if cache is None else Path(cache)
    keys = [_key(what, molecule) for molecule in molecules]
    found = {} if folder is None else {key: label for key in {*keys} if (label := _read(folder, key))}
    missing = {key: m for key, m in zip(keys, molecules, strict=True) if key not in found}
    with _mapping(min(processes, len(missing))) as mapping:
        results = mapping(functools.partial(_attempt, function), missing.values())
        for key, label in tqdm(
            zip(missing, results, strict=True), f"{what[1]:12s}", len(missing), disable=None
        ):
            found[key] = label
            if folder is not None:
                _write(folder, key, label)
    return [found[key] for key in keys]


@contextlib.contextmanager
def _mapping(processes: int) -> Iterator[Callable[..., Any]]:
    """`map`, or that of a pool. Its processes are started anew: a fork of JAX's threads may hang."""
    if processes < 2:
        yield map
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield pool.imap


def _check_limits(fmax: float, max_steps: int) -> None:
    if not fmax > 0 or max_steps < 1:
        raise ValueError(f"fmax and max_steps must be positive, got {fmax} and {max_steps}")


def _check(molecules: Sequence[Molecule], method: str, processes: int) -> None:
    xtb_calculator(method)
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


def _collect(
    molecules: Sequence[Molecule], labels: Sequence[Label], method: str
) -> tuple[EnergyData, list[Failure]]:
    frames, failures = [], []
    for index, (molecule, label) in enumerate(zip(molecules, labels, strict=True)):
        if "reason" in label:
            failures.append(Failure(index, _formula(molecule), molecule.name, str(label["reason"])))
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
        raise ValueError(f"{method} gives no label for any of {len(molecules)} molecules: {failures[0]}")
    return from_frames(frames, level=method, reference="valence"), failures


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
