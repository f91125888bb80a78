"""One Fock build, tensors given, against PySCF's on the same CPU; and the laws counted in Fock builds."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pyscf import dft as peer
from pyscf import gto, lib

from benchmarks.timing import compilations, measure
from jaxphys import dft, losses
from jaxphys.data import embed
from jaxphys.molecule import Molecule
from jaxphys.report import format_table
from jaxphys.training import limit_lapack

BASIS, AUXBASIS, GRID_LEVEL = "def2-svp", "def2-universal-jkfit", 1
MOLECULES = ("O", "CC", "CCO", "c1ccccc1")


BUILD_COLUMNS = "molecule|functional|orbitals|first (ms)|warm (ms)|PySCF (ms)|PySCF/jaxphys|max ΔF (Eh)"
LAW_COLUMNS = "molecule|functional|Fock (ms)|variational (ms)|builds|paper's form (ms)|builds|recompiled"


def run() -> str:
    """Both tables, in Markdown."""
    builds = [_fock_row(smiles, xc) for smiles in MOLECULES for xc in ("pbe", "b3lyp5")]
    laws = [_law_row(smiles, xc) for smiles in MOLECULES[1:3] for xc in ("pbe", "b3lyp5")]
    settings = f"{BASIS}, {AUXBASIS}, grid level {GRID_LEVEL}, {lib.num_threads()} threads"
    return "\n".join(
        [
            f"## Fock build, {settings}\n",
            format_table(builds, BUILD_COLUMNS.split("|")),
            "\nPySCF has its integrals and grid too, and the density's orbitals, which make its K cheaper.",
            "\n## Value and gradient of the laws, in Fock builds\n",
            format_table(laws, LAW_COLUMNS.split("|")),
        ]
    )


def _fock_row(smiles: str, xc: str) -> list[str]:
    molecule = embed(smiles, seed=0)
    system = _system(molecule, xc)
    field = _pyscf(molecule, xc)
    density = field.make_rdm1()
    device = jax.tree.map(jnp.asarray, system)
    with limit_lapack():  # PySCF keeps its threads
        ours = measure(jax.jit(dft.fock), device, jnp.asarray(density))
    arguments = {"h1e": system.core, "s1e": system.overlap, "dm": density}
    theirs = measure(lambda: np.asarray(field.get_fock(**arguments)))
    deviation = np.max(np.abs(dft.fock(system, jnp.asarray(density)) - field.get_fock(**arguments)))
    return [
        smiles,
        xc,
        str(len(system.overlap)),
        f"{1e3 * ours.first:.0f}",
        f"{1e3 * ours.warm:.1f}",
        f"{1e3 * theirs.warm:.1f}",
        f"{theirs.warm / ours.warm:.1f}×",
        f"{deviation:.0e}",
    ]


def _law_row(smiles: str, xc: str) -> list[str]:
    first, second = (_system(embed(smiles, seed=seed), xc) for seed in (0, 1))
    first, second = (jax.tree.map(jnp.asarray, system) for system in (first, second))
    fock = dft.guess_fock(first)
    with limit_lapack():
        build = measure(jax.jit(dft.fock), first, dft.density(first, fock)).warm
    variational = jax.jit(jax.value_and_grad(losses.variational_self_consistency, argnums=1))
    residual = jax.jit(jax.value_and_grad(losses.self_consistency, argnums=1))
    with limit_lapack():
        times = [measure(law, first, fock).warm for law in (variational, residual)]
    with compilations() as compiled:
        jax.block_until_ready([law(second, fock) for law in (variational, residual)])
    cells = [c for t in times for c in (f"{1e3 * t:.1f}", f"{t / build:.1f}")]
    return [smiles, xc, f"{1e3 * build:.1f}", *cells, str(len(compiled))]


def _system(molecule: Molecule, xc: str) -> dft.KohnSham:
    return dft.kohn_sham(
        molecule.numbers,
        molecule.positions,
        charge=molecule.charge,
        basis=BASIS,
        xc=xc,
        auxbasis=AUXBASIS,
        grid_level=GRID_LEVEL,
    )


def _pyscf(molecule: Molecule, xc: str) -> Any:
    mole = gto.M(
        atom=list(zip(molecule.numbers.tolist(), molecule.positions.tolist(), strict=True)),
        basis=BASIS,
        verbose=0,
    )
    field = peer.RKS(mole, xc=xc).density_fit(auxbasis=AUXBASIS)
    field.grids.level = GRID_LEVEL
    field.small_rho_cutoff = 0  # keep every grid point, as we do
    field.kernel()
    return field
