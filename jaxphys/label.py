"""Label molecules in bulk with density functional theory, into one HDF5 file.

    python -m jaxphys.label molecules.xyz --xc b3lyp5 --basis def2-svp --out labels.h5

The input is any file that ASE reads, one molecule a frame: positions in Angstrom; `charge` (e), `spin`
(unpaired electrons, not the multiplicity) and `name` in a frame's info are taken, e.g. from the comment line
of an extended XYZ file. Labels are in Hartree and Bohr. Any interruption, kill -9 included, loses at most the
molecules being computed; the same command goes on from there, and never labels a molecule twice.
On a CPU, one molecule a core; memory: 3 GB for one of 17 atoms at the default method. On an accelerator,
batches of different molecules in one program, within --memory.

In the file:  /molecules/<index>_<formula>   one group a frame: energy, forces, fock, overlap, ...
              /failures/<index>_<formula>    frames without a label, and the reason
Exit status:  0 all labelled, 1 some failed, 2 bad usage, 130 interrupted
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import importlib.metadata
import math
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
from ase.data import chemical_symbols
from tqdm import tqdm

from jaxphys.data.batches import solve_batches
from jaxphys.data.bulk import SHARE, Recipe, check_basis, fail, header, label_key, solve_frames
from jaxphys.data.frames import Failure, Frame, read_frames
from jaxphys.data.label_file import Contents, Label, group_name, open_label_file
from jaxphys.data.labels import Method
from jaxphys.dft.basis import shell_momenta
from jaxphys.dft.system import require_x64
from jaxphys.training import prepare_cpu


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a run did: frames with a label, molecules that it computed, and frames without a label."""

    labelled: int
    computed: int
    failures: tuple[Failure, ...]


def label_file(
    source: str | Path,
    out: str | Path,
    recipe: Recipe | None = None,
    *,
    charge: int = 0,
    spin: int = 0,
    integrals: str = "auto",
    memory: float | None = None,
    progress: Callable[[int, int], None] | None = None,
    report: Callable[[Failure], None] | None = None,
) -> Summary:
    """Label every frame of the file `source` in the HDF5 file `out`; for its layout see `data.label_file`.

    recipe: the method, and which datasets to keep. charge, in e, and spin, the number of unpaired electrons,
    are those of frames that name none. integrals: "jax" takes batches (`data.batches`), "libcint" one
    molecule a core (`data.bulk`), "auto" libcint on a CPU; the labels are the same. memory: what a batch, or
    the molecules under way, may take, GB; by default a share of the device's or the machine's. progress:
    called with (done, total) in distinct molecules, first with what `out` has already. report: called with
    each failure when it occurs.
    Labels that `out` has are not computed again, failures are. It has all finished molecules after an
    exception too, KeyboardInterrupt included; after a kill, from the end of the next run on.

    Raises FileNotFoundError and ValueError for an input, output or recipe of no use, before anything is
    computed; OSError if the disk refuses; RuntimeError when JAX's 64-bit mode is off.
    """
    require_x64()
    recipe = recipe or Recipe()
    solve = _solver(integrals, memory)
    if Path(source).resolve() == Path(out).resolve():
        raise ValueError(f"{out} is the input; choose another file for the labels")
    job = _plan(read_frames(source, charge=charge, spin=spin), recipe)
    failed: dict[str, Failure] = {}
    with open_label_file(out, header(recipe)) as store:
        known = store.keys()
        for failure in job.unreadable:
            _call(report, failure)
        missing = {key: frame for key, frame in job.unique.items() if key not in known}
        total, done = len(job.unique), len(job.unique) - len(missing)
        _call(progress, done, total)
        try:
            for key, outcome in solve(missing, recipe):
                if isinstance(outcome, Failure):
                    failed[key] = outcome
                    _call(report, outcome)
                else:
                    store.write(key, outcome)
                done += 1
                _call(progress, done, total)
        finally:
            kept, failures = store.keys(), _failures(job, failed)
            store.merge(_contents(job, kept, failures, recipe), _versions())
    labelled = sum(key in kept for key in job.keys)
    return Summary(labelled, len(missing) - len(failed), tuple(failures))


