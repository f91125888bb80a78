"""Geometries from a SMILES: the force-field minimum, and thermal samples around it.

No data and no quantum chemistry: MMFF94 where RDKit has its parameters for every atom, UFF elsewhere.
"""

import math
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
from rdkit.ForceField.rdForceField import ForceField
from rdkit.rdBase import BlockLogs
from scipy.spatial.transform import Rotation

from jaxphys.molecule import Molecule
from jaxphys.units import BOLTZMANN_IN_EV_PER_KELVIN, KCAL_PER_MOL_IN_EV

SOFTEST_MODE = 0.5  # eV/Å²
LARGEST_FORCE = 0.01  # kcal/mol/Å, at a converged minimum
STEP = 1e-4  # Å: truncation and rounding both stay below 1e-6 of a bond's force constant

Gradient = Callable[[Float[np.ndarray, "n 3"]], Float[np.ndarray, "n 3"]]


def embed(smiles: str, *, seed: int) -> Molecule:
    """A molecule with its hydrogens at a minimum of the force field, its centroid at the origin.

    ETKDGv3 coordinates from `seed`, then a minimisation in MMFF94, or UFF. The formal charge is kept; the
    name is the canonical SMILES, whose order the atoms follow, hydrogens last: spellings of one molecule
    give one result. Raises ValueError for a SMILES that is invalid, or that RDKit cannot embed,
    parametrise or minimise, and for a negative seed.
    """
    return _minimum(smiles, seed)[0]


def thermal(smiles: str, count: int, *, temperature: float = 300.0, seed: int) -> list[Molecule]:
    """Samples of the classical thermal motion of one molecule around its minimum, each randomly oriented.

    temperature: in K. The displacements, in Å, are Gaussian with the covariance kT·H⁺ of the harmonic force
    field at the minimum `embed(smiles, seed=seed)`, without translation and rotation: see `thermal_modes`.
    The orientation is uniform over SO(3), so that it never is information; the centroid is at the origin.
    Same arguments, same samples; a smaller count gives the first of them.
    Raises ValueError as `embed` does, for a count below 1 and for a negative or infinite temperature.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be finite and not negative, in K, got {temperature}")
    minimum, gradient = _minimum(smiles, seed)
    kt = BOLTZMANN_IN_EV_PER_KELVIN * temperature
    modes = thermal_modes(hessian(gradient, minimum.positions), minimum.positions, kt)
    # The built-in hash of a string differs from process to process.
    rng = np.random.default_rng([seed, zlib.crc32(minimum.name.encode())])
    samples = []
    for _ in range(count):
        displacement = modes @ rng.standard_normal(modes.shape[1])
        rotation = Rotation.from_quat(rng.standard_normal(4)).as_matrix()
        positions = (minimum.positions + displacement.reshape(-1, 3)) @ rotation.T
        samples.append(Molecule(minimum.numbers, positions, charge=minimum.charge, name=minimum.name))
    return samples


def hessian(gradient: Gradient, positions: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "d d"]:
    """Second derivatives of the energy in eV/Å², (d, d) with d = 3n, by central differences, symmetrised.

    gradient: positions (n, 3) in Å to the energy's gradient (n, 3) in eV/Å. positions: (n, 3) in Å.
    """
    steps = STEP * np.eye(positions.size).reshape(-1, *positions.shape)
    rows = [(gradient(positions + step) - gradient(positions - step)).ravel() for step in steps]
    matrix = np.array(rows) / (2 * STEP)
    return (matrix + matrix.T) / 2


def rigid_motions(positions: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "d r"]:
    """Orthonormal basis (d, r) of translations and rotations, d = 3n.

    positions: (n, 3) in Å. r = 6, 5 for a linear molecule, 3 for an atom.
    """
    translations = np.tile(np.eye(3), (len(positions), 1))
    centred = positions - positions.mean(axis=0)
    rotations = np.stack([np.cross(axis, centred).ravel() for axis in np.eye(3)], axis=1)
    basis, sizes, _ = np.linalg.svd(np.concatenate([translations, rotations], axis=1), full_matrices=False)
    # A minimised linear molecule is straight to about 1e-5 Å only.
    return basis[:, sizes > 1e-3 * sizes.max()]


def thermal_modes(
    force_constants: Float[np.ndarray, "d d"], positions: Float[np.ndarray, "n 3"], kt: float
) -> Float[np.ndarray, "d m"]:
    """Thermal displacements L in Å, one mode a column: L times a standard normal vector has covariance kT·H⁺.

    force_constants: H in eV/Å², (d, d) with d = 3n, at a minimum. positions: (n, 3) in Å. kt: in eV.
    m = 3n − 6, or 3n − 5 for a linear molecule: H is inverted without translations and rotations.
    Eigenvalues below 0.5 eV/Å² count as that, which is 0.23 Å over all atoms at 300 K: further along a soft
    torsion, a straight line would stretch bonds.
    """
    rigid = rigid_motions(positions)
    internal = np.linalg.svd(rigid)[0][:, rigid.shape[1] :]
    stiffness, vectors = np.linalg.eigh(internal.T @ force_constants @ internal)
    return internal @ vectors * np.sqrt(kt / np.maximum(stiffness, SOFTEST_MODE))


def _minimum(smiles: str, seed: int) -> tuple[Molecule, Gradient]:
    """The embedded minimum, and the gradient of its force field, in eV/Å."""
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    with BlockLogs():  # RDKit writes its own account of a failure to stderr
        name = _canonical(smiles)
        mol = _embedded(name, seed)
        gradient: Gradient = np.zeros_like
        if mol.GetNumAtoms() > 1:
            gradient = _minimise(mol, name)
    positions = mol.GetConformer().GetPositions()
    numbers = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
    centred = positions - positions.mean(axis=0)
    return Molecule(np.array(numbers), centred, charge=Chem.GetFormalCharge(mol), name=name), gradient


def _canonical(smiles: str) -> str:
    mol = Chem.MolFromSmiles(smiles)
    if mol is None or mol.GetNumAtoms() == 0:
        raise ValueError(f"invalid SMILES {smiles!r}")
    return Chem.MolToSmiles(mol)


def _embedded(smiles: str, seed: int) -> Chem.Mol:
    """The molecule of a valid SMILES, with hydrogens and one conformer, not yet minimised."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    settings: Any = rdDistGeom.ETKDGv3()  # RDKit's type stubs know no attributes
    settings.randomSeed = seed % 2**31  # RDKit takes 31 bits, and takes a negative seed as none
    if rdDistGeom.EmbedMolecule(mol, settings) != 0:
        settings.useRandomCoords = True
        if rdDistGeom.EmbedMolecule(mol, settings) != 0:
            raise ValueError(f"RDKit finds no geometry for the SMILES {smiles!r}")
    return mol


