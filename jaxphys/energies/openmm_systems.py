"""Two small peptides as OpenMM systems, made here from nothing: alanine dipeptide and chignolin."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from jaxphys.energies.openmm_values import openmm

PHI = (4, 6, 8, 14)
PSI = (6, 8, 14, 16)
"""The atoms of alanine dipeptide's two dihedrals, in the order that published data have."""

CHIGNOLIN = "GYDPETGTWG"

_CHARGES = (("[OX2H1][CX3]=O", -1), ("[NX3;H2,H1;!$(NC=*)][CX4]", 1), ("[NX2H1]=C(N)N", 1))

_ALANINE_DIPEPTIDE = """\
ATOM      1 HH31 ACE A   1      -3.754  -0.135  -1.006
ATOM      2  CH3 ACE A   1      -2.940   0.579  -0.890
ATOM      3 HH32 ACE A   1      -3.015   1.064   0.082
ATOM      4 HH33 ACE A   1      -2.999   1.331  -1.676
ATOM      5  C   ACE A   1      -1.615  -0.139  -0.988
ATOM      6  O   ACE A   1      -1.582  -1.356  -1.171
ATOM      7  N   ALA A   2      -0.523   0.613  -0.859
ATOM      8  H   ALA A   2      -0.648   1.605  -0.725
ATOM      9  CA  ALA A   2       0.850   0.101  -0.943
ATOM     10  HA  ALA A   2       0.928  -0.533  -1.828
ATOM     11  CB  ALA A   2       1.781   1.304  -1.136
ATOM     12  HB1 ALA A   2       1.734   1.958  -0.264
ATOM     13  HB2 ALA A   2       1.486   1.863  -2.025
ATOM     14  HB3 ALA A   2       2.807   0.957  -1.266
ATOM     15  C   ALA A   2       1.289  -0.753   0.271
ATOM     16  O   ALA A   2       2.285  -1.480   0.187
ATOM     17  N   NME A   3       0.565  -0.677   1.397
ATOM     18  H   NME A   3      -0.234  -0.058   1.388
ATOM     19  CH3 NME A   3       0.843  -1.419   2.627
ATOM     20 HH31 NME A   3       0.804  -2.492   2.433
ATOM     21 HH32 NME A   3       0.103  -1.170   3.389
ATOM     22 HH33 NME A   3       1.836  -1.164   3.002
"""


@dataclass(frozen=True, eq=False)
class MolecularSystem:
    """A molecule with its force field.

    numbers: (n,) atomic numbers. positions: (n, 3) in Å, at a minimum of the energy. system: openmm.System,
    without constraints and cutoffs. topology: openmm.app.Topology. masses: (n,) in u.
    """

    name: str
    numbers: Int[np.ndarray, " n"]
    positions: Float[np.ndarray, "n 3"]
    masses: Float[np.ndarray, " n"]
    system: Any
    topology: Any


def alanine_dipeptide(
    *, force_field: str = "amber14-all.xml", solvent: str | None = "implicit/obc1.xml"
) -> MolecularSystem:
    """ACE-ALA-NME, 22 atoms, near φ = −80°, ψ = 60°.

    force_field, solvent: files of OpenMM's; None for a vacuum. The atoms are in the order of published data:
    `PHI` and `PSI` name those of the dihedrals. Raises ModuleNotFoundError without OpenMM.
    """
    app = openmm().app
    template = app.PDBFile(io.StringIO(_ALANINE_DIPEPTIDE))
    return _minimised("alanine dipeptide", template.topology, template.positions, force_field, solvent)


