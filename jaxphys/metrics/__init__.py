"""The metrics that a field reports, one field a file."""

from jaxphys.metrics.hamiltonian import hamiltonian_metrics as hamiltonian_metrics
from jaxphys.metrics.hamiltonian import scf_cycles as scf_cycles
