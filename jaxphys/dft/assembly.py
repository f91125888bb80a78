"""A Kohn–Sham problem as a differentiable function of the nuclear positions, in pure JAX.

What elements, charge and method decide is a `Setup`, made once on the host; `assemble` puts it on nuclei:

    molecule = dft.setup(numbers, basis="def2-svp", xc="pbe")
    gradient = jax.grad(lambda positions: dft.scf(dft.assemble(molecule, positions)).energy)(positions)
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from pyscf import gto
from pyscf.scf import atom_hf

from jaxphys.dft.basis import build_auxiliary, build_mole, occupation_of
from jaxphys.dft.becke import GridTemplate, becke_grid, grid_template
from jaxphys.dft.functionals import functional
from jaxphys.dft.gaussian_integrals import (
    nuclear_attraction,
    overlap_kinetic_dipole,
    three_centre,
    two_centre,
)
from jaxphys.dft.grid import POINTS_PER_BLOCK
from jaxphys.dft.integrals import LINEAR_DEPENDENCE
from jaxphys.dft.orbital_values import orbital_values
from jaxphys.dft.shells import Basis, make_shells
from jaxphys.dft.system import KohnSham, Leaf, require_x64
from jaxphys.units import BOHR_IN_ANGSTROM

MOLECULE = (0.0, 0.0, 3.0)
"""Where the atoms stand while shells are made: anywhere, but apart, Å."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Setup:
    """A molecule and a level of theory without the geometry. Padding is inert; a batch has a leading axis."""

    numbers: Leaf  # (a,) atomic numbers, 0 for padding
    occupation: Leaf  # (n,) or (2, n), as in `KohnSham`
    orbital_mask: Leaf  # (n,) which orbitals are real
    auxiliary_mask: Leaf  # (m,) which auxiliary functions are real
    basis: Basis
    auxiliary: Basis
    minimal: Basis  # for the superposition of atomic densities
    minimal_occupation: Leaf  # (p,) electrons of each minimal orbital
    grid: GridTemplate
    xc: str = field(metadata={"static": True})
    occupied: int = field(metadata={"static": True})


def setup(
    numbers: Any,
    *,
    charge: int = 0,
    spin: int | None = None,
    basis: str = "def2-svp",
    xc: str = "b3lyp5",
    auxbasis: str | None = None,
    grid_level: int = 3,
) -> Setup:
    """What `kohn_sham` takes but the positions, made ready for `assemble`; on the host.

    Raises ValueError as `kohn_sham` does, and for elements with a core potential, which need
    integrals="libcint".
    """
    require_x64()
    method, numbers = functional(xc), np.asarray(numbers)
    apart = np.arange(len(numbers))[:, None] * np.array(MOLECULE)
    mole = build_mole(numbers, apart, charge=charge, spin=spin, basis=basis)
    if mole.has_ecp():
        raise ValueError(
            f"basis {basis!r} has core potentials for this molecule, which integrals='jax' cannot do; "
            "take integrals='libcint' or a basis with all electrons"
        )
    if method.range_separation:
        raise ValueError(f"{method.name} is range-separated, which integrals='jax' cannot do; take 'libcint'")
    auxiliary = build_auxiliary(mole, method.pyscf_name, auxbasis)
    minimal, electrons = _minimal_basis(numbers, apart)
    mask = np.ones(mole.nao, bool)
    occupation = occupation_of(mole, mask, spin)
    return Setup(
        numbers=numbers.astype(np.int32),
        occupation=occupation,
        orbital_mask=mask,
        auxiliary_mask=np.ones(auxiliary.nao, bool),
        basis=make_shells(mole),
        auxiliary=make_shells(auxiliary),
        minimal=minimal,
        minimal_occupation=electrons,
        grid=grid_template(numbers, grid_level),
        xc=method.name,
        occupied=int(np.max(np.sum(occupation > 0, axis=-1))),
    )


def _minimal_basis(numbers: np.ndarray, positions: np.ndarray) -> tuple[Basis, np.ndarray]:
    """The occupied orbitals of free atoms in the ANO basis and their electrons: PySCF's "minao"."""
    shells: dict[str, list[Any]] = {}
    electrons: dict[str, np.ndarray] = {}
    symbols = [gto.mole._symbol(int(number)) for number in numbers]
    for symbol in sorted(set(symbols)):
        contracted = gto.basis.load("ano", symbol)
        shells[symbol], occupations = [], []
        for l in range(4):
            full, fraction = atom_hf.frac_occ(symbol, l)
            if not full and not fraction:
                continue
            kept = [row[: full + 2] for row in contracted[l][1:]]
            shells[symbol].append([l, *kept])
            occupations.append(np.repeat([2.0] * full + [fraction], 2 * l + 1))
        electrons[symbol] = np.concatenate(occupations)
    mole = gto.Mole()
    atoms = list(zip(symbols, positions.tolist(), strict=True))
    mole._atm, mole._bas, mole._env = mole.make_env(atoms, shells, [])
    mole._built = True
    return make_shells(mole), np.concatenate([electrons[symbol] for symbol in symbols])


