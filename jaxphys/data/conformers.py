"""Conformers of a molecular graph: its SMILES, minima of a force field, and that field's energies; host."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
from rdkit.ForceField.rdForceField import ForceField
from rdkit.rdBase import BlockLogs

from jaxphys.conformer_positions import positions_of, with_positions
from jaxphys.units import KCAL_PER_MOL_IN_EV

ForceFieldMethod = Literal["UFF", "MMFF"]

LARGEST_FORCE = 1e-3 * KCAL_PER_MOL_IN_EV  # eV/Å, on one component, at a converged minimum
_STEPS = 20_000
_EVERY_PAIR = 1e3  # beyond any molecule: pairs that a cut-off leaves out would depend on the first conformer


def parse_smiles(smiles: str) -> Chem.Mol:
    """The graph of a SMILES with explicit hydrogens; its atoms in the order written, then the hydrogens.

    Raises ValueError for what has no closed-shell structure of its own: text that is no SMILES, several
    fragments, atoms of no element (*), unpaired electrons.
    """
    with BlockLogs():  # RDKit writes its own account of a failure to stderr
        mol = Chem.MolFromSmiles(smiles)
        if mol is None or not mol.GetNumAtoms():
            raise ValueError(f"{smiles!r} is not a SMILES that RDKit can read")
        mol = Chem.AddHs(mol)
    fragments = len(Chem.GetMolFrags(mol))
    if fragments > 1:
        raise ValueError(f"{smiles!r} has {fragments} fragments; one molecule is needed, without a dot")
    for atom in mol.GetAtoms():
        if not atom.GetAtomicNum():
            raise ValueError(f"{smiles!r} has an atom without an element (*), atom {atom.GetIdx()}")
        if atom.GetNumRadicalElectrons():
            raise ValueError(
                f"{smiles!r} has {atom.GetNumRadicalElectrons()} unpaired electrons on atom {atom.GetIdx()} "
                f"({atom.GetSymbol()}); a closed shell is needed"
            )
    electrons = sum(atom.GetAtomicNum() for atom in mol.GetAtoms()) - Chem.GetFormalCharge(mol)
    if electrons % 2:
        raise ValueError(f"{smiles!r} has {electrons} electrons, an odd number; a closed shell is needed")
    return mol


def embed_conformers(
    mol: Chem.Mol, count: int, *, seed: int, method: ForceFieldMethod | None = "UFF"
) -> Chem.Mol:
    """A copy of the graph with up to `count` conformers: ETKDGv3, then a minimum of the force field of each.

    mol: with explicit hydrogens; its own conformers are dropped. method: "UFF", "MMFF" (MMFF94s), or None
    for the embedded geometries as they are. Only those are kept whose largest force component falls below
    4.3e-5 eV/Å (1e-3 kcal/mol/Å). Same arguments, same conformers; equal minima stay.
    Stereochemistry that the graph specifies is kept, the rest is drawn, strained ring fusions among it:
    cyclohexene oxide can come out trans, 2.2 eV above cis in UFF. Raises ValueError for a count below
    1, a negative seed, implicit hydrogens, a graph that cannot be embedded or minimised, and missing
    parameters.
    Source: Wang et al. 2020, J. Chem. Inf. Model. 60, 2044 (ETKDGv3).
    """
    if count < 1 or seed < 0:
        raise ValueError(f"count must be at least 1 and seed not negative, got {count} and {seed}")
    check_hydrogens(mol)
    with BlockLogs():
        embedded = _embedded(mol, count, seed)
        if method is None or mol.GetNumAtoms() == 1:
            return embedded
        check_parameters(mol, method)
        left = [_minimise(embedded, conformer.GetId(), method) for conformer in embedded.GetConformers()]
    converged = np.array(left) < LARGEST_FORCE
    if not converged.any():
        raise ValueError(
            f"no minimum of {_name(mol)} in {method}: {min(left):.2g} eV/Å are left at the least"
        )
    return with_positions(mol, positions_of(embedded)[converged])


def force_field_energies(
    mol: Chem.Mol, positions: Float[np.ndarray, "k n 3"], method: ForceFieldMethod
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "k n 3"]]:
    """Energies (k,) in eV and forces (k, n, 3) in eV/Å of the geometries in UFF, or MMFF94s for "MMFF".

    mol: the graph, with explicit hydrogens. positions: (k, n, 3) in Å. Zeros for a single atom. Raises
    ValueError as `with_positions` does, and for missing parameters.
    """
    mol = with_positions(mol, positions)
    check_hydrogens(mol)
    energies, forces = np.zeros(len(positions)), np.zeros(positions.shape)
    if not len(positions) or mol.GetNumAtoms() == 1:
        return energies, forces
    check_parameters(mol, method)
    with BlockLogs():
        field = _force_field(mol, 0, method)
    for k, conformer in enumerate(positions.astype(np.float64)):
        coordinates = conformer.ravel().tolist()
        # First: CalcGrad uses the distances that the last CalcEnergy left behind.
        energies[k] = field.CalcEnergy(coordinates)
        forces[k] = -np.array(field.CalcGrad(coordinates)).reshape(-1, 3)
    return KCAL_PER_MOL_IN_EV * energies, KCAL_PER_MOL_IN_EV * forces


def _embedded(mol: Chem.Mol, count: int, seed: int) -> Chem.Mol:
    mol = Chem.Mol(mol)
    settings: Any = rdDistGeom.ETKDGv3()  # RDKit's type stubs know no attributes
    # By itself RDKit multiplies the seed with the number of each conformer: 0 would give one conformer many
    # times, and neighbouring seeds would share some.
    settings.randomSeed = int(np.random.SeedSequence(seed).generate_state(1)[0]) % 2**30
    settings.enableSequentialRandomSeeds = True
    if not len(rdDistGeom.EmbedMultipleConfs(mol, count, settings)):
        settings.useRandomCoords = True
        if not len(rdDistGeom.EmbedMultipleConfs(mol, count, settings)):
            raise ValueError(f"RDKit finds no geometry for {_name(mol)}")
    return with_positions(mol, positions_of(mol))


def _minimise(mol: Chem.Mol, conformer: int, method: ForceFieldMethod) -> float:
    """Move one conformer to a minimum; return the largest force component left, in eV/Å."""
    # RDKit's calls for all conformers at once take no tolerance, and leave forces a hundred times larger.
    field = _force_field(mol, conformer, method)
    field.Minimize(maxIts=_STEPS, forceTol=1e-6, energyTol=1e-12)
    field.CalcEnergy()
    return KCAL_PER_MOL_IN_EV * float(np.abs(field.CalcGrad()).max())


def _force_field(mol: Chem.Mol, conformer: int, method: ForceFieldMethod) -> ForceField:
    if method == "UFF":
        return rdForceFieldHelpers.UFFGetMoleculeForceField(mol, vdwThresh=_EVERY_PAIR, confId=conformer)
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol, mmffVariant="MMFF94s")
    return rdForceFieldHelpers.MMFFGetMoleculeForceField(
        mol, properties, nonBondedThresh=_EVERY_PAIR, confId=conformer
    )


def check_hydrogens(mol: Chem.Mol) -> None:
    """Raise a ValueError unless every hydrogen is an atom of the graph."""
    implicit = sum(atom.GetTotalNumHs() for atom in mol.GetAtoms())  # those that are not atoms of the graph
    if implicit:
        raise ValueError(f"{_name(mol)} has {implicit} implicit hydrogens; Chem.AddHs makes them atoms")


def check_parameters(mol: Chem.Mol, method: str) -> None:
    """Raise a ValueError for an unknown force field, and for atoms that it has no parameters for."""
    known = {
        "UFF": rdForceFieldHelpers.UFFHasAllMoleculeParams,
        "MMFF": rdForceFieldHelpers.MMFFHasAllMoleculeParams,
    }
    if method not in known:
        raise ValueError(f"method must be one of {', '.join(known)}, got {method!r}")
    with BlockLogs():
        complete = known[method](mol)
    if not complete:
        raise ValueError(f"{method} has no parameters for every atom of {_name(mol)}")


def _name(mol: Chem.Mol) -> str:
    return repr(Chem.MolToSmiles(Chem.RemoveHs(mol, sanitize=False)))
