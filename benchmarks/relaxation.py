"""Relaxation of a batch of molecules beside ASE's optimisers, which relax one after the other.

    python -m benchmarks.relaxation                    two minutes on 2 cores
    python -m benchmarks.relaxation --energy neural --count 256

Both have the same compiled energy function, padded to one shape, and stop at the same force. Molecules are
QM7's, pushed off their minima, if JAXPHYS_DATA names a folder with qm7/qm7_7101.npz, else embedded SMILES.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import ase
import jax
import jax.numpy as jnp
import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import FIRE as ASEFIRE
from ase.optimize import LBFGS as ASELBFGS

from benchmarks.dft import molecules
from benchmarks.force_field import bonded, force_fields, neural
from benchmarks.timing import compilations, measure
from jaxphys.metrics import superpose
from jaxphys.molecule import Molecule
from jaxphys.relaxation import FIRE, LBFGS, Relaxation, relax_batch
from jaxphys.report import format_table
from jaxphys.training import keep_freed_memory

EnergyFn = Callable[[Any, Any], Any]
Peer = list[tuple[np.ndarray, float, int]]

METHODS: dict[str, tuple[Any, Any]] = {"L-BFGS": (LBFGS(), ASELBFGS), "FIRE": (FIRE(), ASEFIRE)}
ENERGIES: dict[str, EnergyFn] = {"bonded": bonded, "neural": neural}
MAX_STEPS = 500
HEADER = (
    "energy|method|first (s)|warm (s)|one batch, warm (s)|ASE (s)|ASE/jaxphys|converged|ASE converged|"
    "mean steps|ASE steps|same minimum|max ΔE (eV)|recompiled"
)


def run(
    energies: dict[str, EnergyFn], *, count: int = 64, noise: float = 0.1, fmax: float = 0.05, seed: int = 0
) -> str:
    """The table, in Markdown.

    energies: by name, each a function of (what `force_fields` makes of a molecule, positions in Å) to eV;
    noise: standard deviation of every coordinate's perturbation in Å; fmax in eV/Å.
    """
    chosen = molecules(count)
    fields = force_fields(chosen)
    mask = fields.numbers > 0
    start = np.stack([np.pad(m.positions, [(0, mask.shape[1] - len(m.numbers)), (0, 0)]) for m in chosen])
    start += noise * np.random.default_rng(seed).normal(size=start.shape) * mask[..., None]
    rows = [
        _row(name, energy, method, (chosen, fields, start, mask), fmax)
        for name, energy in energies.items()
        for method in METHODS
    ]
    title = f"## Relaxation of {count} molecules of up to {mask.shape[1]} atoms, {noise} Å, {fmax} eV/Å\n\n"
    last = (
        "\n\nsame minimum: atoms within 1e-3 Å after superposition. ASE's first call, which compiles, is not "
        "counted. One batch: without going on in smaller ones."
    )
    return title + format_table(rows, HEADER.split("|")) + last


def _row(name: str, energy: EnergyFn, method: str, data: Any, fmax: float) -> list[str]:
    chosen, fields, start, mask = data
    ours, theirs = METHODS[method]

    def relax(**settings: Any) -> Relaxation:
        limits = {"fmax": fmax, "max_steps": MAX_STEPS, "method": ours}
        return relax_batch(energy, fields, start, mask=mask, **limits, **settings)

    timing = measure(relax, repeats=3)
    with compilations() as compiled:
        found = jax.block_until_ready(relax())
    whole = measure(lambda: relax(smallest_batch=None), repeats=3)
    gradient = jax.jit(jax.value_and_grad(energy, argnums=1))
    peers: Peer = []

    def loop() -> None:
        peers[:] = [
            _relax_with_ase(
                theirs, gradient, chosen[i], jax.tree.map(lambda x, i=i: x[i], fields), start[i], fmax
            )
            for i in range(len(chosen))
        ]

    jax.block_until_ready(gradient(jax.tree.map(lambda x: x[0], fields), start[0]))
    peer = measure(loop, repeats=1).warm
    times = [f"{t:.2f}" for t in (timing.first, timing.warm, whole.warm, peer)]
    return [name, method, *times, f"{peer / timing.warm:.1f}×", *_compare(found, peers), str(len(compiled))]


def _compare(found: Relaxation, peers: Peer) -> list[str]:
    distances = np.array(
        [
            np.max(np.abs(superpose(ours[: len(theirs)], theirs) - theirs))
            for ours, (theirs, _, _) in zip(found.positions, peers, strict=True)
        ]
    )
    energies, steps = (np.array([peer[i] for peer in peers]) for i in (1, 2))
    same = distances < 1e-3
    difference = np.abs(np.asarray(found.energy) - energies)[same]
    return [
        str(int(np.sum(np.asarray(found.status) == 0))),
        str(int(np.sum(steps < MAX_STEPS))),
        f"{np.mean(found.steps):.1f}",
        f"{np.mean(steps):.1f}",
        f"{np.mean(same):.0%}",
        f"{np.max(difference, initial=0.0):.0e}",
    ]


def _relax_with_ase(
    optimiser: Any,
    gradient: Callable[..., Any],
    molecule: Molecule,
    field: Any,
    start: np.ndarray,
    fmax: float,
) -> tuple[np.ndarray, float, int]:
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
    parser.add_argument("--energy", choices=sorted(ENERGIES), help="one energy function only")
    parser.add_argument("--count", type=int, default=64, help="molecules (64)")
    parser.add_argument("--noise", type=float, default=0.1, help="perturbation of a coordinate in Å (0.1)")
    parser.add_argument("--fmax", type=float, default=0.05, help="largest force left in eV/Å (0.05)")
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    keep_freed_memory()
    energies = {arguments.energy: ENERGIES[arguments.energy]} if arguments.energy else ENERGIES
    print(run(energies, count=arguments.count, noise=arguments.noise, fmax=arguments.fmax))


if __name__ == "__main__":
    main()
