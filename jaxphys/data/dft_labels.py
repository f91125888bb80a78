"""Energies, forces and minima of density functional theory, each molecule's kept on disk; as `xtb`."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.optimize import BFGS
from threadpoolctl import threadpool_limits

from jaxphys.data import label_cache
from jaxphys.data.bulk import one_thread
from jaxphys.data.energy_data import EnergyData
from jaxphys.data.frames import Failure
from jaxphys.data.label_cache import Descent, Label
from jaxphys.data.labels import Method
from jaxphys.data.xtb import xtb_calculator, xtb_hessian
from jaxphys.dft.basis import normalise, shell_momenta
from jaxphys.dft.functionals import functional
from jaxphys.energies import EnergyCalculator, dft
from jaxphys.molecule import Molecule

TOLERANCE = 1e-6
"""Of the orbital gradient in Ha: it leaves 1e-10 eV, and 1e-4 eV/Å."""

SOFTEST = 0.5
"""eV/Å², at the least, in any direction, when a descent begins: softer modes would take too long steps."""

_one_hessian = threading.Lock()  # tblite does not say whether it may run in two threads


def level_name(method: Method) -> str:
    """As the field writes it, e.g. B3LYP5/def2-svp."""
    return f"{functional(method.xc).name.upper()}/{method.basis}"


def dft_energies(
    molecules: Sequence[Molecule],
    method: Method,
    *,
    cache: str | os.PathLike | None = None,
    processes: int = 1,
) -> EnergyData:
    """Energies in eV and forces in eV/Å of closed-shell molecules as they stand; on the host, with libcint.

    cache: a folder in which each molecule's label is kept, under a hash of all that it depends on.
    processes: how many molecules at a time, threads of one process that share its compiled programs.
    JAX's 64-bit mode may be off: it is on for the labels alone.
    Raises ValueError for no molecules, for odd numbers of electrons, an unknown method, elements that the
    basis has not, and naming the first molecule for which the method fails.
    """
    labels = _labels(molecules, method, _single_point, ["energy"], cache, processes)
    return label_cache.collect_all(molecules, labels, level=level_name(method), reference="total")


def dft_descents(
    molecules: Sequence[Molecule],
    method: Method,
    *,
    cache: str | os.PathLike | None = None,
    processes: int = 1,
    fmax: float = 0.02,
    max_steps: int = 100,
) -> list[Descent | Failure]:
    """How far each closed-shell molecule lies above the minimum next to it, in the order given.

    fmax: in eV/Å, of an atom, for ASE's BFGS, which begins with the Hessian of GFN2-xTB and needs a third of
    the steps for it. What fails costs itself alone: its place holds the reason. The rest as `dft_energies`.
    Raises as it does for wrong arguments only, and ModuleNotFoundError without tblite.
    """
    label_cache.check_limits(fmax, max_steps)
    xtb_calculator()
    function = functools.partial(_minimum, fmax, max_steps)
    labels = _labels(molecules, method, function, ["descent", fmax, max_steps], cache, processes)
    return label_cache.collect_descents(molecules, labels)


def _single_point(molecule: Molecule, method: Method) -> Label:
    return label_cache.label_of(_atoms(molecule, method))


def _minimum(fmax: float, max_steps: int, molecule: Molecule, method: Method) -> Label:
    atoms = _atoms(molecule, method)
    start = {"start_energy": np.asarray(atoms.get_potential_energy())}
    quiet: Any = None  # ASE's annotation leaves it out
    optimizer = BFGS(atoms, logfile=quiet)
    # where the cheap method fails, the dear one may still find its way
    with contextlib.suppress(CalculationFailed, RuntimeError):
        optimizer.H0 = _stiffness(molecule)
    if not optimizer.run(fmax=fmax, steps=max_steps):
        return {"reason": f"no minimum to {fmax} eV/Å within {max_steps} steps of {level_name(method)}"}
    return label_cache.label_of(atoms) | start


def _stiffness(molecule: Molecule) -> np.ndarray:
    """A positive definite matrix in eV/Å², (3n, 3n), from the Hessian of GFN2-xTB."""
    with _one_hessian:
        curvatures, modes = np.linalg.eigh(xtb_hessian(molecule))
    return (modes * np.maximum(np.abs(curvatures), SOFTEST)) @ modes.T


def _atoms(molecule: Molecule, method: Method) -> Atoms:
    energy = dft(
        molecule.numbers,
        charge=molecule.charge,
        basis=method.basis,
        xc=method.xc,
        auxbasis=method.auxbasis,
        grid_level=method.grid_level,
        integrals="libcint",
        tolerance=TOLERANCE,
    )
    atoms = Atoms(molecule.numbers, molecule.positions)
    atoms.calc = EnergyCalculator(energy)
    return atoms


def _attempt(function: Callable[[Molecule, Method], Label], method: Method, molecule: Molecule) -> Label:
    """A failure of the method is a result. One core a molecule: XLA uses no more within it."""
    one_thread()
    with jax.enable_x64(True), threadpool_limits(limits=1):
        try:
            return function(molecule, method)
        except (CalculationFailed, RuntimeError, ValueError) as error:
            return label_cache.reason_of(error)


def _labels(
    molecules: Sequence[Molecule],
    method: Method,
    function: Callable[[Molecule, Method], Label],
    what: list[Any],
    cache: str | os.PathLike | None,
    processes: int,
) -> list[Label]:
    for number in sorted({int(z) for molecule in molecules for z in molecule.numbers}):
        for basis in filter(None, (method.basis, method.auxbasis)):
            shell_momenta(number, basis)  # says what it has not
    settings = [normalise(method.basis), functional(method.xc).name, method.auxbasis, method.grid_level]
    return label_cache.find_labels(
        molecules,
        functools.partial(_attempt, function, method),
        [what[0], level_name(method), *what[1:], *settings, TOLERANCE],
        cache=cache,
        processes=processes,
        threads=True,
    )
