"""Labels of many molecules, one after the other, with one compiled program for all of similar size."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any

import jax
import numpy as np
from pyscf import lib

from jaxphys import dft
from jaxphys.data import labels
from jaxphys.data.frames import Failure, Frame
from jaxphys.data.label_file import Label
from jaxphys.data.labels import Method
from jaxphys.dft.basis import normalise, shell_momenta
from jaxphys.dft.functionals import functional

COARSE_LEVEL = 1
"""Grid of the first SCF cycles, where the method's own is finer."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What labels are to be, and how they are computed.

    tolerance: of the orbital gradient in Ha, see `dft.scf`. forces, density, coefficients: whether a label
    has them.
    Raises ValueError for settings that no molecule could have.
    """

    method: Method = dataclasses.field(default_factory=lambda: Method(xc="b3lyp5", grid_level=3))
    tolerance: float = 1e-8
    max_cycles: int = 100
    forces: bool = True
    density: bool = False
    coefficients: bool = False

    def __post_init__(self):
        functional(self.method.xc)
        if self.method.grid_level not in range(10):
            raise ValueError(f"grid level must be from 0 (coarse) to 9, got {self.method.grid_level}")
        if not 0 < self.tolerance < 1:
            raise ValueError(
                f"tolerance must be a small positive number of Ha, e.g. 1e-8, got {self.tolerance}"
            )
        if self.max_cycles < 1:
            raise ValueError(f"the number of cycles must be at least 1, got {self.max_cycles}")


def header(recipe: Recipe) -> dict[str, Any]:
    """What all labels of one file share: method, tolerance and which datasets there are."""
    method = recipe.method
    optional = [name for name in ("forces", "density", "coefficients") if getattr(recipe, name)]
    return {
        "label_version": labels.FORMAT,
        "basis": normalise(method.basis),
        "xc": functional(method.xc).name,
        "auxbasis": "default" if method.auxbasis is None else normalise(method.auxbasis),
        "grid_level": int(method.grid_level),
        "tolerance": recipe.tolerance,
        "optional_datasets": " ".join(optional) or "none",
    }


def label_key(frame: Frame, recipe: Recipe) -> str:
    """SHA-256, in hexadecimal, of what a label depends on: `content_hash`, spin and tolerance."""
    content = labels.content_hash(frame.molecule, recipe.method)
    return hashlib.sha256(f"{content} {frame.spin} {recipe.tolerance!r}".encode()).hexdigest()


def check_basis(frames: Iterable[Frame], method: Method) -> None:
    """Raise ValueError if the basis sets know no element at all of the molecules: a slip of the pen.

    An element that is missing beside others is a failure of its molecules only.
    """
    elements = sorted({int(z) for frame in frames for z in frame.molecule.numbers})
    for basis in filter(None, (method.basis, method.auxbasis)):
        errors = []
        for number in elements:
            try:
                shell_momenta(number, basis)
            except ValueError as error:
                errors.append(error)
        if errors and len(errors) == len(elements):
            raise errors[0]


def solve_frames(
    frames: Mapping[str, Frame], recipe: Recipe, *, workers: int | None = None
) -> Iterator[tuple[str, Label | Failure]]:
    """Each molecule's label, or why there is none, under its key, about in the order of size.

    Molecules of one size bucket share one compiled program. workers: molecules at a time, by default one for
    each core. On a CPU that is the way to use all cores: XLA keeps to about one within a molecule, and
    `jax.vmap` copies the orbital values, which are most of the memory.
    """
    workers = workers or len(os.sched_getaffinity(0))
    waiting = iter(sorted(frames.items(), key=lambda item: _size(item[1])))
    with ThreadPoolExecutor(workers, initializer=_one_thread) as pool:
        running = {pool.submit(_outcome, frame, recipe): key for key, frame in islice(waiting, workers)}
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                # the next one starts before the caller has written this one
                for key, frame in islice(waiting, 1):
                    running[pool.submit(_outcome, frame, recipe)] = key
                yield running.pop(future), future.result()


def _one_thread() -> None:
    """PySCF's threads would only be in the way of the other molecules."""
    lib.num_threads(1)


