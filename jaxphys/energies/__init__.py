"""Energy functions that need no training: positions in Å in, eV out; and a bridge to ASE."""

from jaxphys.energies.ase_calculator import EnergyCalculator as EnergyCalculator
from jaxphys.energies.density_functional import dft as dft
from jaxphys.energies.elastic_network import elastic_network as elastic_network