def chignolin(
    *,
    force_field: str = "amber14-all.xml",
    solvent: str | None = "implicit/obc2.xml",
    sequence: str = CHIGNOLIN,
) -> MolecularSystem:
    """Chignolin at pH 7, 138 atoms, as an unfolded chain: for energies and forces, not native.

    sequence: of another peptide, in letters of amino acids, so YYDPETGTWY for CLN025; histidines are neutral,
    and no cysteines bridged. The chain is embedded from its bonds (ETKDG, seed 0) and minimised, in some
    seconds; the same on the same machine. force_field, solvent: files of OpenMM's; None for a vacuum. Source
    of the sequence: Honda et al., Structure 12, 1507 (2004).
    Raises ValueError for an unknown letter, ModuleNotFoundError without OpenMM.
    """
    topology, positions = _embedded(sequence)
    name = "chignolin" if sequence == CHIGNOLIN else sequence
    return _minimised(name, topology, positions, force_field, solvent)


def _embedded(sequence: str) -> tuple[Any, Float[np.ndarray, "n 3"]]:
    """Topology and positions, in nm, of a chain somewhere in space, residue by residue."""
    bare = Chem.MolFromSequence(sequence)
    if bare is None or not sequence:
        raise ValueError(f"sequence must consist of the letters of amino acids, got {sequence!r}")
    molecule = Chem.AddHs(_protonated(bare), addResidueInfo=True)
    if rdDistGeom.EmbedMolecule(molecule, randomSeed=0, useRandomCoords=True) != 0:
        raise ValueError(f"no structure of {sequence!r}, {len(sequence)} residues long, could be embedded")
    residues = [atom.GetPDBResidueInfo().GetResidueNumber() for atom in molecule.GetAtoms()]
    # Hydrogens come last; a topology wants them with their residue.
    molecule = Chem.RenumberAtoms(molecule, [int(i) for i in np.argsort(residues, kind="stable")])
    return _topology(molecule), molecule.GetConformer().GetPositions() / 10


def _protonated(molecule: Chem.Mol) -> Chem.Mol:
    """Charges at pH 7: acids without their proton, amines and guanidines with one more."""
    molecule = Chem.Mol(molecule)
    for pattern, charge in _CHARGES:
        for match in molecule.GetSubstructMatches(Chem.MolFromSmarts(pattern)):
            molecule.GetAtomWithIdx(match[0]).SetFormalCharge(charge)
    Chem.SanitizeMol(molecule)
    return molecule


def _topology(molecule: Chem.Mol) -> Any:
    app = openmm().app
    topology = app.Topology()
    chain, residues, atoms = topology.addChain(), {}, []
    for atom in molecule.GetAtoms():
        info = atom.GetPDBResidueInfo()
        number = info.GetResidueNumber()
        if number not in residues:
            residues[number] = topology.addResidue(info.GetResidueName(), chain)
        element = app.Element.getByAtomicNumber(atom.GetAtomicNum())
        atoms.append(topology.addAtom(info.GetName().strip(), element, residues[number]))
    for bond in molecule.GetBonds():
        topology.addBond(atoms[bond.GetBeginAtomIdx()], atoms[bond.GetEndAtomIdx()])
    return topology


def _minimised(
    name: str, topology: Any, positions: Any, force_field: str, solvent: str | None
) -> MolecularSystem:
    mm = openmm()
    files = (force_field,) if solvent is None else (force_field, solvent)
    system = mm.app.ForceField(*files).createSystem(
        topology, nonbondedMethod=mm.app.NoCutoff, constraints=None, rigidWater=False
    )
    platform = mm.Platform.getPlatformByName("CPU")
    # One thread: the order of its sums is then always the same, and so is the minimum.
    properties = {"Threads": "1", "DeterministicForces": "true"}
    context = mm.Context(system, mm.VerletIntegrator(0.001), platform, properties)
    context.setPositions(positions)
    mm.LocalEnergyMinimizer.minimize(context)
    minimum = context.getState(getPositions=True).getPositions(asNumpy=True)
    place = np.array(minimum.value_in_unit(mm.unit.angstrom), dtype=np.float64)
    numbers = np.array([atom.element.atomic_number for atom in topology.atoms()])
    masses = [system.getParticleMass(i).value_in_unit(mm.unit.dalton) for i in range(len(numbers))]
    return MolecularSystem(name, numbers, place - place.mean(axis=0), np.array(masses), system, topology)
