"""One geometry against its graph and against a reference: bonds, angles, stereochemistry, contacts; host."""

from __future__ import annotations

from collections.abc import Container

import ase.data
import numpy as np
from jaxtyping import Float, Int
from rdkit import Chem

from jaxphys.conformer_positions import with_positions

LONGEST_BOND = 1.3
"""Times the sum of covalent radii; 1.23 is the longest found in minima of GFN2-xTB, that of F2."""

CLOSEST_CONTACT = 1.25
"""Times the sum of covalent radii; 1.67 is the shortest found in minima, of PBE0 in QM7."""

FLATTEST_CENTRE = 0.1
"""Of the volume that four neighbours of an ideal tetrahedral atom span."""

MOST_TWISTED = 20.0
"""Degrees about 90 within which a double bond is neither cis nor trans."""

_TETRAHEDRAL = {Chem.ChiralType.CHI_TETRAHEDRAL_CW: 1, Chem.ChiralType.CHI_TETRAHEDRAL_CCW: -1}
_CIS, _TRANS = Chem.BondStereo.STEREOCIS, Chem.BondStereo.STEREOTRANS
_SIDES = {
    Chem.BondStereo.STEREOZ: ("Z", _CIS),
    Chem.BondStereo.STEREOE: ("E", _TRANS),
    _CIS: ("cis", _CIS),
    _TRANS: ("trans", _TRANS),
}
_OTHER = {"R": "S", "S": "R", "r": "s", "s": "r", "Z": "E", "E": "Z", "cis": "trans", "trans": "cis"}


def bond_length_error(
    mol: Chem.Mol, samples: Float[np.ndarray, "k n 3"], reference: Float[np.ndarray, "n 3"]
) -> float:
    """Mean absolute difference in Å of the graph's bond lengths from those of the reference, atom by atom.

    samples: (k, n, 3), reference: (n, 3), in Å. The mean is over all bonds of all samples. Raises ValueError
    for shapes that do not match, no samples, or a graph without bonds.
    """
    bonds = np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()], dtype=int)
    _check(mol, samples, reference, bonds, "bonds")
    lengths = [_lengths(positions, bonds) for positions in (samples, reference[None])]
    return float(np.mean(np.abs(lengths[0] - lengths[1])))


def angle_error(
    mol: Chem.Mol, samples: Float[np.ndarray, "k n 3"], reference: Float[np.ndarray, "n 3"]
) -> float:
    """Mean absolute difference in degrees of the angles between bonds from the reference's, atom by atom.

    samples: (k, n, 3), reference: (n, 3), in Å. The mean is over all pairs of bonds that share an atom, in
    all samples. Raises ValueError for shapes that do not match, no samples, or a graph without such pairs.
    """
    angles = np.array(
        [
            (neighbours[i], atom.GetIdx(), neighbours[j])
            for atom in mol.GetAtoms()
            for neighbours in [[neighbour.GetIdx() for neighbour in atom.GetNeighbors()]]
            for i in range(len(neighbours))
            for j in range(i)
        ],
        dtype=int,
    )
    _check(mol, samples, reference, angles, "angles")
    values = [_angles(positions, angles) for positions in (samples, reference[None])]
    return float(np.mean(np.abs(values[0] - values[1])))


def stereo_errors(mol: Chem.Mol, positions: Float[np.ndarray, "n 3"]) -> list[str]:
    """What of the stereochemistry that the graph specifies a geometry does not have, in words.

    mol: the graph, with the hydrogens as atoms. positions: (n, 3) in Å. Looked at are tetrahedral atoms and
    double bonds with a label; those without never count, nor do axes. A geometry that differs in atoms that
    the graph's symmetry exchanges, and so is the same isomer, has no errors. Flat atoms, and double bonds
    twisted to between 70° and 110°, count as wrong. Words: "atom 3 (C) is S, asked for R".
    Raises ValueError for another number of atoms, and positions that are not finite.
    """
    with_positions(mol, positions[None])
    graph = Chem.Mol(mol, True)
    Chem.AssignStereochemistry(graph)
    flat, inverted_atoms = _wrong_atoms(graph, positions)
    twisted, inverted_bonds = _wrong_bonds(graph, positions)
    undecided = [*flat.values(), *twisted.values()]
    inverted = [*inverted_atoms.values(), *inverted_bonds.values()]
    if inverted and _isomer(graph, inverted_atoms, inverted_bonds) == _isomer(graph, (), ()):
        return undecided
    return undecided + inverted


