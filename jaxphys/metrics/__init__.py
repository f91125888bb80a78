"""The metrics that a field reports, one field a file."""

from jaxphys.metrics.alignment import mean_displacement as mean_displacement
from jaxphys.metrics.alignment import superpose as superpose
from jaxphys.metrics.conformers import ConformerMetrics as ConformerMetrics
from jaxphys.metrics.conformers import conformer_metrics as conformer_metrics
from jaxphys.metrics.conformers import rmsd_matrix as rmsd_matrix
from jaxphys.metrics.conformers import symmetric_rmsd as symmetric_rmsd
from jaxphys.metrics.energy import Recovery as Recovery
from jaxphys.metrics.energy import RecoverySummary as RecoverySummary
from jaxphys.metrics.energy import energy_metrics as energy_metrics
from jaxphys.metrics.energy import perturb_and_relax as perturb_and_relax
from jaxphys.metrics.energy import summarise_recovery as summarise_recovery
from jaxphys.metrics.hamiltonian import hamiltonian_metrics as hamiltonian_metrics
from jaxphys.metrics.hamiltonian import scf_cycles as scf_cycles
from jaxphys.metrics.spins import SpinSummary as SpinSummary
from jaxphys.metrics.spins import summarise_spins as summarise_spins
from jaxphys.metrics.structure import angle_error as angle_error
from jaxphys.metrics.structure import bond_length_error as bond_length_error
from jaxphys.metrics.structure import broken_bonds as broken_bonds
from jaxphys.metrics.structure import stereo_errors as stereo_errors
