"""The metrics that a field reports, one field a file."""

from jaxphys.metrics.alignment import mean_displacement as mean_displacement
from jaxphys.metrics.alignment import superpose as superpose
from jaxphys.metrics.energy import Recovery as Recovery
from jaxphys.metrics.energy import RecoverySummary as RecoverySummary
from jaxphys.metrics.energy import energy_metrics as energy_metrics
from jaxphys.metrics.energy import perturb_and_relax as perturb_and_relax
from jaxphys.metrics.energy import summarise_recovery as summarise_recovery
from jaxphys.metrics.hamiltonian import hamiltonian_metrics as hamiltonian_metrics
from jaxphys.metrics.hamiltonian import scf_cycles as scf_cycles
