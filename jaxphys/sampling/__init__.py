"""Samples of exp(−E/kT) by kept libraries, weights between ensembles, and tests of what a run is worth."""

from jaxphys.sampling.annealing import Annealed as Annealed
from jaxphys.sampling.annealing import anneal as anneal
from jaxphys.sampling.hmc import Samples as Samples
from jaxphys.sampling.hmc import StepSize as StepSize
from jaxphys.sampling.hmc import hmc as hmc
from jaxphys.sampling.hmc import tune_step_size as tune_step_size
from jaxphys.sampling.reweighting import EffectiveSize as EffectiveSize
from jaxphys.sampling.reweighting import effective_sample_size as effective_sample_size
from jaxphys.sampling.reweighting import importance_weights as importance_weights
from jaxphys.sampling.reweighting import pareto_k as pareto_k
from jaxphys.sampling.reweighting import resample as resample
