"""Test set-up: 64-bit mode, runtime checks of every shape annotation, one thread for LAPACK and PySCF."""

import jax
from jaxtyping import install_import_hook
from pyscf import lib

jax.config.update("jax_enable_x64", True)

install_import_hook("jaxphys", "beartype.beartype")

from jaxphys.training import prepare_cpu  # noqa: E402  only what is imported after the hook is checked

prepare_cpu()
lib.num_threads(1)  # in a process with other threads, and beside a second one, more are slower


def pytest_configure(config):
    """Leave LLVM's optimisations to `-m slow`: compilation is most of the suite's time, and half of it so."""
    jax.config.update("jax_disable_most_optimizations", "not slow" in config.option.markexpr)
