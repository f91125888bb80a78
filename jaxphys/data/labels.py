"""Labels from density functional theory: Kohn–Sham solutions, computed in batches and kept on disk."""

import dataclasses
import functools
import hashlib
import json
import logging
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import ase.symbols
import jax
import numpy as np

from jaxphys import dft
from jaxphys.dft.basis import normalise, shell_momenta
from jaxphys.dft.functionals import functional
from jaxphys.molecule import Molecule
from jaxphys.units import BOHR_IN_ANGSTROM

FORMAT = 1
"""To be raised whenever a molecule and method would get another label; older files are then left alone."""

TOLERANCE = 1e-8  # Ha, of the orbital gradient: see dft.scf
MAX_CYCLES = 50

RANKS = {
    "energy": 0,
    "fock": 2,
    "density": 2,
    "orbital_energies": 1,
    "coefficients": 2,
    "converged": 0,
    "cycles": 0,
}
"""Number of axes, each of n orbitals, of every array of a label."""

_NAMED = 3  # molecules that one error names

# Not `warnings`: a file that heals itself asks nothing of the caller, must not stop a run under -W error, and
# takes one line. Without any set-up, Python writes it to stderr.
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Method:
    """A level of theory, in the arguments of `dft.kohn_sham`."""

    basis: str = "def2-svp"
    xc: str = "pbe"
    auxbasis: str | None = None
    grid_level: int = 0


def build_systems(molecules: Sequence[Molecule], method: Method) -> list[dft.KohnSham]:
    """The Kohn–Sham system of each molecule, on the host: `dft.kohn_sham`, one after the other.

    Raises ValueError as `dft.kohn_sham` does, with the molecule's index and formula.
    """
    settings = dataclasses.asdict(method)
    systems = []
    for index, molecule in enumerate(molecules):
        try:
            system = dft.kohn_sham(molecule.numbers, molecule.positions, charge=molecule.charge, **settings)
        except ValueError as error:
            raise ValueError(f"{_describe(index, molecule)}: {error}") from error
        systems.append(system)
    return systems


