"""Models in Flax Linen: each sees a molecular graph and returns arrays."""

from jaxphys.models.hamiltonian import HamiltonianConfig as HamiltonianConfig
from jaxphys.models.hamiltonian import HamiltonianModel as HamiltonianModel
from jaxphys.models.hamiltonian import Layout as Layout
from jaxphys.models.hamiltonian import assemble as assemble
from jaxphys.models.hamiltonian import orbital_layout as orbital_layout