def _solver(integrals: str, memory: float | None) -> Callable[..., Iterator[tuple[str, Label | Failure]]]:
    if integrals not in ("auto", "jax", "libcint"):
        raise ValueError(f"integrals must be 'auto', 'jax' or 'libcint', got {integrals!r}")
    if memory is not None and not 0 < memory < math.inf:
        raise ValueError(f"memory must be a positive number of GB, e.g. 16, got {memory:g}")
    if integrals == "auto":
        integrals = "libcint" if jax.default_backend() == "cpu" else "jax"
    return functools.partial(solve_batches if integrals == "jax" else solve_frames, memory=memory)


@dataclasses.dataclass(frozen=True)
class _Job:
    """Frames and their keys, the first frame of each key, and what is no molecule at all."""

    frames: list[Frame]
    keys: list[str]
    unique: dict[str, Frame]
    unreadable: list[Failure]


def _plan(entries: list[Frame | Failure], recipe: Recipe) -> _Job:
    frames = [entry for entry in entries if isinstance(entry, Frame)]
    check_basis(frames, recipe.method)
    keys = [label_key(frame, recipe) for frame in frames]
    unique: dict[str, Frame] = {}
    for key, frame in zip(keys, frames, strict=True):
        unique.setdefault(key, frame)
    return _Job(frames, keys, unique, [entry for entry in entries if isinstance(entry, Failure)])


def _failures(job: _Job, failed: dict[str, Failure]) -> list[Failure]:
    """Every frame without a label that was tried, also the copies of one that failed, in order."""
    copies = [
        fail(frame, failed[key].reason)
        for key, frame in zip(job.keys, job.frames, strict=True)
        if key in failed
    ]
    return sorted([*job.unreadable, *copies], key=lambda failure: failure.index)


def _contents(job: _Job, known: set[str], failures: list[Failure], recipe: Recipe) -> Contents:
    pairs = [(key, frame) for key, frame in zip(job.keys, job.frames, strict=True) if key in known]
    last = max([frame.index for frame in job.frames] + [failure.index for failure in job.unreadable])
    elements = sorted({int(z) for _, frame in pairs for z in frame.molecule.numbers})
    return Contents(
        molecules={group_name(frame.index, frame.formula, last): key for key, frame in pairs},
        failures={
            group_name(failure.index, failure.formula, last): dataclasses.asdict(failure)
            for failure in failures
        },
        shells={chemical_symbols[z]: shell_momenta(z, recipe.method.basis) for z in elements},
    )


