"""Relaxation of a batch of molecules beside ASE's optimisers, which relax one after the other.

    python -m benchmarks.relaxation                    five minutes on 2 cores
    python -m benchmarks.relaxation --energy equivariant --channels 16 --count 256

Molecules are grouped by size, and each group is padded to its own. Both sides have the same compiled energy
function at the same padded sizes, stop at the same force, and are timed warm. Molecules are QM7's, pushed off
their minima, if JAXPHYS_DATA names a folder with qm7/qm7_7101.npz, else embedded SMILES.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import ase
import jax
import jax.numpy as jnp
import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import FIRE as ASEFIRE
from ase.optimize import LBFGS as ASELBFGS

from benchmarks.dft import molecules
from benchmarks.force_field import ForceField, bonded, equivariant, force_fields, neural
from benchmarks.timing import compilations, measure
from jaxphys.metrics import superpose
from jaxphys.molecule import Molecule, graph_sizes
from jaxphys.relaxation import FIRE, LBFGS, Relaxation, Status, relax_batch
from jaxphys.report import format_table
from jaxphys.training import prepare_cpu

EnergyFn = Callable[[Any, Any], Any]
Minimum = tuple[np.ndarray, float, int]

METHODS: dict[str, tuple[Any, Any]] = {"L-BFGS": (LBFGS(), ASELBFGS), "FIRE": (FIRE(), ASEFIRE)}
MAX_STEPS = 500
HEADER = (
    "energy|method|first (s)|warm (s)|CPU (s)|ASE (s)|ASE, CPU (s)|ASE/jaxphys|converged|"
    "ASE converged|mean steps|ASE steps|same minimum|max ΔE (eV)|recompiled"
)


class Group(NamedTuple):
    """Molecules padded to one size n: what energies need, stacked and one by one, starts in Å, real atoms."""

    molecules: list[Molecule]
    fields: ForceField
    single: list[ForceField]
    start: np.ndarray
    mask: np.ndarray


def run(
    energies: dict[str, EnergyFn],
    *,
    methods: Sequence[str] = tuple(METHODS),
    count: int = 64,
    noise: float = 0.1,
    fmax: float = 0.05,
    workers: int = 2,
    block: int | None = None,
    seed: int = 0,
) -> str:
    """The table, in Markdown.

    energies: by name, each a function of (what `force_fields` makes of a molecule, positions in Å) to eV;
    noise: standard deviation of every coordinate's perturbation in Å; fmax in eV/Å; workers: groups relaxed
    at a time; block: of `relax_batch`.
    """
    groups = _groups(molecules(count), noise, np.random.default_rng(seed))
    settings = {"fmax": fmax, "max_steps": MAX_STEPS, "block": block}
    rows = [_row(name, energies[name], m, groups, workers, settings) for name in energies for m in methods]
    sizes = ", ".join(f"{len(group.mask)} of {group.mask.shape[1]}" for group in groups)
    title = f"## Relaxation of {count} molecules, {noise} Å, {fmax} eV/Å, {workers} workers\n\n"
    last = (
        f"\n\nMolecules by padded size: {sizes}. Same minimum: atoms within 1e-3 Å after superposition. "
        "ASE's first call, which compiles, is not counted."
    )
    return title + format_table(rows, HEADER.split("|")) + last


def _groups(chosen: Sequence[Molecule], noise: float, rng: np.random.Generator) -> list[Group]:
    """Largest molecules first, so that the longest work begins first."""
    sizes = np.array([graph_sizes(len(molecule.numbers))[0] for molecule in chosen])
    groups = []
    for size in sorted(set(sizes.tolist()), reverse=True):
        some = [molecule for molecule, own in zip(chosen, sizes, strict=True) if own == size]
        fields = force_fields(some, size)
        start = np.stack([np.pad(m.positions, [(0, size - len(m.numbers)), (0, 0)]) for m in some])
        mask = fields.numbers > 0
        start += noise * rng.normal(size=start.shape) * mask[..., None]
        single = [jax.tree.map(lambda leaf, i=i: jnp.asarray(leaf[i]), fields) for i in range(len(some))]
        groups.append(Group(some, jax.tree.map(jnp.asarray, fields), single, start, mask))
    return groups


def _row(
    name: str, energy: EnergyFn, method: str, groups: list[Group], workers: int, settings: dict[str, Any]
) -> list[str]:
    ours, theirs = METHODS[method]

    def relax(group: Group) -> Relaxation:
        found = relax_batch(energy, group.fields, group.start, mask=group.mask, method=ours, **settings)
        return jax.block_until_ready(found)

    def relax_all() -> list[Relaxation]:
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(relax, groups))

    timing = measure(relax_all, repeats=3)
    with compilations() as compiled:
        found = relax_all()
    gradient = jax.jit(jax.value_and_grad(energy, argnums=1))
    minima: list[list[Minimum]] = []

    def loop() -> None:
        minima[:] = [_relax_group_with_ase(theirs, gradient, group, settings["fmax"]) for group in groups]

    for group in groups:
        jax.block_until_ready(gradient(group.single[0], group.start[0]))
    peer = measure(loop, repeats=1)
    times = [f"{t:.2f}" for t in (timing.first, timing.warm, timing.cpu, peer.warm, peer.cpu)]
    compared = _compare(found, minima)
    return [name, method, *times, f"{peer.warm / timing.warm:.1f}×", *compared, str(len(compiled))]


def _compare(found: list[Relaxation], minima: list[list[Minimum]]) -> list[str]:
    """Converged, steps, and the same minima, over all molecules."""
    positions = [r for group in found for r in np.asarray(group.positions)]
    energy, steps, status = (
        np.concatenate([getattr(group, name) for group in found]) for name in ("energy", "steps", "status")
    )
    peers = [minimum for group in minima for minimum in group]
    distances = [
        np.max(np.abs(superpose(ours[: len(theirs)], theirs) - theirs))
        for ours, (theirs, _, _) in zip(positions, peers, strict=True)
    ]
    energies, peer_steps = (np.array([peer[i] for peer in peers]) for i in (1, 2))
    same = np.array(distances) < 1e-3
    return [
        str(int(np.sum(status == Status.CONVERGED))),
        str(int(np.sum(peer_steps < MAX_STEPS))),
        f"{np.mean(steps):.1f}",
        f"{np.mean(peer_steps):.1f}",
        f"{np.mean(same):.0%}",
        f"{np.max(np.abs(energy - energies)[same], initial=0.0):.0e}",
    ]


def _relax_group_with_ase(
    optimiser: Any, gradient: Callable[..., Any], group: Group, fmax: float
) -> list[Minimum]:
    return [
        _relax_with_ase(optimiser, gradient, molecule, field, start, fmax)
        for molecule, field, start in zip(group.molecules, group.single, group.start, strict=True)
    ]


def _relax_with_ase(
    optimiser: Any,
    gradient: Callable[..., Any],
    molecule: Molecule,
    field: ForceField,
    start: np.ndarray,
    fmax: float,
) -> Minimum:
    atoms = ase.Atoms(molecule.numbers, start[: len(molecule.numbers)])
    atoms.calc = _Padded(gradient, field, len(start))
    steps = optimiser(atoms, logfile=None)
    steps.run(fmax=fmax, steps=MAX_STEPS)
    return atoms.positions, float(atoms.get_potential_energy()), steps.nsteps


class _Padded(Calculator):
    """Energy and forces of one compiled program for molecules of any size up to the padded one."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  ASE has it so

    def __init__(self, gradient: Callable[..., Any], field: Any, size: int) -> None:
        super().__init__()
        self._gradient, self._field, self._size = gradient, jax.tree.map(jnp.asarray, field), size

    def calculate(
        self, atoms: Any = None, properties: Sequence[str] = (), system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        n = len(atoms)
        energy, gradient = self._gradient(self._field, np.pad(atoms.positions, [(0, self._size - n), (0, 0)]))
        self.results = {"energy": float(energy), "forces": -np.asarray(gradient)[:n]}


def main() -> None:
    """The table, in Markdown."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.relaxation", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--energy", choices=["bonded", "neural", "equivariant"], help="one of them only")
    parser.add_argument("--channels", type=int, nargs="+", default=[16, 64], help="of `equivariant` (16 64)")
    parser.add_argument("--method", choices=sorted(METHODS), help="one method only")
    parser.add_argument("--count", type=int, default=64, help="molecules (64)")
    parser.add_argument("--noise", type=float, default=0.1, help="perturbation of a coordinate in Å (0.1)")
    parser.add_argument("--fmax", type=float, default=0.05, help="largest force left in eV/Å (0.05)")
    parser.add_argument("--workers", type=int, default=2, help="groups relaxed at a time (2)")
    parser.add_argument("--block", type=int, help="molecules evaluated at once (as relax_batch has it)")
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    prepare_cpu()
    energies: dict[str, EnergyFn] = {"bonded": bonded, "neural": neural}
    for channels in arguments.channels:
        energies[f"equivariant, {channels} channels"] = equivariant(channels)
    energies = {n: e for n, e in energies.items() if n.startswith(arguments.energy or "")}
    settings = {name: getattr(arguments, name) for name in ("count", "noise", "fmax", "workers", "block")}
    print(run(energies, methods=[arguments.method] if arguments.method else tuple(METHODS), **settings))


if __name__ == "__main__":
    main()