def _minimise(mol: Chem.Mol, smiles: str) -> Gradient:
    """Move the molecule's conformer to a minimum of its force field; return the gradient in eV/Å."""
    field = _force_field(mol, smiles)
    field.Minimize(maxIts=100_000, forceTol=1e-6, energyTol=1e-12)

    def gradient(positions: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        coordinates = positions.ravel().tolist()
        # CalcGrad alone uses the distances that the last CalcEnergy left behind, and returns wrong numbers.
        field.CalcEnergy(coordinates)
        return KCAL_PER_MOL_IN_EV * np.array(field.CalcGrad(coordinates)).reshape(-1, 3)

    force = np.abs(gradient(mol.GetConformer().GetPositions())).max() / KCAL_PER_MOL_IN_EV
    if not force < LARGEST_FORCE:
        raise ValueError(f"the force field finds no minimum for {smiles!r}: {force:.2g} kcal/mol/Å are left")
    return gradient


def _force_field(mol: Chem.Mol, smiles: str) -> ForceField:
    """MMFF94 if it knows every atom, or UFF; fragments of one SMILES interact."""
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol, mmffVariant="MMFF94")
        return rdForceFieldHelpers.MMFFGetMoleculeForceField(
            mol, properties, ignoreInterfragInteractions=False
        )
    if rdForceFieldHelpers.UFFHasAllMoleculeParams(mol):
        return rdForceFieldHelpers.UFFGetMoleculeForceField(mol, ignoreInterfragInteractions=False)
    raise ValueError(f"neither MMFF94 nor UFF has parameters for every atom of {smiles!r}")
