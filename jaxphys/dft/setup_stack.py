"""Setups of different molecules in one stack: their common sizes, and the memory of a batch of them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import jax
import numpy as np

from jaxphys.dft.assembly import Setup, setup
from jaxphys.dft.becke import pad_template
from jaxphys.dft.functionals import functional
from jaxphys.dft.grid import POINTS_PER_BLOCK
from jaxphys.dft.shells import Basis, count_shells, pad_shells

Shells = tuple[tuple[tuple[int, int], int], ...]
"""Pairs of (l, number of primitives) and the number of such shells, in ascending order."""

BASES = ("basis", "auxiliary", "minimal")
COUNTS = ("atoms", "orbitals", "auxiliaries", "minimal_orbitals", "points")


TILES = 0.032
"""What integrals of one molecule take beside their results, GB."""


@dataclass(frozen=True)
class SetupSizes:
    """Array sizes of a `Setup`: all that a program for it depends on, but functional and spin."""

    atoms: int
    orbitals: int
    auxiliaries: int
    minimal_orbitals: int
    points: int
    occupied: int
    basis: Shells
    auxiliary: Shells
    minimal: Shells

    def __or__(self, other: SetupSizes) -> SetupSizes:
        """Smallest sizes that hold both."""
        sizes: dict[str, Any] = {}
        for name in (field.name for field in fields(self)):
            larger: Any = _either if name in BASES else max
            sizes[name] = larger(getattr(self, name), getattr(other, name))
        return SetupSizes(**sizes)

    def bucket(self) -> SetupSizes:
        """Sizes rounded up so that similar molecules share one compiled program."""
        return SetupSizes(
            atoms=_round_up(self.atoms, 4),
            orbitals=_round_up(self.orbitals, 8),
            auxiliaries=_round_up(self.auxiliaries, 64),
            minimal_orbitals=_round_up(self.minimal_orbitals, 8),
            points=_round_up(self.points, 16 * POINTS_PER_BLOCK),
            occupied=_round_up(self.occupied, 4),
            basis=_round_shells(self.basis),
            auxiliary=_round_shells(self.auxiliary),
            minimal=_round_shells(self.minimal),
        )

    @property
    def combinations(self) -> int:
        """Combinations of primitives in the three-centre integrals: their work."""
        own, auxiliary = (sum(k * s for (_, k), s in shells) for shells in (self.basis, self.auxiliary))
        return own * (own + 1) // 2 * auxiliary


def _either(one: Shells, other: Shells) -> Shells:
    return tuple(sorted((Counter(dict(one)) | Counter(dict(other))).items()))


def _round_shells(shells: Shells) -> Shells:
    return tuple((kind, _round_up(count, 4)) for kind, count in shells)


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def setup_sizes(setup: Setup) -> SetupSizes:
    """Sizes of one setup."""

    def shells(basis: Basis) -> Shells:
        return tuple(sorted(count_shells([basis]).items()))

    return SetupSizes(
        atoms=len(setup.numbers),
        orbitals=len(setup.orbital_mask),
        auxiliaries=len(setup.auxiliary_mask),
        minimal_orbitals=len(setup.minimal_occupation),
        points=len(setup.grid.volumes),
        occupied=setup.occupied,
        basis=shells(setup.basis),
        auxiliary=shells(setup.auxiliary),
        minimal=shells(setup.minimal),
    )


def expected_sizes(numbers: Any, *, charge: int = 0, spin: int | None = None, **method: Any) -> SetupSizes:
    """Sizes that `setup` of the same arguments would have, element by element, without making it.

    Raises ValueError for elements and methods that `setup` refuses.
    """
    elements = Counter(np.asarray(numbers).tolist())
    own = [(_element_sizes(number, **method), count) for number, count in elements.items()]

    def total(name: str) -> int:
        return sum(getattr(sizes, name) * count for sizes, count in own)

    def shells(name: str) -> Shells:
        counts: Counter[tuple[int, int]] = Counter()
        for sizes, count in own:
            counts.update({kind: number * count for kind, number in getattr(sizes, name)})
        return tuple(sorted(counts.items()))

    occupied = (int(np.sum(numbers)) - charge + (spin or 0)) // 2
    sizes: dict[str, Any] = {name: total(name) for name in COUNTS}
    sizes |= {name: shells(name) for name in BASES}
    return SetupSizes(occupied=occupied, **sizes)


@functools.cache
def _element_sizes(number: int, **method: Any) -> SetupSizes:
    return setup_sizes(setup([number], spin=number % 2, **method))


def stack_setups(setups: Sequence[Setup], to: SetupSizes | None = None) -> Setup:
    """Setups padded to one shape that similar molecules share, with a leading axis for `jax.vmap`.

    to: the common sizes; by default the bucket of all. Raises ValueError for no setups, and for setups that
    do not belong together or do not fit.
    """
    if not setups:
        raise ValueError("stack_setups needs at least one setup, got none")
    if len({setup.xc for setup in setups}) > 1 or len({setup.occupation.ndim for setup in setups}) > 1:
        raise ValueError("setups of one stack must share the functional, and all have spin given or none")
    to = to or common_sizes(setups)
    padded = [_pad_setup(setup, to) for setup in setups]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *padded)


def common_sizes(setups: Sequence[Setup]) -> SetupSizes:
    """The bucket that holds all of these setups."""
    return functools.reduce(SetupSizes.__or__, map(setup_sizes, setups)).bucket()


def _pad_setup(setup: Setup, to: SetupSizes) -> Setup:
    if setup_sizes(setup) | to != to:
        raise ValueError(f"cannot pad a setup of sizes {setup_sizes(setup)} to smaller ones, {to}")

    def grow(array: np.ndarray, size: int) -> np.ndarray:
        return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, size - array.shape[-1])])

    return Setup(
        numbers=grow(setup.numbers, to.atoms),
        occupation=grow(setup.occupation, to.orbitals),
        orbital_mask=grow(setup.orbital_mask, to.orbitals),
        auxiliary_mask=grow(setup.auxiliary_mask, to.auxiliaries),
        basis=pad_shells(setup.basis, dict(to.basis), to.orbitals),
        auxiliary=pad_shells(setup.auxiliary, dict(to.auxiliary), to.auxiliaries),
        minimal=pad_shells(setup.minimal, dict(to.minimal), to.minimal_orbitals),
        minimal_occupation=grow(setup.minimal_occupation, to.minimal_orbitals),
        grid=pad_template(setup.grid, to.atoms, to.points),
        xc=setup.xc,
        occupied=to.occupied,
    )


def batch_size(setups: Sequence[Setup], memory: float) -> int:
    """How many of these molecules `scf(assemble(...))`, with forces, can do at once in so much memory, GB.

    Raises ValueError where not even one fits, with what to lower.
    """
    sizes, first = common_sizes(setups), setups[0]
    return fitting_batch(sizes, memory, xc=first.xc, open_shell=first.occupation.ndim == 2)


def fitting_batch(sizes: SetupSizes, memory: float, *, xc: str, open_shell: bool) -> int:
    """`batch_size` of setups padded to these sizes."""
    needed = memory_needed(sizes, xc=xc, open_shell=open_shell)
    if needed > memory:
        raise ValueError(
            f"one molecule needs about {needed:.2g} GB, more than the {memory:.3g} GB given; lower the grid "
            f"level ({_points(sizes)} points) or take a smaller basis ({sizes.orbitals} orbitals)"
        )
    return int(memory / needed)


def memory_needed(sizes: SetupSizes, *, xc: str, open_shell: bool) -> float:
    """Memory in GB of one molecule in a batch of `scf(assemble(...))` or of `assembled_forces`.

    Counted as XLA (jax 0.10.1, CPU) allocates them, the forces above all: the orbital values, their copy by
    `jax.vmap` and a cotangent for each spin; the fitting tensors likewise; matrices; tiles of integrals.
    """
    method, n, spins = functional(xc), sizes.orbitals, 2 if open_shell else 1
    values = (4 if method.needs_gradient else 1) * n * _points(sizes)
    exchange = sizes.auxiliaries * n * n if method.exact_exchange else 0
    fitting = sizes.auxiliaries * n * (n + 1) // 2
    numbers = (2.05 + spins) * values + 2 * spins * exchange + 1.5 * fitting + 40 * spins * n * n
    return 8e-9 * numbers + TILES


def _points(sizes: SetupSizes) -> int:
    return _round_up(sizes.points, POINTS_PER_BLOCK)