def _versions() -> dict[str, str]:
    versions = {}
    for name in ("jaxphys", "jax", "pyscf"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # run from its source
            versions[f"{name}_version"] = importlib.metadata.version(name)
    return versions


def _call(function: Callable[..., None] | None, *arguments: Any) -> None:
    if function is not None:
        function(*arguments)


def main(arguments: list[str] | None = None) -> int:
    """Command line; errors of the user end in one line and status 2."""
    options = _parser().parse_args(arguments)
    prepare_cpu(one_arena=True)
    jax.config.update("jax_enable_x64", True)  # jaxphys.dft is float64
    out = options.out or options.file.with_suffix(".labels.h5")
    bar = _Bar()
    try:
        with _stop_on_sigterm(), contextlib.closing(bar):
            summary = label_file(
                options.file,
                out,
                _recipe(options),
                charge=options.charge,
                spin=options.spin,
                integrals=options.integrals,
                memory=options.memory,
                progress=bar.show,
                report=bar.complain,
            )
    except (ValueError, OSError) as error:
        parts = out.with_name(f"{out.name}.parts")
        kept = f"; finished labels are kept in {parts}" if parts.exists() else ""
        print(f"error: {' '.join(str(error).split())}{kept}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped; the same command goes on from here ({bar.done} of {bar.total})", file=sys.stderr)
        return 130
    failed = len(summary.failures)
    done = f"{_count(summary.labelled, 'frame')} labelled, {_count(summary.computed, 'molecule')} computed"
    print(f"{out}: {done}" + (f"; {_count(failed, 'frame')} failed, see /failures" if failed else ""))
    return 1 if failed else 0


class _Bar:
    """A progress bar on stderr, with lines above it; in a log file, a line every half a minute."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self.done = self.total = 0

    def show(self, done: int, total: int) -> None:
        """Advance to `done` of `total` molecules; the first call sets what was there before."""
        self.done, self.total = done, total
        if self._bar is None and done < total:
            terminal = sys.stderr.isatty()
            self._bar = tqdm(
                total=total,
                initial=done,
                unit=" molecules",
                file=sys.stderr,
                mininterval=0.1 if terminal else 30.0,
                bar_format=None
                if terminal
                else "{n_fmt} of {total_fmt} [{elapsed}<{remaining}, {rate_fmt}]\n",
            )
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def complain(self, failure: Failure) -> None:
        """Print a failure."""
        if sys.stderr.isatty():
            tqdm.write(f"failed: {failure}", file=sys.stderr)
        else:
            print(f"failed: {failure}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the bar's line."""
        if self._bar is not None:
            self._bar.close()


@contextlib.contextmanager
def _stop_on_sigterm() -> Iterator[None]:
    """SIGTERM, the first word of a queueing system, as Ctrl-C."""

    def stop(number: int, frame: Any) -> None:
        del number, frame
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _recipe(options: argparse.Namespace) -> Recipe:
    return Recipe(
        Method(options.basis, options.xc, options.auxbasis, options.grid_level),
        tolerance=options.tolerance,
        max_cycles=options.max_cycles,
        forces=not options.no_forces,
        density=options.density,
        coefficients=options.coefficients,
    )


def _parser() -> argparse.ArgumentParser:
    usual = Recipe(forces=False)
    parser = argparse.ArgumentParser(
        prog="python -m jaxphys.label", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add = parser.add_argument
    add("file", type=Path, help="molecules, in any format of ASE; positions in Angstrom")
    add("--out", type=Path, help="HDF5 file of the labels (default: FILE.labels.h5 beside the input)")
    add(
        "--basis",
        default=usual.method.basis,
        help="of the orbitals, any name of PySCF (default: %(default)s)",
    )
    add("--xc", default=usual.method.xc, help="exchange-correlation functional (default: %(default)s)")
    add("--auxbasis", help="of the density fitting (default: what belongs to the basis)")
    add(
        "--grid-level",
        type=int,
        default=usual.method.grid_level,
        metavar="0..9",
        help="fineness of the integration grid, PySCF's levels (default: %(default)s)",
    )
    add("--charge", type=int, default=0, help="in e, of frames that name none (default: 0)")
    add(
        "--spin",
        type=int,
        default=0,
        help="number of unpaired electrons, of frames that name none; 0 is a closed shell,\n"
        "others are unrestricted, with matrices (2, n, n) (default: 0)",
    )
    add(
        "--no-forces",
        action="store_true",
        help="leave the forces (Ha/Bohr) out, which take time of their own",
    )
    add("--density", action="store_true", help="keep density matrices as well")
    add("--coefficients", action="store_true", help="keep orbital coefficients as well")
    add(
        "--tolerance",
        type=float,
        default=usual.tolerance,
        metavar="HA",
        help="largest element of the orbital gradient at convergence, Ha (default: %(default)s)",
    )
    add(
        "--max-cycles",
        type=int,
        default=usual.max_cycles,
        help="Fock builds before a molecule counts as failed (default: %(default)s)",
    )
    add(
        "--integrals",
        choices=["auto", "jax", "libcint"],
        default="auto",
        help="jax: batches of molecules on JAX's device; libcint: one molecule a CPU core;\n"
        "auto: jax on an accelerator, libcint on a CPU (default: %(default)s)",
    )
    add(
        "--memory",
        type=float,
        metavar="GB",
        help="what one batch, or the molecules under way on a CPU, may take\n"
        f"(default: {SHARE:.0%} of the device's, or of the machine's)".replace("%", "%%"),
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
