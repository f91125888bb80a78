"""Run the quick benchmarks: `python -m benchmarks`, about two minutes on 2 cores.

Those that take longer, or need a peer that is no dependency, are commands of their own:

    python -m benchmarks.dft              the DFT engine beside PySCF
    python -m benchmarks.energy_model     a training step of the energy model beside mace-torch
    python -m benchmarks.relaxation       batches of molecules to their minima beside ASE
    python -m benchmarks.consistency      a step of each law of consistency; conformers a minute beside RDKit
    python -m benchmarks.energy_losses    the distance energy beside the squared error, and by size
    python -m benchmarks.ensembles        force calls beside OpenMM, laws of ensembles beside denoising
"""

from __future__ import annotations

import platform
from datetime import date

import jax
import pyscf

from benchmarks import fock
from jaxphys.training import keep_freed_memory


def main() -> None:
    """Print each figure beside its peer's."""
    jax.config.update("jax_enable_x64", True)
    keep_freed_memory()
    print(
        f"# jaxphys benchmarks, {date.today()}, {platform.machine()}, Python {platform.python_version()}, "
        f"jax {jax.__version__} on {jax.default_backend()}, PySCF {pyscf.__version__}\n"
    )
    print(fock.run())


if __name__ == "__main__":
    main()