def _outcome(frame: Frame, recipe: Recipe) -> Label | Failure:
    try:
        return _compute(frame, recipe)
    except Exception as error:  # PySCF, LAPACK and XLA have many kinds: one must not end a night's run
        return _failure(frame, error)


def _size(frame: Frame) -> tuple:
    """Puts molecules of one bucket beside each other, before their integrals are known."""
    numbers = frame.molecule.numbers
    return frame.spin > 0, len(numbers), int(numbers.sum()), frame.formula, frame.index


def _compute(frame: Frame, recipe: Recipe) -> Label | Failure:
    started = time.perf_counter()
    solution, arrays = _solution(frame, recipe)
    if not solution.converged:
        return fail(
            frame,
            f"the SCF did not converge in {int(solution.cycles)} cycles to {recipe.tolerance:g} Ha; "
            "check geometry, charge and spin, or allow more cycles",
        )
    names = ["energy", "fock", "orbital_energies"]
    names += [name for name in ("density", "coefficients") if getattr(recipe, name)]
    arrays |= {name: getattr(solution, name) for name in names}
    if recipe.forces:
        arrays["forces"] = _forces(frame, solution, recipe)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            return fail(frame, f"{name} is not finite")
    attributes = {
        "name": frame.molecule.name,
        "formula": frame.formula,
        "charge": frame.molecule.charge,
        "spin": frame.spin,
        "cycles": int(solution.cycles),
        "seconds": time.perf_counter() - started,
    }
    return Label(arrays, attributes)


def _solution(frame: Frame, recipe: Recipe) -> tuple[dft.SCFResult, dict[str, np.ndarray]]:
    """The solution, converged or not, and what else a label takes from the system."""
    numbers, positions = frame.molecule.numbers, frame.molecule.positions
    method = dataclasses.asdict(recipe.method)
    coarse = COARSE_LEVEL if recipe.method.grid_level > COARSE_LEVEL else None
    system = dft.kohn_sham(numbers, positions, **_state(frame), **method, coarse_level=coarse, padded=True)
    n = int(np.sum(np.diagonal(system.overlap) > 0))
    arrays = {
        "numbers": numbers,
        "positions": positions,
        "overlap": np.array(system.overlap[:n, :n]),
        "occupation": np.array(system.occupation[..., :n]),
    }
    system = jax.device_put(system)
    result, dipole = _solve(system, tolerance=recipe.tolerance, max_cycles=recipe.max_cycles)
    arrays["dipole"] = np.asarray(dipole)
    return _unpad(result, n), arrays


@functools.partial(jax.jit, static_argnames=("tolerance", "max_cycles"))
def _solve(system: dft.KohnSham, *, tolerance: float, max_cycles: int) -> tuple[dft.SCFResult, Any]:
    """`dft.scf` and `dft.dipole` in one program, compiled once for each bucket."""
    result = dft.scf(system, tolerance=tolerance, max_cycles=max_cycles)
    return result, dft.dipole(system, result.density)


def _unpad(result: dft.SCFResult, n: int) -> dft.SCFResult:
    """A solution of n orbitals in NumPy arrays of its own."""
    arrays = {}
    for name, rank in labels.RANKS.items():
        own: tuple[Any, ...] = (..., *(slice(n),) * rank)
        arrays[name] = np.array(np.asarray(getattr(result, name))[own])
    return dft.SCFResult(**arrays)


def _forces(frame: Frame, solution: dft.SCFResult, recipe: Recipe) -> np.ndarray:
    """Forces in Ha/Bohr, (a, 3)."""
    level = dataclasses.asdict(recipe.method)
    return dft.forces(frame.molecule.numbers, frame.molecule.positions, solution, **_state(frame), **level)


def _state(frame: Frame) -> dict[str, Any]:
    return {"charge": frame.molecule.charge, "spin": frame.spin or None}


def fail(frame: Frame, reason: str) -> Failure:
    """A frame's failure, for a reason of one line."""
    return Failure(frame.index, frame.formula, frame.molecule.name, reason)


def _failure(frame: Frame, error: Exception) -> Failure:
    text = " ".join(str(error).split())
    # A ValueError is written for people, but LAPACK's is one too.
    plain = isinstance(error, ValueError) and not isinstance(error, np.linalg.LinAlgError)
    return fail(frame, text if plain and text else f"{type(error).__name__}: {text}")
