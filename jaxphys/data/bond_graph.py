"""The molecular graph with bonds, and an orientation of every tetrahedral atom and double bond; host."""

from __future__ import annotations

import jraph
import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from rdkit import Chem

from jaxphys.conformer_positions import positions_of
from jaxphys.data.conformers import check_hydrogens, embed_conformers
from jaxphys.molecule import to_graph

FARTHEST = 5
"""Bonds between two atoms beyond which they are not counted."""

_ORDERS = {
    Chem.BondType.SINGLE: 1,
    Chem.BondType.DOUBLE: 2,
    Chem.BondType.TRIPLE: 3,
    Chem.BondType.AROMATIC: 4,
}
_STIFF = (Chem.BondType.DOUBLE, Chem.BondType.AROMATIC)
_CIS, _TRANS = 1, 2


def bond_graph(
    mol: Chem.Mol,
    positions: ArrayLike | None = None,
    *,
    seed: int = 0,
    n_node: int | None = None,
    n_edge: int | None = None,
) -> jraph.GraphsTuple:
    """The complete graph of `to_graph`, with bonds, formal charges and orientations, in NumPy arrays.

    mol: with explicit hydrogens. positions: (n, 3) in Å, kept in their precision; zeros in float32 without.
    n_node, n_edge: as in `to_graph`. Returned beyond what `to_graph` returns, all int32:
    nodes["formal_charge"] (n_node,) in units of e; nodes["tetrahedron"] (n_node, 4), the neighbours a, b, c
    and d of a four-coordinate atom in an order for which det(b − a, c − a, d − a) > 0, else the atom itself
    four times; edges["bond"] (n_edge,), 0 none, 1, 2, 3, or 4 aromatic; edges["separation"] (n_edge,), the
    bonds between the two, 5 for more and for other fragments; edges["planar"] (n_edge,), for the neighbours
    of the two ends of a double or aromatic bond 1 cis or 2 trans, else 0. Padding edges have zeros.

    Every tetrahedral atom and every double bond between trigonal atoms has an orientation, stereocentre or
    not. For a CH2 or a =CH2 it only tells the hydrogens apart: either is the same molecule. With positions
    they are read off the geometry. Without, off one that RDKit embeds with the stereochemistry that the graph
    specifies, of which nothing else is kept; what the graph leaves open is drawn by the seed. Orders chosen
    atom by atom would not do: those of two bridgeheads depend on each other.
    Raises ValueError for implicit hydrogens, other bonds, positions of another number of atoms, and a graph
    that cannot be embedded.
    """
    check_hydrogens(mol)
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=np.int64)
    placed = np.zeros((len(numbers), 3), np.float32) if positions is None else np.asarray(positions)
    graph = to_graph(numbers, placed, n_node=n_node, n_edge=n_edge)
    if positions is None:
        placed = positions_of(embed_conformers(mol, 1, seed=seed, method=None))[0]
    placed = placed.astype(np.float64)
    padded = len(graph.nodes["numbers"])
    charges = np.array([atom.GetFormalCharge() for atom in mol.GetAtoms()])
    nodes = {
        "formal_charge": np.pad(charges, (0, padded - len(charges))).astype(np.int32),
        "tetrahedron": _tetrahedra(mol, placed, padded),
    }
    pairs = {"bond": _bonds(mol), "separation": _separations(mol), "planar": _planar(mol, placed)}
    real = int(graph.n_edge[0])
    ends = graph.receivers[:real], graph.senders[:real]
    edges = {
        name: np.pad(table[ends], (0, len(graph.senders) - real)).astype(np.int32)
        for name, table in pairs.items()
    }
    return graph._replace(nodes={**graph.nodes, **nodes}, edges=edges)


def _bonds(mol: Chem.Mol) -> Int[np.ndarray, "n n"]:
    table = np.zeros((mol.GetNumAtoms(), mol.GetNumAtoms()), np.int64)
    for bond in mol.GetBonds():
        i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        if bond.GetBondType() not in _ORDERS:
            raise ValueError(
                f"bonds must be single, double, triple or aromatic, got {bond.GetBondType()} "
                f"between atoms {i} and {j}"
            )
        table[i, j] = table[j, i] = _ORDERS[bond.GetBondType()]
    return table


def _separations(mol: Chem.Mol) -> Int[np.ndarray, "n n"]:
    return np.minimum(Chem.GetDistanceMatrix(mol), FARTHEST).astype(np.int64)


def _tetrahedra(mol: Chem.Mol, positions: Float[np.ndarray, "n 3"], n_node: int) -> Int[np.ndarray, "m 4"]:
    corners = np.repeat(np.arange(n_node, dtype=np.int32)[:, None], 4, axis=1)
    for atom in mol.GetAtoms():
        around = _neighbours(atom)
        if len(around) == 4:
            a, b, c, d = around
            inverted = np.linalg.det(positions[[b, c, d]] - positions[a]) < 0
            corners[atom.GetIdx()] = [a, b, d, c] if inverted else [a, b, c, d]
    return corners


def _planar(mol: Chem.Mol, positions: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, "n n"]:
    table = np.zeros((mol.GetNumAtoms(), mol.GetNumAtoms()), np.int64)
    for bond in mol.GetBonds():
        ends = bond.GetBeginAtom(), bond.GetEndAtom()
        if bond.GetBondType() not in _STIFF or not all(map(_trigonal, ends)):
            continue
        i, j = (end.GetIdx() for end in ends)
        first = [atom for atom in _neighbours(ends[0]) if atom != j]
        second = [atom for atom in _neighbours(ends[1]) if atom != i]
        if not first or not second:
            continue
        axis = positions[j] - positions[i]
        # One sign for the bond: where it is twisted, its pairs read one by one could contradict each other.
        arms = _arm(positions, i, first), _arm(positions, j, second)
        same = np.cross(axis, arms[0]) @ np.cross(axis, arms[1]) >= 0
        for p, sign in zip(first, (1, -1), strict=False):
            for q, other in zip(second, (1, -1), strict=False):
                if p != q:
                    table[p, q] = table[q, p] = _CIS if same == (sign == other) else _TRANS
    return table


def _arm(positions: Float[np.ndarray, "n 3"], end: int, around: list[int]) -> Float[np.ndarray, " 3"]:
    """From the end of a bond, or from its second neighbour where it has one, towards its first."""
    return positions[around[0]] - positions[around[1] if len(around) == 2 else end]


def _trigonal(atom: Chem.Atom) -> bool:
    # By hybridisation: neither the middle of an allene nor the sulphur of a sulfoximine has a plane.
    return atom.GetHybridization() == Chem.HybridizationType.SP2 and atom.GetDegree() <= 3


def _neighbours(atom: Chem.Atom) -> list[int]:
    return sorted(neighbour.GetIdx() for neighbour in atom.GetNeighbors())
