"""One molecule's Kohn–Sham equations as a pytree of arrays, and batches of such pytrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.dft import grid, integrals
from jaxphys.dft.basis import build_auxiliary, build_mole
from jaxphys.dft.functionals import functional
from jaxphys.units import BOHR_IN_ANGSTROM

Leaf = Any  # an array; while JAX maps over a pytree, whatever JAX puts in its place


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class KohnSham:
    """What defines a Kohn–Sham problem, in Hartree and Bohr, float64.

    Sizes: a atoms, n orbitals, m auxiliary functions, b blocks of q grid points; a batch adds a leading
    axis to each. Padding is inert: padded orbitals have empty rows everywhere and lie above all others,
    padded grid points have no weight, padded atoms no charge. The occupation's axes decide whether the
    shell is closed or open; the matrices of an open shell have a leading axis for the two spins.
    """

    numbers: Leaf  # (a,) atomic numbers, 0 for padding
    positions: Leaf  # (a, 3)
    nuclear_charges: Leaf  # (a,) without the electrons of a core potential
    nuclear_repulsion: Leaf  # ()
    occupation: Leaf  # (n,) 2 for the occupied orbitals in order of energy, then 0; open shell: (2, n) of 1
    orbital_mask: Leaf  # (n,) which columns of the orthonormaliser are real
    overlap: Leaf  # (n, n)
    orthonormaliser: Leaf  # (n, n) X with Xᵀ S X = 1
    core: Leaf  # (n, n) kinetic energy, nuclear attraction, core potentials
    dipole_integrals: Leaf  # (3, n, n)
    guess_density: Leaf  # (n, n) superposition of atomic densities
    fitting: Leaf  # (m, n(n+1)/2) whitened three-centre integrals
    exchange_fitting: Leaf  # (n, m, n) the same with full pairs; (n, 0, n) where no exchange is needed
    long_range_fitting: Leaf  # (n, m, n) of the long-range interaction erf(ωr)/r; (n, 0, n) where not needed
    grid_weights: Leaf  # (b, q)
    orbital_values: Leaf  # (b, 1 or 4, n, q) orbitals on the grid, and their gradients for a GGA
    coarse_weights: Leaf  # (c, q) a coarser grid, on which `scf` begins; (0, q) where there is none
    coarse_values: Leaf  # (c, 1 or 4, n, q)
    xc: str = field(metadata={"static": True})
    occupied: int = field(metadata={"static": True})  # orbitals beyond this are empty


@dataclass(frozen=True)
class Sizes:
    """Array sizes that a compiled program depends on."""

    atoms: int
    orbitals: int
    auxiliaries: int
    blocks: int
    coarse_blocks: int
    occupied: int

    def __or__(self, other: Sizes) -> Sizes:
        """Smallest sizes that hold both."""
        return Sizes(*(max(getattr(self, f.name), getattr(other, f.name)) for f in fields(Sizes)))

    def bucket(self) -> Sizes:
        """Sizes rounded up so that similar molecules share one compiled program."""
        return Sizes(
            atoms=_round_up(self.atoms, 4),
            orbitals=_round_up(self.orbitals, 8),
            auxiliaries=_round_up(self.auxiliaries, 64),
            blocks=self.blocks,
            coarse_blocks=self.coarse_blocks,
            occupied=_round_up(self.occupied, 4),
        )


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def sizes(system: KohnSham) -> Sizes:
    """Sizes of one system, or of a stack."""
    return Sizes(
        atoms=system.numbers.shape[-1],
        orbitals=system.overlap.shape[-1],
        auxiliaries=system.fitting.shape[-2],
        blocks=system.grid_weights.shape[-2],
        coarse_blocks=system.coarse_weights.shape[-2],
        occupied=system.occupied,
    )


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
    integrals: str = "auto",
) -> KohnSham:
    """Integrals, fitting tensor and grid of one molecule, computed on the host.

    numbers: (a,) atomic numbers; positions: (a, 3) in Å; charge: total charge in e; spin: the number of
    unpaired electrons of an open shell (unrestricted), or None for a closed one; basis, auxbasis: any
    names PySCF knows (auxbasis=None takes the fitted set that belongs to the basis, else an automatic
    one); xc: a name that `dft.functional` knows; grid_level: 0 (coarse) to 9, PySCF's levels; coarse_level: a lower
    one on which `scf` does its first cycles, faster to the same end; integrals: "libcint", which is what
    "auto" takes.
    Raises ValueError for bad input and RuntimeError when JAX's 64-bit mode is off.
    """
    require_x64()
    if integrals not in ("auto", "libcint"):
        raise ValueError(f"integrals must be 'auto' or 'libcint', got {integrals!r}")
    if grid_level not in range(10):
        raise ValueError(f"grid_level must be an integer from 0 to 9, got {grid_level!r}")
    if coarse_level is not None and coarse_level not in range(grid_level):
        raise ValueError(f"coarse_level must be below grid_level {grid_level} or None, got {coarse_level!r}")
    method = functional(xc)
    numbers, positions = np.asarray(numbers), np.asarray(positions, dtype=np.float64)
    mole = build_mole(numbers, positions, charge=charge, spin=spin, basis=basis)
    arrays = _host_arrays(mole, method, auxbasis, grid_level, coarse_level)
    occupation = occupation_of(mole, arrays["orbital_mask"], spin)
    return KohnSham(
        numbers=np.asarray(numbers, dtype=np.int32),
        positions=positions / BOHR_IN_ANGSTROM,
        xc=method.name,
        occupation=occupation,
        occupied=int(np.max(np.sum(occupation > 0, axis=-1))),
        **arrays,
    )


def occupation_of(mole: Any, mask: np.ndarray, spin: int | None) -> np.ndarray:
    """Electrons in each orbital, (n,), or of each spin (2, n) for an open shell."""
    unpaired = spin or 0
    counts = [(mole.nelectron + unpaired) // 2, (mole.nelectron - unpaired) // 2]
    if counts[0] > mask.sum():
        raise ValueError(
            f"{mole.nelectron} electrons do not fit into the {mask.sum()} independent orbitals of basis "
            f"{mole.basis!r}; take a larger basis or a higher charge"
        )
    order = np.arange(len(mask))
    if spin is None:
        return np.where(order < counts[0], 2.0, 0.0)
    return np.stack([np.where(order < count, 1.0, 0.0) for count in counts])


def _host_arrays(
    mole: Any, method: Any, auxbasis: str | None, grid_level: int, coarse_level: int | None
) -> dict[str, np.ndarray]:
    arrays = integrals.one_electron(mole)
    n = mole.nao
    transformation, mask = integrals.orthonormaliser(arrays["overlap"])
    auxiliary = build_auxiliary(mole, method.pyscf_name, auxbasis)
    fitting = integrals.density_fitting(mole, auxiliary)
    none = np.zeros((n, 0, n))
    exchange = integrals.unpack_exchange(fitting, n) if method.exact_exchange else none
    long_range = none
    if method.range_separation:
        packed = integrals.density_fitting(mole, auxiliary, omega=method.range_separation.omega)
        long_range = integrals.unpack_exchange(packed, n)
    return arrays | {
        "nuclear_charges": mole.atom_charges().astype(np.float64),
        "nuclear_repulsion": np.float64(mole.energy_nuc()),
        "orbital_mask": mask,
        "orthonormaliser": transformation,
        "guess_density": integrals.minao_density(mole, arrays["overlap"]),
        "fitting": fitting,
        "exchange_fitting": exchange,
        "long_range_fitting": long_range,
        **_quadratures(mole, method, grid_level, coarse_level),
    }


def _quadratures(mole: Any, method: Any, level: int, coarse_level: int | None) -> dict[str, np.ndarray]:
    weights, values = grid.quadrature(mole, level, gradient=method.needs_gradient)
    coarse = weights[:0], values[:0]
    if coarse_level is not None:
        coarse = grid.quadrature(mole, coarse_level, gradient=method.needs_gradient)
    names = ("grid_weights", "orbital_values", "coarse_weights", "coarse_values")
    return dict(zip(names, (weights, values, *coarse), strict=True))


def pad(system: KohnSham, to: Sizes) -> KohnSham:
    """The same system in larger arrays; results do not change."""
    has = sizes(system)
    if has | to != to:
        raise ValueError(f"cannot pad {has} into smaller sizes {to}")
    n, m, a = to.orbitals, to.auxiliaries, to.atoms
    b, c = to.blocks, to.coarse_blocks
    pairs = n * (n + 1) // 2  # packed rows are prefixes of longer ones
    exchange, long_range = (
        m if fitting.shape[1] else 0 for fitting in (system.exchange_fitting, system.long_range_fitting)
    )
    shapes: dict[str, tuple[int, ...]] = {
        "numbers": (a,),
        "positions": (a, 3),
        "nuclear_charges": (a,),
        "nuclear_repulsion": (),
        "occupation": (*system.occupation.shape[:-1], n),
        "orbital_mask": (n,),
        "overlap": (n, n),
        "orthonormaliser": (n, n),
        "core": (n, n),
        "dipole_integrals": (3, n, n),
        "guess_density": (n, n),
        "fitting": (m, pairs),
        "exchange_fitting": (n, exchange, n),
        "long_range_fitting": (n, long_range, n),
        "grid_weights": (b, system.grid_weights.shape[1]),
        "orbital_values": (b, system.orbital_values.shape[1], n, system.orbital_values.shape[3]),
        "coarse_weights": (c, system.coarse_weights.shape[1]),
        "coarse_values": (c, system.coarse_values.shape[1], n, system.coarse_values.shape[3]),
    }
    arrays = {name: _grow(getattr(system, name), shape) for name, shape in shapes.items()}
    return KohnSham(xc=system.xc, occupied=to.occupied, **arrays)


def _grow(array: Leaf, shape: tuple[int, ...]) -> np.ndarray:
    grown = np.zeros(shape, array.dtype)
    grown[tuple(slice(size) for size in array.shape)] = array
    return grown


def stack(systems: Sequence[KohnSham], *, to: Sizes | None = None) -> KohnSham:
    """Systems padded to one shape, with a leading axis for `jax.vmap`.

    to: the common sizes; by default the bucket of the largest, so that batches of similar molecules
    share one compiled program. Raises ValueError for no systems or different functionals.
    """
    if not systems:
        raise ValueError("stack needs at least one system, got none")
    names = sorted({system.xc for system in systems})
    if len(names) > 1:
        raise ValueError(f"systems of one stack must share the functional, got {', '.join(names)}")
    if len({np.ndim(system.occupation) for system in systems}) > 1:
        raise ValueError("systems of one stack must be all closed or all open shells (spin given), got both")
    if to is None:
        to = sizes(systems[0])
        for system in systems[1:]:
            to = to | sizes(system)
        to = to.bucket()
    # filled in place: at most one padded system exists beside the stack, which may be most of the memory
    batch = jax.tree.map(lambda leaf: np.empty((len(systems), *leaf.shape), leaf.dtype), pad(systems[0], to))
    for index, system in enumerate(systems):
        jax.tree.map(lambda whole, leaf, i=index: whole.__setitem__(i, leaf), batch, pad(system, to))
    return batch


def check(system: KohnSham, **matrices: Any) -> None:
    """Raise unless JAX runs in 64 bits, the system is a single one, and each matrix has its shape."""
    require_x64()
    shape = np.shape(system.overlap)
    if len(shape) != 2:
        raise ValueError(f"expected one system, got a stack of {shape[0]}: map over it with jax.vmap")
    shape = (*np.shape(system.occupation)[:-1], *shape)
    for name, matrix in matrices.items():
        if np.shape(matrix) != shape:
            raise ValueError(f"{name} must have the shape {shape} of its system, got {np.shape(matrix)}")


def require_x64() -> None:
    """Raise RuntimeError unless JAX runs with 64-bit numbers."""
    if jnp.result_type(float) != jnp.float64:
        raise RuntimeError(
            "jaxphys.dft needs float64: call jax.config.update('jax_enable_x64', True) before the first "
            "JAX computation, or set the environment variable JAX_ENABLE_X64=1"
        )
