"""Models in Flax Linen: each sees a molecular graph and returns arrays."""

from jaxphys.models.denoiser import Denoiser as Denoiser
from jaxphys.models.denoiser import DenoiserConfig as DenoiserConfig
from jaxphys.models.denoiser import MultiTask as MultiTask
from jaxphys.models.denoiser import denoise_fn as denoise_fn
from jaxphys.models.elements import check_species as check_species
from jaxphys.models.elements import reference_energy as reference_energy
from jaxphys.models.energy import EnergyConfig as EnergyConfig
from jaxphys.models.energy import EnergyModel as EnergyModel
from jaxphys.models.energy import EnergyOutputs as EnergyOutputs
from jaxphys.models.energy import energy_fn as energy_fn
from jaxphys.models.generator import GeneratorConfig as GeneratorConfig
from jaxphys.models.generator import MoleculeGenerator as MoleculeGenerator
from jaxphys.models.generator import typed_denoise_fn as typed_denoise_fn
from jaxphys.models.generator import typed_graph as typed_graph
from jaxphys.models.hamiltonian import HamiltonianConfig as HamiltonianConfig
from jaxphys.models.hamiltonian import HamiltonianModel as HamiltonianModel
from jaxphys.models.hamiltonian import Layout as Layout
from jaxphys.models.hamiltonian import assemble as assemble
from jaxphys.models.hamiltonian import orbital_layout as orbital_layout
from jaxphys.models.particles import ParticleConfig as ParticleConfig
from jaxphys.models.particles import ParticleDenoiser as ParticleDenoiser
from jaxphys.models.particles import particle_graph as particle_graph
from jaxphys.models.spins import SpinConfig as SpinConfig
from jaxphys.models.spins import SpinModel as SpinModel