def broken_bonds(mol: Chem.Mol, positions: Float[np.ndarray, "n 3"]) -> list[str]:
    """Bonds of the graph that a geometry has not, and contacts that only a bond could have, in words.

    positions: (n, 3) in Å. Broken is a bond longer than 1.3 times the sum of the covalent radii (Cordero et
    al. 2008, Dalton Trans. 2832); a contact is a pair more than two bonds apart that is closer than 1.25
    times it. Words: "bond 0-1 (C-C) is 2.10 Å long, at most 1.98", "atoms 0 and 5 (C, H) are 1.02 Å apart …".
    Minima of PBE0 (QM7), GFN2-xTB, UFF and MMFF94s have neither.
    Raises ValueError for another number of atoms, and positions that are not finite.
    """
    with_positions(mol, positions[None])
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    radii = ase.data.covalent_radii[numbers]
    names = [atom.GetSymbol() for atom in mol.GetAtoms()]
    bonds_apart = Chem.GetDistanceMatrix(mol)
    words = []
    for i, j in np.argwhere(np.triu(bonds_apart != 2, k=1)):
        length, usual = np.linalg.norm(positions[i] - positions[j]), radii[i] + radii[j]
        longest, closest = LONGEST_BOND * usual, CLOSEST_CONTACT * usual
        if bonds_apart[i, j] == 1 and length > longest:
            pair = f"bond {i}-{j} ({names[i]}-{names[j]})"
            words.append(f"{pair} is {length:.2f} Å long, at most {longest:.2f}")
        elif bonds_apart[i, j] > 2 and length < closest:
            pair = f"atoms {i} and {j} ({names[i]}, {names[j]})"
            words.append(f"{pair} are {length:.2f} Å apart without a bond, at least {closest:.2f}")
    return words


def _check(
    mol: Chem.Mol,
    samples: Float[np.ndarray, "k n 3"],
    reference: Float[np.ndarray, "n 3"],
    found: np.ndarray,
    what: str,
) -> None:
    with_positions(mol, samples)
    with_positions(mol, reference[None])
    if not len(samples) or not len(found):
        raise ValueError(f"no {what} to compare: {len(samples)} samples, {len(found)} {what} in the graph")


def _lengths(
    positions: Float[np.ndarray, "k n 3"], bonds: Int[np.ndarray, "b 2"]
) -> Float[np.ndarray, "k b"]:
    return np.linalg.norm(positions[:, bonds[:, 0]] - positions[:, bonds[:, 1]], axis=-1)


def _angles(
    positions: Float[np.ndarray, "k n 3"], angles: Int[np.ndarray, "a 3"]
) -> Float[np.ndarray, "k a"]:
    one, centre, other = (positions[:, angles[:, place]] for place in range(3))
    a, b = one - centre, other - centre
    # arccos loses half of the digits at 180°
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), np.sum(a * b, axis=-1)))


def _handedness(atom: Chem.Atom, positions: Float[np.ndarray, "n 3"]) -> int | None:
    """1 where RDKit's tag would be clockwise, −1 counter-clockwise, 0 for flat, None for another geometry."""
    own = positions[atom.GetIdx()]
    arms = np.array([positions[bond.GetOtherAtomIdx(atom.GetIdx())] - own for bond in atom.GetBonds()])
    if len(arms) not in (3, 4):
        return None
    arms /= np.maximum(np.linalg.norm(arms, axis=1, keepdims=True), 1e-6)
    # A lone pair, the last of four, is opposite to the sum of the others: the atom itself serves as well.
    last, ideal = (arms[3], 16 / 27**0.5) if len(arms) == 4 else (np.zeros(3), 4 / 27**0.5)
    volume = np.linalg.det(arms[:3] - last) / -ideal
    return 0 if abs(volume) < FLATTEST_CENTRE else int(np.sign(volume))


