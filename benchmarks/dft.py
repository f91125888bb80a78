"""The DFT engine beside PySCF and libcint: integrals, Fock builds, whole SCF calculations, forces.

    python -m benchmarks.dft                       about ten minutes on 2 cores
    python -m benchmarks.dft --only scf --count 200    convergence and energies of many molecules
    python -m benchmarks.dft --only device          batched, integrals in JAX: for a GPU

Molecules are QM7's, if JAXPHYS_DATA names a folder with qm7/qm7_7101.npz, else embedded SMILES.
"""

from __future__ import annotations

import argparse
import functools
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from pyscf import df, gto, lib
from pyscf import dft as peer

from benchmarks.timing import compilations, measure
from jaxphys import dft
from jaxphys.data import embed
from jaxphys.dft.basis import build_auxiliary, build_mole
from jaxphys.dft.gaussian_integrals import three_centre, two_centre
from jaxphys.dft.shells import make_shells
from jaxphys.molecule import Molecule
from jaxphys.report import format_number, format_table
from jaxphys.training import keep_freed_memory, limit_lapack

XC, BASIS, AUXBASIS, LEVEL, COARSE = "b3lyp5", "def2-svp", "def2-universal-jkfit", 3, 1
TOLERANCE = 5e-6
"""Largest element of the orbital gradient, Ha; PySCF's default asks for a norm of 3e-5."""

SMILES = ("CCCCCN", "CC(C)OC=O", "C1CCOCC1", "NCC(=O)CO", "CC#CC(N)=O", "c1ccsc1C", "CCC1CO1", "OCC=CC#N")


