"""Diffusion of molecules: noise schedules and samplers, in Å, for any denoiser."""

from jaxphys.diffusion.density import flow_with_density as flow_with_density
from jaxphys.diffusion.noise import centred_noise as centred_noise
from jaxphys.diffusion.rollout import rollout as rollout
from jaxphys.diffusion.samplers import ddim as ddim
from jaxphys.diffusion.samplers import dpm_solver as dpm_solver
from jaxphys.diffusion.samplers import one_shot as one_shot
from jaxphys.diffusion.samplers import restart as restart
from jaxphys.diffusion.samplers import settle as settle
from jaxphys.diffusion.samplers import stochastic as stochastic
from jaxphys.diffusion.schedules import Schedule as Schedule
from jaxphys.diffusion.schedules import VarianceExploding as VarianceExploding
from jaxphys.diffusion.schedules import VariancePreserving as VariancePreserving
from jaxphys.diffusion.schedules import as_variance_exploding as as_variance_exploding
from jaxphys.diffusion.schedules import levels as levels
from jaxphys.diffusion.schedules import perturb as perturb
from jaxphys.diffusion.typed import stochastic_typed as stochastic_typed
from jaxphys.diffusion.typed import typed_noise as typed_noise
from jaxphys.molecule import centred as centred
