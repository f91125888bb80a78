"""Samples of exp(−E/kT) by kept libraries, weights between ensembles, and tests of what a run is worth."""

from jaxphys.sampling.annealing import Annealed as Annealed
from jaxphys.sampling.annealing import anneal as anneal
from jaxphys.sampling.bond_rotations import Rotated as Rotated
from jaxphys.sampling.bond_rotations import rotate_bonds as rotate_bonds
from jaxphys.sampling.estimates import Estimate as Estimate
from jaxphys.sampling.hmc import Samples as Samples
from jaxphys.sampling.hmc import StepSize as StepSize
from jaxphys.sampling.hmc import hmc as hmc
from jaxphys.sampling.hmc import tune_step_size as tune_step_size
from jaxphys.sampling.mbar import Pooled as Pooled
from jaxphys.sampling.mbar import free_energies as free_energies
from jaxphys.sampling.mbar import mbar as mbar
from jaxphys.sampling.mbar import mbar_average as mbar_average
from jaxphys.sampling.mbar import mbar_weights as mbar_weights
from jaxphys.sampling.mixing import NotMixed as NotMixed
from jaxphys.sampling.mixing import Quantity as Quantity
from jaxphys.sampling.mixing import Reference as Reference
from jaxphys.sampling.mixing import check_reference as check_reference
from jaxphys.sampling.mixing import virial as virial
from jaxphys.sampling.parallel_tempering import Tempered as Tempered
from jaxphys.sampling.parallel_tempering import parallel_tempering as parallel_tempering
from jaxphys.sampling.reweighting import EffectiveSize as EffectiveSize
from jaxphys.sampling.reweighting import effective_sample_size as effective_sample_size
from jaxphys.sampling.reweighting import importance_weights as importance_weights
from jaxphys.sampling.reweighting import pareto_k as pareto_k
from jaxphys.sampling.reweighting import resample as resample
