"""Energy functions that need no training: positions in Å in, eV out; and a bridge to ASE."""

from jaxphys.energies.amber import openmm_energy as openmm_energy
from jaxphys.energies.ase_calculator import EnergyCalculator as EnergyCalculator
from jaxphys.energies.density_functional import dft as dft
from jaxphys.energies.double_wells import double_wells as double_wells
from jaxphys.energies.elastic_network import elastic_network as elastic_network
from jaxphys.energies.force_check import check_forces as check_forces
from jaxphys.energies.go_protein import contact_terms as contact_terms
from jaxphys.energies.go_protein import go_contacts as go_contacts
from jaxphys.energies.go_protein import go_protein as go_protein
from jaxphys.energies.ising import bonds_of_matrix as bonds_of_matrix
from jaxphys.energies.ising import check_spins as check_spins
from jaxphys.energies.ising import ising as ising
from jaxphys.energies.ising import ising_lattice as ising_lattice
from jaxphys.energies.lennard_jones import lennard_jones as lennard_jones
from jaxphys.energies.mueller_brown import mueller_brown as mueller_brown
from jaxphys.energies.openmm_labels import openmm_labels as openmm_labels
from jaxphys.energies.openmm_systems import MolecularSystem as MolecularSystem
from jaxphys.energies.openmm_systems import alanine_dipeptide as alanine_dipeptide
from jaxphys.energies.openmm_systems import chignolin as chignolin
