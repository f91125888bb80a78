"""Labels of many molecules, one after the other, with one compiled program for all of similar size."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
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
from jaxphys.dft.becke import grid_template
from jaxphys.dft.functionals import functional

COARSE_LEVEL = 1
"""Grid of the first SCF cycles, where the method's own is finer."""

SHARE = 0.8
"""Of a memory, what a run takes by default."""

COPIES = 2.2
"""How often a molecule's orbital values and fitting tensors exist at once, other arrays counted in."""


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
    frames: Mapping[str, Frame], recipe: Recipe, *, memory: float | None = None, workers: int | None = None
) -> Iterator[tuple[str, Label | Failure]]:
    """Each molecule's label, or why there is none, under its key, about in the order of size.

    Molecules of one size bucket share one compiled program. workers: molecules at a time, by default one for
    each core. On a CPU that is the way to use all cores: XLA keeps to about one within a molecule, and
    `jax.vmap` copies the orbital values, which are most of the memory. memory: in GB, by default a share of
    the machine's; fewer molecules at a time where they would need more, but always one.
    """
    workers = workers or len(os.sched_getaffinity(0))
    memory = machine_memory() if memory is None else memory
    waiting = deque(sorted(frames.items(), key=lambda item: _size(item[1])))
    running: dict[Future, tuple[str, float]] = {}
    with ThreadPoolExecutor(workers, initializer=one_thread) as pool:

        def start() -> None:
            while waiting and len(running) < workers:
                key, frame = waiting[0]
                needed = _gigabytes(frame, recipe.method)
                if running and sum(taken for _, taken in running.values()) + needed > memory:
                    return
                waiting.popleft()
                running[pool.submit(_outcome, frame, recipe)] = key, needed

        start()
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            finished = [(running.pop(future)[0], future.result()) for future in done]
            start()  # the next ones start before the caller has written these
            yield from finished


def machine_memory() -> float:
    """What a run takes by default of this machine's memory, GB."""
    return SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9


def _gigabytes(frame: Frame, method: Method) -> float:
    """About what `_compute` takes at its highest: some copies of the largest arrays; 0 where it will fail."""
    try:
        sizes = [_element(z, method) for z in frame.molecule.numbers.tolist()]
    except ValueError:
        return 0.0
    n, points = (sum(column) for column in zip(*sizes, strict=True))
    level = functional(method.xc)
    tensors = 0.5 + (level.exact_exchange > 0) + 2 * (level.range_separation is not None)
    auxiliaries = 5 * n
    return COPIES * 8e-9 * n * ((4 if level.needs_gradient else 1) * points + tensors * n * auxiliaries)


@functools.cache
def _element(number: int, method: Method) -> tuple[int, int]:
    """Orbitals of an atom, and its points on both grids."""
    levels = {method.grid_level, min(method.grid_level, COARSE_LEVEL)}
    points = sum(len(grid_template([number], level).volumes) for level in levels)
    return sum(2 * l + 1 for l in shell_momenta(number, method.basis)), points


def one_thread() -> None:
    """PySCF's threads would only be in the way of the other molecules."""
    lib.num_threads(1)


def _outcome(frame: Frame, recipe: Recipe) -> Label | Failure:
    try:
        return _compute(frame, recipe)
    except Exception as error:  # PySCF, LAPACK and XLA have many kinds: one must not end a night's run
        return failure_of(frame, error)


def _size(frame: Frame) -> tuple:
    """Puts molecules of one bucket beside each other, before their integrals are known."""
    numbers = frame.molecule.numbers
    return frame.spin > 0, len(numbers), int(numbers.sum()), frame.formula, frame.index


def _compute(frame: Frame, recipe: Recipe) -> Label | Failure:
    started = time.perf_counter()
    solution, arrays = _solution(frame, recipe)
    if recipe.forces and solution.converged:
        arrays["forces"] = _forces(frame, solution, recipe)
    return make_label(frame, recipe, solution, arrays, time.perf_counter() - started)


def make_label(
    frame: Frame,
    recipe: Recipe,
    solution: dft.SCFResult,
    arrays: Mapping[str, np.ndarray],
    seconds: float,
) -> Label | Failure:
    """A label from a solution without padding and what else it takes, or why there is none."""
    if not solution.converged:
        return fail(
            frame,
            f"the SCF did not converge in {int(solution.cycles)} cycles to {recipe.tolerance:g} Ha; "
            "check geometry, charge and spin, or allow more cycles",
        )
    names = ["energy", "fock", "orbital_energies"]
    names += [name for name in ("density", "coefficients") if getattr(recipe, name)]
    arrays = {**arrays, **{name: getattr(solution, name) for name in names}}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            return fail(frame, f"{name} is not finite")
    attributes = {
        "name": frame.molecule.name,
        "formula": frame.formula,
        "charge": frame.molecule.charge,
        "spin": frame.spin,
        "cycles": int(solution.cycles),
        "seconds": seconds,
    }
    return Label(arrays, attributes)


def _solution(frame: Frame, recipe: Recipe) -> tuple[dft.SCFResult, dict[str, np.ndarray]]:
    """The solution, converged or not, and what else a label takes from the system."""
    numbers, positions = frame.molecule.numbers, frame.molecule.positions
    method = dataclasses.asdict(recipe.method)
    coarse = COARSE_LEVEL if recipe.method.grid_level > COARSE_LEVEL else None
    system = dft.kohn_sham(numbers, positions, **state(frame), **method, coarse_level=coarse, padded=True)
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
    return unpad(result, n), arrays


@functools.partial(jax.jit, static_argnames=("tolerance", "max_cycles"))
def _solve(system: dft.KohnSham, *, tolerance: float, max_cycles: int) -> tuple[dft.SCFResult, Any]:
    """`dft.scf` and `dft.dipole` in one program, compiled once for each bucket."""
    result = dft.scf(system, tolerance=tolerance, max_cycles=max_cycles)
    return result, dft.dipole(system, result.density)


def unpad(result: dft.SCFResult, n: int) -> dft.SCFResult:
    """A solution of n orbitals in NumPy arrays of its own."""
    arrays = {}
    for name, rank in labels.RANKS.items():
        own: tuple[Any, ...] = (..., *(slice(n),) * rank)
        arrays[name] = np.array(np.asarray(getattr(result, name))[own])
    return dft.SCFResult(**arrays)


def _forces(frame: Frame, solution: dft.SCFResult, recipe: Recipe) -> np.ndarray:
    """Forces in Ha/Bohr, (a, 3)."""
    level = dataclasses.asdict(recipe.method)
    return dft.forces(frame.molecule.numbers, frame.molecule.positions, solution, **state(frame), **level)


def state(frame: Frame) -> dict[str, Any]:
    """Charge and spin in the arguments of `dft.kohn_sham`."""
    return {"charge": frame.molecule.charge, "spin": frame.spin or None}


def fail(frame: Frame, reason: str) -> Failure:
    """A frame's failure, for a reason of one line."""
    return Failure(frame.index, frame.formula, frame.molecule.name, reason)


def failure_of(frame: Frame, error: Exception) -> Failure:
    """A frame's failure, from what was raised."""
    text = " ".join(str(error).split())
    # A ValueError is written for people, but LAPACK's is one too.
    plain = isinstance(error, ValueError) and not isinstance(error, np.linalg.LinAlgError)
    return fail(frame, text if plain and text else f"{type(error).__name__}: {text}")
