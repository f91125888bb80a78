"""Physical laws as losses: one molecule in, one scalar out; batches are vmapped outside."""

from jaxphys.losses import stiffness as stiffness
from jaxphys.losses.aligned_mse import aligned_mse as aligned_mse
from jaxphys.losses.denoising_score import denoising_deviation as denoising_deviation
from jaxphys.losses.denoising_score import denoising_score as denoising_score
from jaxphys.losses.distance_energy import distance_energy as distance_energy
from jaxphys.losses.downhill_noise import downhill_noise as downhill_noise
from jaxphys.losses.energy_and_force_matching import energy_and_force_matching as energy_and_force_matching
from jaxphys.losses.energy_bound import energy_bound as energy_bound
from jaxphys.losses.energy_hinge import energy_hinge as energy_hinge
from jaxphys.losses.energy_hinge import fixed_energy as fixed_energy
from jaxphys.losses.energy_matching import energy_deviation as energy_deviation
from jaxphys.losses.energy_matching import energy_matching as energy_matching
from jaxphys.losses.ensemble_property import ensemble_property as ensemble_property
from jaxphys.losses.fock_matching import fock_matching as fock_matching
from jaxphys.losses.force_matching import force_deviation as force_deviation
from jaxphys.losses.force_matching import force_matching as force_matching
from jaxphys.losses.ground_state_energy import ground_state_energy as ground_state_energy
from jaxphys.losses.ising_energy import ising_energy as ising_energy
from jaxphys.losses.masked_atoms import hide_atoms as hide_atoms
from jaxphys.losses.masked_atoms import masked_atoms as masked_atoms
from jaxphys.losses.noise_weight import noise_weight as noise_weight
from jaxphys.losses.optimality_consistency import optimality_consistency as optimality_consistency
from jaxphys.losses.potential_score import blend_weight as blend_weight
from jaxphys.losses.potential_score import blended_score as blended_score
from jaxphys.losses.potential_score import potential_score as potential_score
from jaxphys.losses.potential_score import score_width as score_width
from jaxphys.losses.proximal_consistency import proximal_consistency as proximal_consistency
from jaxphys.losses.rigid_graph import is_globally_rigid as is_globally_rigid
from jaxphys.losses.rigid_graph import rigid_graph as rigid_graph
from jaxphys.losses.score_consistency import score_consistency as score_consistency
from jaxphys.losses.score_consistency import score_deviation as score_deviation
from jaxphys.losses.self_consistency import self_consistency as self_consistency
from jaxphys.losses.variational_self_consistency import (
    variational_self_consistency as variational_self_consistency,
)
from jaxphys.losses.zero_force import zero_force as zero_force
