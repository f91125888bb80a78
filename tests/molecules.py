"""Small molecules for the tests, (numbers, positions in Å, charge).

Methane, ammonia, benzene and the ions derived from them are built from permutations and signs of a few
numbers, about the axes of the Lebedev grids: their symmetry is exact, also on the grid, and so are
degenerate levels.
"""

from itertools import permutations

import numpy as np
from ase.build import molecule as g2


def from_g2(name, charge=0):
    """A molecule of ASE's G2 collection."""
    atoms = g2(name)
    return atoms.numbers, atoms.positions, charge


def tetrahedral(number, bond, charge):
    """XH4 with the hydrogens on the corners of a cube."""
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * (bond / np.sqrt(3))
    return np.array([number, 1, 1, 1, 1]), np.vstack([np.zeros(3), corners]), charge


def pyramidal(number, near, far, charge):
    """XH3 with its axis along (1, 1, 1)."""
    hydrogens = [[near, far, far], [far, near, far], [far, far, near]]
    return np.array([number, 1, 1, 1]), np.array([[0.0, 0.0, 0.0], *hydrogens]), charge


def ring(carbon, hydrogen):
    """Benzene in the plane perpendicular to (1, 1, 1), from the distances to its centre."""
    corners = np.array(sorted(set(permutations([1, -1, 0])))) / np.sqrt(2)
    return np.array([6] * 6 + [1] * 6), np.vstack([carbon * corners, hydrogen * corners]), 0


def rattled(molecule, size, seed):
    """The molecule without any symmetry."""
    numbers, positions, charge = molecule
    return numbers, positions + size * np.random.default_rng(seed).normal(size=positions.shape), charge


HELIUM = (np.array([2]), np.zeros((1, 3)), 0)
HYDRIDE = (np.array([1]), np.zeros((1, 3)), -1)
HYDROGEN = (np.array([1, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]]), 0)
HELONIUM = (np.array([2, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.78]]), 1)
WATER = from_g2("H2O")
METHANE = tetrahedral(6, 1.09, 0)
AMMONIA = pyramidal(7, 0.965, -0.21, 0)
BENZENE = ring(1.397, 2.481)
METHANOL = rattled(from_g2("CH3OH"), 0.05, seed=0)
HYDROGEN_IODIDE = (np.array([1, 53]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.609]]), 0)
FORMATE = (
    np.array([6, 1, 8, 8]),
    np.array([[0.0, 0.0, 0.31], [0.0, 0.0, 1.44], [0.0, 1.13, -0.20], [0.0, -1.13, -0.20]]),
    -1,
)

# Fifteen of H, C, N, O, F and S; none has more than 48 orbitals in def2-SVP.
SMALL = {
    "water": WATER,
    "ammonia": AMMONIA,
    "methane": METHANE,
    "methanol": METHANOL,
    "hydrogen fluoride": from_g2("HF"),
    "fluorine": from_g2("F2"),
    "hydrogen sulfide": from_g2("SH2"),
    "hydrogen cyanide": from_g2("HCN"),
    "formaldehyde": from_g2("H2CO"),
    "carbonyl sulfide": from_g2("OCS"),
    "sulfur dioxide": from_g2("SO2"),
    "hydroxide": (np.array([8, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.97]]), -1),
    "formate": FORMATE,
    "ammonium": tetrahedral(7, 1.03, 1),
    "hydronium": pyramidal(8, 0.95, -0.2, 1),
}
