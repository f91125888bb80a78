"""Energies, forces and minima of the tight-binding method GFN2-xTB, each molecule's kept on disk."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator
from ase.optimize import LBFGS
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from jaxphys.data import label_cache
from jaxphys.data.energy_data import EnergyData
from jaxphys.data.frames import Failure
from jaxphys.data.label_cache import Descent, Label
from jaxphys.molecule import Molecule

METHODS = ("GFN2-xTB", "GFN1-xTB")


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
    function = functools.partial(_single_point, method)
    labels = _labels(molecules, function, ["energy", method], cache, processes)
    return label_cache.collect_all(molecules, labels, level=method, reference="valence")


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
    label_cache.check_limits(fmax, max_steps)
    function = functools.partial(_minimum, method, fmax, max_steps)
    labels = _labels(molecules, function, ["minimum", method, fmax, max_steps], cache, processes)
    return label_cache.collect(molecules, labels, level=method, reference="valence")


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
    label_cache.check_limits(fmax, max_steps)
    function = functools.partial(_minimum, method, fmax, max_steps)
    labels = _labels(molecules, function, ["descent", method, fmax, max_steps], cache, processes)
    return label_cache.collect_descents(molecules, labels)


def xtb_hessian(
    molecule: Molecule, *, method: str = "GFN2-xTB", step: float = 0.005
) -> Float[np.ndarray, "k k"]:
    """Second derivatives in eV/Å² by all coordinates, (3n, 3n), from forces at ± step in Å.

    Raises ASE's CalculationFailed where the method fails, the rest as `xtb_energies`.
    """
    atoms = _atoms(method, molecule)
    coordinates = molecule.positions.ravel()

    def forces(moved: np.ndarray) -> np.ndarray:
        atoms.set_positions(moved.reshape(-1, 3))
        return atoms.get_forces().ravel()

    with threadpool_limits(limits=1):
        rows = [
            (forces(coordinates - shift) - forces(coordinates + shift)) / (2 * step)
            for shift in step * np.eye(coordinates.size)
        ]
    hessian = np.stack(rows)
    return (hessian + hessian.T) / 2


def _single_point(method: str, molecule: Molecule) -> Label:
    return label_cache.label_of(_atoms(method, molecule))


def _minimum(method: str, fmax: float, max_steps: int, molecule: Molecule) -> Label:
    atoms = _atoms(method, molecule)
    start = {"start_energy": np.asarray(atoms.get_potential_energy())}
    quiet: Any = None  # ASE's annotation leaves it out
    if not LBFGS(atoms, logfile=quiet).run(fmax=fmax, steps=max_steps):
        return {"reason": f"no minimum to {fmax} eV/Å within {max_steps} steps of {method}"}
    return label_cache.label_of(atoms) | start


def _atoms(method: str, molecule: Molecule) -> Atoms:
    charges = np.zeros(len(molecule.numbers))
    charges[0] = molecule.charge  # tblite takes their sum
    atoms = Atoms(molecule.numbers, molecule.positions, charges=charges)
    atoms.calc = xtb_calculator(method)
    return atoms


def _attempt(function: Callable[[Molecule], Label], molecule: Molecule) -> Label:
    """A failure of the method is a result; everything else is an error. On one thread, as it is fastest."""
    xtb_calculator()  # a library is limited only once it is loaded
    with threadpool_limits(limits=1):
        try:
            return function(molecule)
        except (CalculationFailed, RuntimeError) as error:
            return label_cache.reason_of(error)


def _labels(
    molecules: Sequence[Molecule],
    function: Callable[[Molecule], Label],
    what: list[Any],
    cache: str | os.PathLike | None,
    processes: int,
) -> list[Label]:
    xtb_calculator(what[1])  # what is wrong with it is to be said once, and here
    attempt = functools.partial(_attempt, function)
    return label_cache.find_labels(molecules, attempt, what, cache=cache, processes=processes)