def assemble(setup: Setup, positions: Float[Any, "a 3"]) -> KohnSham:
    """The Kohn–Sham problem of a molecule with nuclei at positions (a, 3) in Å: `kohn_sham` in pure JAX.

    Differentiable by the positions in reverse mode: with `scf` that gives any derivative of the solution.
    The orthonormaliser and the guess are constants; `density` and `scf` know how S moves the orbitals.
    """
    nuclei = jnp.asarray(positions, jnp.float64) / BOHR_IN_ANGSTROM
    n, charges = setup.orbital_mask.shape[-1], jnp.asarray(setup.numbers, jnp.float64)
    method = functional(setup.xc)
    overlap, kinetic, dipoles = overlap_kinetic_dipole(setup.basis, nuclei, n)
    fitting = _density_fitting(setup, nuclei)
    transformation, mask = orthonormalise(jax.lax.stop_gradient(overlap), setup.orbital_mask)
    weights, values = _quadrature(setup, nuclei, gradient=method.needs_gradient)
    return KohnSham(
        numbers=setup.numbers,
        positions=nuclei,
        nuclear_charges=charges,
        nuclear_repulsion=_nuclear_repulsion(charges, nuclei),
        occupation=setup.occupation,
        orbital_mask=mask,
        overlap=overlap,
        orthonormaliser=transformation,
        core=kinetic + nuclear_attraction(setup.basis, nuclei, charges, n),
        dipole_integrals=dipoles,
        guess_density=_guess_density(setup, jax.lax.stop_gradient(nuclei)),
        fitting=fitting,
        exchange_fitting=_unpack(fitting, n) if method.exact_exchange else jnp.zeros((n, 0, n)),
        long_range_fitting=jnp.zeros((n, 0, n)),
        grid_weights=weights,
        orbital_values=values,
        coarse_weights=weights[:0],
        coarse_values=values[:0],
        xc=setup.xc,
        occupied=setup.occupied,
    )


def _density_fitting(setup: Setup, nuclei: Array) -> Float[Array, "m pairs"]:
    """B = L⁻¹ (Q|ij) with L Lᵀ = (P|Q), as `integrals.density_fitting`."""
    n, m = setup.orbital_mask.shape[-1], setup.auxiliary_mask.shape[-1]
    metric = two_centre(setup.auxiliary, nuclei, m)
    metric += jnp.diag(jnp.where(setup.auxiliary_mask, 0.0, 1.0))
    three = three_centre(setup.basis, setup.auxiliary, nuclei, n, m)
    return jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(metric), three, lower=True)


def _unpack(packed: Float[Array, "m pairs"], n: int) -> Float[Array, "n m n"]:
    rows, columns = np.maximum.outer(*[np.arange(n)] * 2), np.minimum.outer(*[np.arange(n)] * 2)
    return packed[:, rows * (rows + 1) // 2 + columns].swapaxes(0, 1)


def orthonormalise(overlap: Array, orbital_mask: Leaf) -> tuple[Array, Array]:
    """Canonical X with Xᵀ S X = 1, (n, n), and the mask (n,) of its columns that span the space.

    Columns of nearly dependent combinations and of padding are zero and come last.
    """
    values, vectors = jnp.linalg.eigh(overlap)
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = (values > LINEAR_DEPENDENCE) & (jnp.arange(len(values)) < jnp.sum(orbital_mask))
    return jnp.where(kept, vectors / jnp.sqrt(jnp.where(kept, values, 1.0)), 0.0), kept


def _guess_density(setup: Setup, nuclei: Array) -> Float[Array, "n n"]:
    """Superposition of atomic densities, projected on the basis: PySCF's "minao" guess."""
    n, p = setup.orbital_mask.shape[-1], setup.minimal_occupation.shape[-1]
    # what is padded in the basis must not fall on the minimal orbitals, which come after it
    own = tuple(replace(s, first=jnp.where(s.first < n, s.first, n + p)) for s in setup.basis)
    shifted = tuple(replace(s, first=s.first + n) for s in setup.minimal)
    overlap, _, _ = overlap_kinetic_dipole((*own, *shifted), nuclei, n + p)
    metric = overlap[:n, :n] + jnp.diag(jnp.where(setup.orbital_mask, 0.0, 1.0))
    projected = jax.scipy.linalg.solve(metric, overlap[:n, n:], assume_a="pos")
    return (projected * setup.minimal_occupation) @ projected.T


def _nuclear_repulsion(charges: Array, nuclei: Array) -> Array:
    """Σ_A<B Z_A Z_B / R_AB in Ha; padded atoms have no charge and may lie anywhere."""
    products = jnp.triu(charges[:, None] * charges[None, :], 1)
    squares = jnp.sum((nuclei[:, None] - nuclei[None, :]) ** 2, axis=-1)
    real = products > 0
    return jnp.sum(jnp.where(real, products / jnp.sqrt(jnp.where(real, squares, 1.0)), 0.0))


def _quadrature(setup: Setup, nuclei: Array, *, gradient: bool) -> tuple[Array, Array]:
    """Weights (b, q) and orbitals (b, k, n, q) of the grid, in blocks of q points, as `grid.quadrature`."""
    points, weights = becke_grid(setup.grid, nuclei)
    missing = -len(points) % POINTS_PER_BLOCK
    # filled up with the first point, not the origin: there could be a nucleus, which has no gradient
    filling = jnp.broadcast_to(points[:1], (missing, 3))
    blocks = jnp.concatenate([points, filling]).reshape(-1, POINTS_PER_BLOCK, 3)
    n = setup.orbital_mask.shape[-1]

    @jax.checkpoint
    def block(points: Array) -> Array:
        return orbital_values(setup.basis, nuclei, points, n, derivatives=int(gradient)).mT

    return jnp.pad(weights, (0, missing)).reshape(-1, POINTS_PER_BLOCK), jax.lax.map(block, blocks)