def label(
    molecules: Sequence[Molecule],
    systems: Sequence[dft.KohnSham],
    method: Method,
    *,
    cache: str | Path | None,
    batch: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> list[dft.SCFResult]:
    """Converged Kohn–Sham solutions of the molecules, as NumPy arrays without padding, Ha and float64.

    systems: `build_systems(molecules, method)`. batch: molecules solved together; batches are filled up with
    copies, so that each size bucket compiles one program, whatever the number of molecules.
    cache: folder of labels, one file each under its `content_hash`, or None to keep nothing. What is there is
    read; each finished batch is written at once, so that a kill loses one batch at most. Runs may share it. A
    damaged file is logged, computed anew and replaced.
    progress: called with (done, total) in molecules, after reading and after each batch is written.

    Raises ValueError if systems and molecules do not belong together, and, after all others are computed and
    written, if the SCF of a molecule does not converge.
    """
    _check_arguments(molecules, systems, method, batch)
    folder = None if cache is None else _open_folder(Path(cache))
    keys = [content_hash(molecule, method) for molecule in molecules]
    unique, copies = dict(zip(keys, systems, strict=True)), Counter(keys)
    results = _read_known(folder, unique)
    _report(progress, copies, results)
    for solved in _solutions({key: unique[key] for key in unique if key not in results}, batch):
        _write_converged(folder, solved)
        results |= solved
        _report(progress, copies, results)
    labels = [results[key] for key in keys]
    _require_converged(labels, molecules, folder)
    return labels


def content_hash(molecule: Molecule, method: Method) -> str:
    """SHA-256, in hexadecimal, of what a label depends on: elements, positions, charge, method and tolerance.

    Positions count to the last bit. Names of basis sets and functionals count as `dft` compares them. The
    molecule's own name does not count.
    """
    settings = {
        "format": FORMAT,
        "charge": molecule.charge,
        "basis": normalise(method.basis),
        "xc": functional(method.xc).name,
        "auxbasis": None if method.auxbasis is None else normalise(method.auxbasis),
        "grid_level": int(method.grid_level),
        "tolerance": TOLERANCE,
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode() + b"\n")
    digest.update(molecule.numbers.astype("<i8").tobytes())
    digest.update(molecule.positions.astype("<f8").tobytes())
    return digest.hexdigest()


@functools.partial(jax.jit, static_argnames=("tolerance", "max_cycles"))
def solve_batch(systems: dft.KohnSham, *, tolerance: float, max_cycles: int) -> dft.SCFResult:
    """`dft.scf` of a stack of systems, compiled once for each of its shapes. tolerance: Ha."""
    return jax.vmap(functools.partial(dft.scf, tolerance=tolerance, max_cycles=max_cycles))(systems)


def write_label(path: Path, result: dft.SCFResult) -> None:
    """Write one label, without padding, to a file named after its content hash; complete or not at all."""
    arrays = {name: getattr(result, name) for name in RANKS}
    # Unique, since other runs may write the same label; not `tempfile`, whose files nobody else may read.
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            np.savez(file, key=path.stem, checksum=_checksum(path.stem, arrays), **arrays)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_label(path: Path, n: int) -> dft.SCFResult:
    """One label of n orbitals from a file that `write_label` wrote.

    Raises FileNotFoundError if there is none, and ValueError with the reason if it is not to be trusted:
    unreadable, incomplete, of another molecule or shape, altered, not finite or not converged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in RANKS}
            key, checksum = str(archive["key"]), str(archive["checksum"])
    except FileNotFoundError:
        raise
    except Exception as error:  # zipfile, zlib, struct and NumPy raise types of many kinds
        reason = " ".join(str(error).split())
        raise ValueError(f"unreadable or incomplete, {type(error).__name__}: {reason}") from error
    if key != path.stem:
        raise ValueError(f"it belongs to another label, {key[:16]}…")
    for name, rank in RANKS.items():
        array, shape, dtype = arrays[name], (n,) * rank, _dtype(name)
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(f"{name} should be {dtype}{list(shape)}, is {array.dtype}{list(array.shape)}")
    if checksum != _checksum(key, arrays):
        raise ValueError("its checksum does not match")
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{name} is not finite")
    if not arrays["converged"]:
        raise ValueError("it is not converged")
    return dft.SCFResult(**arrays)


def _dtype(name: str) -> np.dtype:
    return np.dtype({"converged": "bool", "cycles": "int64"}.get(name, "float64"))


def _checksum(key: str, arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(key.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
    return digest.hexdigest()


def _path(folder: Path, key: str) -> Path:
    return folder / f"{key}.npz"


def _open_folder(folder: Path) -> Path:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"cache must be a folder, but {folder} is a file")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _read_known(folder: Path | None, systems: dict[str, dft.KohnSham]) -> dict[str, dft.SCFResult]:
    """The labels that the folder has, by key; damaged ones are logged and left out."""
    results: dict[str, dft.SCFResult] = {}
    if folder is None:
        return results
    for key, system in systems.items():
        path = _path(folder, key)
        try:
            results[key] = read_label(path, dft.sizes(system).orbitals)
        except FileNotFoundError:
            continue
        except ValueError as error:
            _log.warning("%s: label not usable, computed anew (%s)", path, error)
    return results


def _write_converged(folder: Path | None, results: dict[str, dft.SCFResult]) -> None:
    for key, result in results.items():
        if folder is not None and result.converged:
            write_label(_path(folder, key), result)


def _report(
    progress: Callable[[int, int], None] | None, copies: Counter[str], results: Iterable[str]
) -> None:
    if progress is not None:
        progress(sum(copies[key] for key in results), copies.total())


def _solutions(systems: dict[str, dft.KohnSham], batch: int) -> Iterator[dict[str, dft.SCFResult]]:
    """Solutions by key, converged or not, one batch after the other, each within one size bucket."""
    buckets: dict[dft.Sizes, list[str]] = {}
    for key, system in systems.items():
        buckets.setdefault(dft.sizes(system).bucket(), []).append(key)
    for keys in buckets.values():
        for start in range(0, len(keys), batch):
            chosen = keys[start : start + batch]
            yield dict(zip(chosen, _solve([systems[key] for key in chosen], batch), strict=True))


def _solve(systems: list[dft.KohnSham], batch: int) -> list[dft.SCFResult]:
    """Solutions of at most `batch` systems of one bucket, on the host and without padding."""
    copies = [systems[-1]] * (batch - len(systems))
    stacked = solve_batch(dft.stack([*systems, *copies]), tolerance=TOLERANCE, max_cycles=MAX_CYCLES)
    host = {name: np.asarray(getattr(stacked, name)) for name in RANKS}
    results = []
    for lane, system in enumerate(systems):
        own = slice(dft.sizes(system).orbitals)
        # Copies: a view would keep the whole padded batch in memory.
        arrays = {
            name: np.array(host[name][lane][(own,) * rank], dtype=_dtype(name))
            for name, rank in RANKS.items()
        }
        results.append(dft.SCFResult(**arrays))
    return results


def _check_arguments(
    molecules: Sequence[Molecule], systems: Sequence[dft.KohnSham], method: Method, batch: int
) -> None:
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")
    if len(molecules) != len(systems):
        raise ValueError(
            f"each molecule needs its system, got {len(molecules)} molecules and {len(systems)} systems"
        )
    for index, (molecule, system) in enumerate(zip(molecules, systems, strict=True)):
        difference = _difference(molecule, system, method)
        if difference:
            raise ValueError(
                f"{_describe(index, molecule)} and its system differ in {difference}; "
                f"systems must be build_systems(molecules, method)"
            )


def _difference(molecule: Molecule, system: dft.KohnSham, method: Method) -> str | None:
    """What tells that a system is not of this molecule and method: its label would be stored as another's."""
    if not np.array_equal(system.numbers, molecule.numbers):
        return "elements"
    if not np.allclose(system.positions, molecule.positions / BOHR_IN_ANGSTROM, rtol=0, atol=1e-11):
        return "positions"
    if round(float(np.sum(system.nuclear_charges) - np.sum(system.occupation))) != molecule.charge:
        return "charge"
    if system.xc != functional(method.xc).name:
        return "functional"
    orbitals = sum(_orbitals(z, method.basis) for z in molecule.numbers.tolist())
    return None if dft.sizes(system).orbitals == orbitals else "basis"


@functools.cache
def _orbitals(number: int, basis: str) -> int:
    return sum(2 * momentum + 1 for momentum in shell_momenta(number, basis))


def _describe(index: int, molecule: Molecule) -> str:
    formula = ase.symbols.Symbols(molecule.numbers).get_chemical_formula()
    charge = f", charge {molecule.charge:+d}" if molecule.charge else ""
    name = f", {molecule.name!r}" if molecule.name else ""
    return f"molecule {index} ({formula}{charge}{name})"


def _require_converged(
    results: Sequence[dft.SCFResult], molecules: Sequence[Molecule], folder: Path | None
) -> None:
    failed = [index for index, result in enumerate(results) if not result.converged]
    if not failed:
        return
    named = ", ".join(_describe(index, molecules[index]) for index in failed[:_NAMED])
    more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    kept = "nothing is kept without a cache" if folder is None else f"all others are kept in {folder}"
    raise ValueError(
        f"the SCF did not converge in {MAX_CYCLES} cycles to {TOLERANCE:g} Ha for {named}{more}; check "
        f"geometry and charge, or leave {'it' if len(failed) == 1 else 'them'} out ({kept})"
    )
