"""One molecule's Kohn–Sham problem, made on the host with integrals from libcint, or in JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pyscf import gto

from jaxphys.dft import grid
from jaxphys.dft import integrals as libcint
from jaxphys.dft.assembly import assemble, setup
from jaxphys.dft.basis import build_auxiliary, build_mole, occupation_of
from jaxphys.dft.functionals import Functional, functional
from jaxphys.dft.system import KohnSham, Sizes, grow, pad, require_x64, sizes
from jaxphys.molecule import check_molecule
from jaxphys.units import BOHR_IN_ANGSTROM

_assemble = jax.jit(assemble)


def kohn_sham(
    numbers: Any,
    positions: Any,
    *,
    charge: int = 0,
    spin: int | None = None,
    basis: str = "def2-svp",
    xc: str = "b3lyp5",
    auxbasis: str | None = None,
    grid_level: int = 3,
    coarse_level: int | None = None,
    padded: bool = False,
    integrals: str = "auto",
) -> KohnSham:
    """Integrals, fitting tensor and grid of one molecule.

    numbers: (a,) atomic numbers; positions: (a, 3) in Å; charge: total charge in e; spin: the number of
    unpaired electrons of an open shell (unrestricted), or None for a closed one; basis, auxbasis: any
    names PySCF knows (auxbasis=None takes the fitted set that belongs to the basis, else an automatic
    one); xc: a name that `dft.functional` knows; grid_level: 0 (coarse) to 9, PySCF's levels;
    coarse_level: a lower one on which `scf` does its first cycles, faster to the same end; padded: in arrays
    of its size bucket (`Sizes.bucket`), for which one compiled program does many molecules; integrals:
    "libcint", on the host and faster there, or "jax", on JAX's device; "auto" takes libcint on a CPU. For
    derivatives by the positions see `assemble`.
    Raises ValueError for bad input and RuntimeError when JAX's 64-bit mode is off.
    """
    require_x64()
    if integrals not in ("auto", "jax", "libcint"):
        raise ValueError(f"integrals must be 'auto', 'jax' or 'libcint', got {integrals!r}")
    fitted_to_host = padded or coarse_level is not None
    if integrals == "auto":
        integrals = "libcint" if jax.default_backend() == "cpu" or fitted_to_host else "jax"
    if integrals == "jax":
        if fitted_to_host:
            raise ValueError(
                "padded and coarse_level are for integrals='libcint'; for 'jax' see stack_setups"
            )
        check_molecule(numbers, positions, charge)
        method: dict[str, Any] = {"basis": basis, "xc": xc, "auxbasis": auxbasis}
        molecule = setup(numbers, charge=charge, spin=spin, grid_level=grid_level, **method)
        return _assemble(molecule, jnp.asarray(positions))
    if grid_level not in range(10):
        raise ValueError(f"grid_level must be an integer from 0 to 9, got {grid_level!r}")
    if coarse_level is not None and coarse_level not in range(grid_level):
        raise ValueError(f"coarse_level must be below grid_level {grid_level} or None, got {coarse_level!r}")
    level = functional(xc)
    numbers, positions = np.asarray(numbers), np.asarray(positions, dtype=np.float64)
    mole = build_mole(numbers, positions, charge=charge, spin=spin, basis=basis)
    overlap = mole.intor_symmetric("int1e_ovlp")
    transformation, mask = libcint.orthonormaliser(overlap)
    occupation = occupation_of(mole, mask, spin)
    levels = (grid_level, coarse_level)
    system = KohnSham(
        numbers=np.asarray(numbers, dtype=np.int32),
        positions=positions / BOHR_IN_ANGSTROM,
        nuclear_charges=mole.atom_charges().astype(np.float64),
        nuclear_repulsion=np.float64(mole.energy_nuc()),
        occupation=occupation,
        orbital_mask=mask,
        overlap=overlap,
        orthonormaliser=transformation,
        **libcint.one_electron(mole),
        guess_density=libcint.minao_density(mole, overlap),
        **_two_electron(mole, level, auxbasis, padded=padded),
        **_quadratures(mole, level, levels, padded=padded),
        xc=level.name,
        occupied=int(np.max(np.sum(occupation > 0, axis=-1))),
    )
    return pad(system, sizes(system).bucket()) if padded else system


def _two_electron(mole: gto.Mole, method: Functional, auxbasis: str | None, *, padded: bool) -> dict:
    """The fitting tensors; those of exact exchange are made in their padded size at once."""
    auxiliary = build_auxiliary(mole, method.pyscf_name, auxbasis)
    n, m = mole.nao, auxiliary.nao
    if padded:
        n, m = (getattr(Sizes(0, n, m, 0, 0, 0).bucket(), name) for name in ("orbitals", "auxiliaries"))

    def exchange(packed: np.ndarray) -> np.ndarray:
        return libcint.unpack_exchange(grow(packed, (m, n * (n + 1) // 2)) if padded else packed, n)

    packed = libcint.density_fitting(mole, auxiliary)
    none = np.zeros((n, 0, n))
    arrays = {"fitting": packed, "exchange_fitting": none, "long_range_fitting": none}
    if method.exact_exchange:
        arrays["exchange_fitting"] = exchange(packed)
    if method.range_separation:
        omega = method.range_separation.omega
        arrays["long_range_fitting"] = exchange(libcint.density_fitting(mole, auxiliary, omega=omega))
    return arrays


def _quadratures(mole: gto.Mole, method: Functional, levels: tuple[int, int | None], *, padded: bool) -> dict:
    arrays: list[np.ndarray] = []
    for level in levels:
        if level is None:
            arrays += [array[:0] for array in arrays[:2]]
        else:
            arrays += grid.quadrature(mole, level, gradient=method.needs_gradient, padded=padded)
    names = ("grid_weights", "orbital_values", "coarse_weights", "coarse_values")
    return dict(zip(names, arrays, strict=True))
