"""Bonds by distance, stable atoms: EDM's tables at hand-made geometries."""

import numpy as np
import pytest

from jaxphys.data import embed_conformers, parse_smiles, positions_of
from jaxphys.metrics import bond_orders, stable_atoms


def pair(distance):
    return np.array([[0.0, 0, 0], [distance, 0, 0]])


def geometry(smiles):
    mol = parse_smiles(smiles)
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    return numbers, positions_of(embed_conformers(mol, 1, seed=0, method="MMFF"))[0]


class TestBondOrders:
    @pytest.mark.parametrize(
        ("numbers", "distance", "order"),
        [
            # the lengths of the tables in Å with their margins: 1.54 + 0.10, 1.34 + 0.05, 1.20 + 0.03
            ((6, 6), 1.6399, 1),
            ((6, 6), 1.6401, 0),
            ((6, 6), 1.3899, 2),
            ((6, 6), 1.3901, 1),
            ((6, 6), 1.2299, 3),
            ((6, 6), 1.2301, 2),
            ((6, 1), 1.1899, 1),
            ((1, 6), 1.1901, 0),
            ((7, 6), 1.1899, 3),
            ((8, 6), 1.2499, 2),
            # no triple bond between N and O, and no double bond of H, however short
            ((7, 8), 1.0, 2),
            ((6, 1), 0.5, 1),
            ((1, 1), 0.0, 1),
            ((6, 16), 1.6499, 2),
        ],
    )
    def test_at_the_limits(self, numbers, distance, order):
        found = bond_orders(np.array(numbers), pair(distance))
        np.testing.assert_array_equal(found, [[0, order], [order, 0]])

    def test_order_of_atoms_does_not_matter(self):
        numbers, positions = geometry("CC(=O)NC#N")
        order = np.random.default_rng(0).permutation(len(numbers))
        np.testing.assert_array_equal(
            bond_orders(numbers[order], positions[order]), bond_orders(numbers, positions)[order][:, order]
        )


class TestStableAtoms:
    @pytest.mark.parametrize(
        "smiles", ["C", "CCO", "C=C", "C#N", "CC(=O)N", "C1CC1", "NCC=O", "CS", "FC(F)F"]
    )
    def test_molecules(self, smiles):
        assert stable_atoms(*geometry(smiles)).all()

    def test_a_missing_hydrogen_leaves_its_carbon_alone_unstable(self):
        numbers, positions = geometry("CC")
        np.testing.assert_array_equal(stable_atoms(numbers[:-1], positions[:-1]), [True, False, *[True] * 5])

    def test_a_lone_atom_is_not_stable(self):
        assert not stable_atoms(np.array([8]), np.zeros((1, 3))).any()

    @pytest.mark.parametrize(
        ("numbers", "positions", "message"),
        [
            ([], np.zeros((0, 3)), "at least one atom, got none"),
            ([6, 1], [[0, 0, 0], [np.nan, 0, 0]], "nan, 0.0, 0.0. for atom 1"),
            ([6, 26], pair(2.0), "atom 1 has atomic number 26"),
        ],
    )
    def test_what_is_refused(self, numbers, positions, message):
        with pytest.raises(ValueError, match=message):
            stable_atoms(np.array(numbers, int), np.asarray(positions, float))
