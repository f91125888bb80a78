"""Contracted Gaussian shells as arrays: what a basis set puts on each atom, free of the geometry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from pyscf import gto

Leaf = Any  # an array; while JAX maps over a pytree, whatever JAX puts in its place


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Shells:
    """The shells of one molecule that share an angular momentum and a number of primitives.

    A shell's functions are Σ_k c_k exp(−α_k r²) times the 2l+1 real solid harmonics (`solid_harmonics`) of
    the vector from its centre, in PySCF's order. Padded shells have zero coefficients, exponents of one,
    centre zero, and the number of orbitals as `first`, which is past the end.
    """

    centre: Leaf  # (s,) index of the atom
    exponents: Leaf  # (s, k) 1/Bohr²
    coefficients: Leaf  # (s, k) normalisation included
    first: Leaf  # (s,) index of the shell's first function among the molecule's orbitals
    l: int = field(metadata={"static": True})


Basis = tuple[Shells, ...]
"""All shells of a molecule, in ascending order of (l, number of primitives), each pair at most once."""


def make_shells(mole: gto.Mole) -> Basis:
    """The shells of a PySCF molecule in spherical Gaussians; general contractions are taken apart."""
    found: dict[tuple[int, int], list[tuple[int, np.ndarray, np.ndarray, int]]] = {}
    first = 0
    for shell in range(mole.nbas):
        l = int(mole.bas_angular(shell))
        exponents = mole.bas_exp(shell)
        for column in mole._libcint_ctr_coeff(shell).T:
            used = column != 0
            entry = (int(mole.bas_atom(shell)), exponents[used], column[used], first)
            found.setdefault((l, int(used.sum())), []).append(entry)
            first += 2 * l + 1
    basis = []
    for (l, _), entries in sorted(found.items()):
        centre, exponents, coefficients, starts = (np.array(column) for column in zip(*entries, strict=True))
        basis.append(Shells(centre.astype(np.int32), exponents, coefficients, starts.astype(np.int32), l=l))
    return tuple(basis)


def pad_shells(basis: Basis, counts: dict[tuple[int, int], int], orbitals: int) -> Basis:
    """The same shells in larger arrays: counts by (l, number of primitives), in a system of `orbitals`."""
    own = {(shells.l, shells.exponents.shape[1]): shells for shells in basis}
    padded = []
    for (l, primitives), count in sorted(counts.items()):
        empty = np.zeros((0, primitives))
        none = np.zeros(0, np.int32)
        shells = own.get((l, primitives), Shells(none, empty, empty, none, l=l))
        missing = count - len(shells.centre)
        if missing < 0:
            raise ValueError(f"{len(shells.centre)} shells of l={l} do not fit into {count}")
        rows = [(0, missing), (0, 0)]
        padded.append(
            Shells(
                centre=np.pad(shells.centre, rows[0]),
                exponents=np.pad(shells.exponents, rows, constant_values=1.0),
                coefficients=np.pad(shells.coefficients, rows),
                first=np.pad(shells.first, rows[0], constant_values=orbitals),
                l=l,
            )
        )
    return tuple(padded)


def count_shells(bases: Sequence[Basis]) -> dict[tuple[int, int], int]:
    """The largest count of each (l, number of primitives) among some molecules."""
    counts: dict[tuple[int, int], int] = {}
    for basis in bases:
        for shells in basis:
            key = (shells.l, shells.exponents.shape[1])
            counts[key] = max(counts.get(key, 0), len(shells.centre))
    return counts


def solid_harmonics(l: int) -> np.ndarray:
    """Coefficients of x^i y^j z^k in the real solid harmonics, (number of Cartesians, 2l+1).

    Cartesians in PySCF's order: i descending, then j descending. For l = 1 the functions are x, y, z,
    otherwise m = −l … l.
    """
    return np.asarray(gto.mole.cart2sph(l))
