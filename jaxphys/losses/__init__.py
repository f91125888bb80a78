"""Physical laws as losses: one molecule in, one scalar out; batches are vmapped outside."""

from jaxphys.losses.fock_matching import fock_matching as fock_matching
from jaxphys.losses.ground_state_energy import ground_state_energy as ground_state_energy
from jaxphys.losses.self_consistency import self_consistency as self_consistency
from jaxphys.losses.variational_self_consistency import (
    variational_self_consistency as variational_self_consistency,
)
