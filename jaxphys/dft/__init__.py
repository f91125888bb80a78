"""Kohn–Sham density functional theory in JAX: positions in Å in, Hartree and Bohr out, as in PySCF."""

from jaxphys.dft.assembly import Setup as Setup
from jaxphys.dft.assembly import assemble as assemble
from jaxphys.dft.assembly import batch_size as batch_size
from jaxphys.dft.assembly import setup as setup
from jaxphys.dft.assembly import stack_setups as stack_setups
from jaxphys.dft.eigen import density as density
from jaxphys.dft.eigen import occupied_orbitals as occupied_orbitals
from jaxphys.dft.eigen import orbitals as orbitals
from jaxphys.dft.fock import energy as energy
from jaxphys.dft.fock import energy_and_fock as energy_and_fock
from jaxphys.dft.fock import energy_and_fock_of_orbitals as energy_and_fock_of_orbitals
from jaxphys.dft.fock import fock as fock
from jaxphys.dft.forces import assembled_forces as assembled_forces
from jaxphys.dft.forces import forces as forces
from jaxphys.dft.functionals import functional as functional
from jaxphys.dft.host import kohn_sham as kohn_sham
from jaxphys.dft.properties import dipole as dipole
from jaxphys.dft.scf import SCFResult as SCFResult
from jaxphys.dft.scf import guess_fock as guess_fock
from jaxphys.dft.scf import scf as scf
from jaxphys.dft.system import KohnSham as KohnSham
from jaxphys.dft.system import Sizes as Sizes
from jaxphys.dft.system import pad as pad
from jaxphys.dft.system import sizes as sizes
from jaxphys.dft.system import stack as stack