def _wrong_atoms(
    graph: Chem.Mol, positions: Float[np.ndarray, "n 3"]
) -> tuple[dict[int, str], dict[int, str]]:
    """Flat and inverted tetrahedral atoms, in words by index."""
    flat, inverted = {}, {}
    for atom in graph.GetAtoms():
        asked = _TETRAHEDRAL.get(atom.GetChiralTag())
        found = _handedness(atom, positions) if asked else None
        name, label = f"atom {atom.GetIdx()} ({atom.GetSymbol()})", _label(atom)
        if found == 0:
            flat[atom.GetIdx()] = f"{name} is flat, asked for {label}"
        elif found is not None and found != asked:
            inverted[atom.GetIdx()] = f"{name} is {_OTHER.get(label, 'inverted')}, asked for {label}"
    return flat, inverted


def _wrong_bonds(
    graph: Chem.Mol, positions: Float[np.ndarray, "n 3"]
) -> tuple[dict[int, str], dict[int, str]]:
    """Twisted and inverted double bonds, in words by index."""
    twisted, inverted = {}, {}
    for bond in graph.GetBonds():
        if bond.GetStereo() not in _SIDES:
            continue
        label, side = _SIDES[bond.GetStereo()]
        elements = f"{bond.GetBeginAtom().GetSymbol()}={bond.GetEndAtom().GetSymbol()}"
        name = f"bond {bond.GetBeginAtomIdx()}={bond.GetEndAtomIdx()} ({elements})"
        twist = _twist(bond, positions)
        if abs(twist - 90) < MOST_TWISTED:
            twisted[bond.GetIdx()] = f"{name} is twisted to {twist:.0f}°, asked for {label}"
        elif (twist < 90) != (side == _CIS):
            inverted[bond.GetIdx()] = f"{name} is {_OTHER[label]}, asked for {label}"
    return twisted, inverted


def _isomer(graph: Chem.Mol, atoms: Container[int], bonds: Container[int]) -> str:
    """Canonical SMILES of the graph with these atoms and double bonds inverted."""
    isomer = Chem.RWMol(graph)
    for atom in isomer.GetAtoms():
        if atom.GetIdx() in atoms:
            atom.InvertChirality()
    # Atoms first: how the centres of a ring relate is kept apart from their tags, and double bonds are lost.
    Chem.AssignStereochemistry(isomer, cleanIt=True, force=True)
    for bond in graph.GetBonds():
        if bond.GetStereo() in _SIDES:
            _, side = _SIDES[bond.GetStereo()]
            other = isomer.GetBondWithIdx(bond.GetIdx())
            other.SetStereoAtoms(*bond.GetStereoAtoms())
            other.SetStereo(({_CIS, _TRANS} - {side}).pop() if bond.GetIdx() in bonds else side)
    return Chem.MolToSmiles(isomer)


def _twist(bond: Chem.Bond, positions: Float[np.ndarray, "n 3"]) -> float:
    """The angle in degrees, 0 for cis to 180 for trans, between the neighbours that the label is about."""
    begin, end = positions[bond.GetBeginAtomIdx()], positions[bond.GetEndAtomIdx()]
    first, second = (positions[atom] for atom in bond.GetStereoAtoms())
    axis = end - begin
    one, other = np.cross(first - begin, axis), np.cross(second - end, axis)
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(one, other)), one @ other)))


def _label(atom: Chem.Atom) -> str:
    return atom.GetProp("_CIPCode") if atom.HasProp("_CIPCode") else "its mirror image"
