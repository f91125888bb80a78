"""Minima of an energy function, for one molecule or a padded batch: L-BFGS and FIRE with ASE's defaults."""

from jaxphys.relaxation.batch import relax_batch as relax_batch
from jaxphys.relaxation.fire import FIRE as FIRE
from jaxphys.relaxation.lbfgs import LBFGS as LBFGS
from jaxphys.relaxation.relax import relax as relax
from jaxphys.relaxation.spins import relax_spins as relax_spins
from jaxphys.relaxation.types import Relaxation as Relaxation
from jaxphys.relaxation.types import Status as Status
