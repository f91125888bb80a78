"""Test set-up: 64-bit mode, a compilation cache, and runtime checks of every shape annotation."""

import os
import tempfile

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_enable_x64", True)
jax.config.update(
    "jax_compilation_cache_dir",
    os.environ.get("JAXPHYS_CACHE", os.path.join(tempfile.gettempdir(), f"jaxphys-cache-{jax.__version__}")),
)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)

install_import_hook("jaxphys", "beartype.beartype")
