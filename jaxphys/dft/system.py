"""One molecule's Kohn–Sham equations as a pytree of arrays, and batches of such pytrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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
            blocks=_round_blocks(self.blocks),
            coarse_blocks=_round_blocks(self.coarse_blocks),
            occupied=_round_up(self.occupied, 4),
        )


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def _round_blocks(blocks: int) -> int:
    """By a sixteenth at most: the grid is most of the work."""
    return _round_up(blocks, max(1, 2 ** blocks.bit_length() // 16))


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
    arrays = {name: grow(getattr(system, name), shape) for name, shape in shapes.items()}
    return KohnSham(xc=system.xc, occupied=to.occupied, **arrays)


def grow(array: Leaf, shape: tuple[int, ...]) -> Leaf:
    """The array in the corner of one of zeros, or itself where it has the shape."""
    if array.shape == shape:
        return array
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