def molecules(count: int) -> list[Molecule]:
    """The first `count` of a fixed random order of QM7, or embedded ones where the set is not there."""
    path = Path(os.environ.get("JAXPHYS_DATA", "")) / "qm7" / "qm7_7101.npz"
    if not path.is_file():
        return [embed(SMILES[i % len(SMILES)], seed=i // len(SMILES)) for i in range(count)]
    data = np.load(path)
    chosen = np.random.default_rng(0).permutation(len(data["natoms"]))[:count]
    sizes = data["natoms"]
    return [
        Molecule(data["Z"][i][: sizes[i]], data["R_angstrom"][i][: sizes[i]], name=str(i)) for i in chosen
    ]


def integrals() -> str:
    """Integrals in JAX against libcint: accuracy, first call with its compilation, warm call."""
    header = "basis|functions|max error (a.u.)|first (s)|warm (s)|libcint (s)|compiled for a new geometry"
    return "## Two- and three-centre integrals in JAX\n\n" + format_table(
        [_integral_row(basis) for basis in ("def2-svp", "def2-tzvp")], header.split("|")
    )


def _integral_row(basis: str) -> list[str]:
    molecule = embed("NCCO", seed=0)
    mole = build_mole(molecule.numbers, molecule.positions, charge=0, basis=basis)
    auxiliary = build_auxiliary(mole, XC, AUXBASIS)
    n, m = mole.nao, auxiliary.nao
    shells, fitting = make_shells(mole), make_shells(auxiliary)
    function = jax.jit(lambda r: (three_centre(shells, fitting, r, n, m), two_centre(fitting, r, m)))
    positions, moved = (jnp.asarray(mole.atom_coords() * scale) for scale in (1.0, 1.01))
    ours = measure(function, positions)
    with compilations() as compiled:
        jax.block_until_ready(function(moved))
    theirs = measure(lambda: df.incore.aux_e2(mole, auxiliary, "int3c2e", aosym="s2ij"))
    three, two = function(positions)
    error = max(
        np.abs(three - df.incore.aux_e2(mole, auxiliary, "int3c2e", aosym="s2ij").T).max(),
        np.abs(two - auxiliary.intor("int2c2e")).max(),
    )
    cells = [format_number(x) for x in (error, ours.first, ours.warm, theirs.warm)]
    return [basis, f"{n}, {m}", *cells, str(len(compiled))]


def fock() -> str:
    """One Fock build, tensors given, against PySCF's with the same tensors; orbitals known to both."""
    molecule = molecules(1)[0]
    field = _peer(molecule)
    field.kernel()
    density, veff = field.make_rdm1(), field.get_veff
    system = jax.device_put(_system(molecule))
    orbitals = jnp.asarray(field.mo_coeff[:, field.mo_occ > 0]) * np.sqrt(2.0)
    with limit_lapack():
        rows = [
            ("from the density", measure(jax.jit(dft.energy_and_fock), system, jnp.asarray(density))),
            ("from orbitals", measure(jax.jit(dft.energy_and_fock_of_orbitals), system, orbitals)),
        ]
    theirs = measure(lambda: np.asarray(veff(field.mol, density)))
    table = [
        [
            name,
            f"{1e3 * t.first:.0f}",
            f"{1e3 * t.warm:.0f}",
            f"{1e3 * theirs.warm:.0f}",
            f"{theirs.warm / t.warm:.1f}×",
        ]
        for name, t in rows
    ]
    title = f"## Fock build, {field.mol.nao} orbitals, {XC}, grid {LEVEL}\n\n"
    return title + format_table(
        table, ["build", "first (ms)", "warm (ms)", "PySCF get_veff (ms)", "PySCF/jaxphys"]
    )


def forces(count: int) -> str:
    """Energy and forces at PySCF's solution; PySCF with and without the response of its grid."""
    rows = []
    for molecule in molecules(count):
        system = _system(molecule)
        solution = jax.tree.map(np.asarray, jax.jit(dft.scf)(system))
        method: dict[str, Any] = {"xc": XC, "basis": BASIS, "auxbasis": AUXBASIS, "grid_level": LEVEL}
        call = functools.partial(dft.forces, molecule.numbers, molecule.positions, solution, **method)
        field = _peer(molecule)
        field.conv_tol = 1e-11
        field.kernel(dm0=solution.density)
        gradient = field.nuc_grad_method()
        ours, plain = measure(call, repeats=3), measure(gradient.kernel, repeats=1)
        gradient.grid_response = True
        responding = measure(gradient.kernel, repeats=1)
        errors = abs(solution.energy - field.e_tot), np.abs(call() + gradient.de).max()
        times = [ours.first, ours.warm, plain.warm, responding.warm]
        cells = [format_number(x) for x in (*errors, *times)]
        ratios = [f"{theirs.warm / ours.warm:.1f}×" for theirs in (plain, responding)]
        rows.append([str(len(molecule.numbers)), *cells, *ratios])
    header = (
        "atoms|ΔE (Ha)|max ΔF (Ha/Bohr)|first (s)|warm (s)|PySCF, fixed grid (s)|"
        "PySCF, with response (s)|fixed/jaxphys|with response/jaxphys"
    )
    return "## Energy and forces\n\n" + format_table(rows, header.split("|"))


class _Done(NamedTuple):
    energy: float
    converged: bool
    cycles: int


def scf(count: int, peers: int) -> str:
    """Whole SCF calculations with their integrals, one molecule a core, against PySCF on all cores."""
    keep_freed_memory(one_arena=True)
    chosen = molecules(count)
    cores = len(os.sched_getaffinity(0))
    program = jax.jit(functools.partial(dft.scf, tolerance=TOLERANCE))

    def solve(molecule: Molecule) -> _Done:
        system = dft.kohn_sham(
            molecule.numbers, molecule.positions, basis=BASIS, xc=XC, auxbasis=AUXBASIS,
            grid_level=LEVEL, coarse_level=COARSE, padded=True,
        )  # fmt: skip
        found = program(jax.device_put(system))
        return _Done(float(found.energy), bool(found.converged), int(found.cycles))

    def ours() -> list[_Done]:
        with limit_lapack(), ThreadPoolExecutor(cores, initializer=lambda: lib.num_threads(1)) as pool:
            return list(pool.map(solve, chosen))

    # PySCF first: it is three times slower once other threads than its own have used OpenMP
    theirs, references = _timed(lambda: [_solve_peer(molecule) for molecule in chosen[:peers]])
    with compilations() as compiled:
        cold, found = _timed(ours)
    warm = _timed(ours)[0] if count <= 64 else cold
    errors = [abs(a.energy - b.energy) for a, b in zip(found, references, strict=False)]
    ratio = (theirs / max(peers, 1)) / (warm / count)
    rows = [
        [
            "jaxphys",
            str(count),
            f"{count / cold:.3f}",
            f"{count / warm:.3f}",
            *_summary(found),
            str(len(compiled)),
        ],
        ["PySCF", str(peers), "", f"{peers / theirs:.3f}", *_summary(references), ""],
    ]
    header = "engine|molecules|first run (1/s)|warm (1/s)|converged|mean cycles|compiled"
    worst = max(errors, default=np.nan)
    last = f"\n\njaxphys/PySCF {ratio:.1f}×; largest difference of the energies {worst:.1e} Ha."
    return (
        f"## SCF with integrals, {XC}/{BASIS}, grid {LEVEL}\n\n"
        + format_table(rows, header.split("|"))
        + last
    )


def _summary(found: list[_Done]) -> list[str]:
    return [f"{sum(one.converged for one in found)}", f"{np.mean([one.cycles for one in found]):.1f}"]


def _solve_peer(molecule: Molecule) -> _Done:
    field = _peer(molecule)
    energy = field.kernel()
    return _Done(float(energy), bool(field.converged), int(field.cycles))


def device(count: int, memory: float) -> str:
    """Integrals, grid and SCF of a batch of molecules in JAX, on whatever device JAX has."""
    chosen = molecules(count)
    setups = [dft.setup(m.numbers, basis=BASIS, xc=XC, auxbasis=AUXBASIS, grid_level=LEVEL) for m in chosen]
    size = dft.batch_size(setups, memory)
    batches = list(_batches(chosen, setups, size))

    @jax.jit
    def solve(setup: dft.Setup, positions: Any) -> dft.SCFResult:
        return jax.vmap(lambda s, r: dft.scf(dft.assemble(s, r)))(setup, positions)

    def run() -> list[dft.SCFResult]:
        return [jax.block_until_ready(solve(*batch)) for batch in batches]

    with limit_lapack(), compilations() as compiled:
        cold, found = _timed(run)
        warm, _ = _timed(run)
    converged = sum(int(np.sum(one.converged)) for one in found)
    row = [str(count), str(size), f"{cold:.1f}", f"{count / warm:.2f}", str(converged), str(len(compiled))]
    header = "molecules|batch|first run (s)|warm (molecules/s)|converged|compiled"
    return (
        f"## Batches on {jax.devices()[0].device_kind}, {XC}/{BASIS}, grid {LEVEL}, 1e-8\n\n"
        + format_table([row], header.split("|"))
    )


def _batches(chosen: list[Molecule], setups: list[Any], size: int) -> Iterator[tuple[Any, np.ndarray]]:
    order = sorted(range(len(chosen)), key=lambda i: len(setups[i].orbital_mask))
    whole = dft.stack_setups(setups)  # one shape for all batches
    atoms = whole.numbers.shape[-1]
    positions = np.stack([np.pad(m.positions, [(0, atoms - len(m.positions)), (0, 0)]) for m in chosen])
    for start in range(0, len(order), size):
        own = np.resize(order[start : start + size], size)
        yield jax.tree.map(lambda leaf, own=own: leaf[own], whole), positions[own]


def _timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def _system(molecule: Molecule) -> dft.KohnSham:
    return dft.kohn_sham(
        molecule.numbers, molecule.positions, basis=BASIS, xc=XC, auxbasis=AUXBASIS, grid_level=LEVEL
    )


def _peer(molecule: Molecule) -> Any:
    atoms = list(zip(molecule.numbers.tolist(), molecule.positions.tolist(), strict=True))
    mole = gto.M(atom=atoms, basis=BASIS, verbose=0)
    field = peer.RKS(mole, xc=XC).density_fit(auxbasis=AUXBASIS)
    field.grids.level = LEVEL
    return field


def main() -> None:
    """The parts asked for, as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dft", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", choices=["integrals", "fock", "forces", "scf", "device"], help="one part only"
    )
    parser.add_argument("--count", type=int, default=32, help="molecules of the SCF and device parts (32)")
    parser.add_argument("--peers", type=int, default=8, help="of these also with PySCF (8)")
    parser.add_argument("--memory", type=float, default=8.0, help="device part: GB for a batch (8)")
    arguments = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    keep_freed_memory()
    parts = {
        "integrals": integrals,
        "fock": fock,
        "forces": lambda: forces(2),
        "scf": lambda: scf(arguments.count, min(arguments.peers, arguments.count)),
        "device": lambda: device(arguments.count, arguments.memory),
    }
    chosen = [arguments.only] if arguments.only else ["integrals", "fock", "forces", "scf"]
    for name in chosen:
        print(parts[name](), "\n", flush=True)


if __name__ == "__main__":
    main()
