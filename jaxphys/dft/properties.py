"""Properties of a density."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxphys.dft.system import KohnSham, check


def dipole(system: KohnSham, density: Float[Array, "n n"]) -> Float[Array, " 3"]:
    """Dipole moment in e·Bohr, (3,), about the origin of the positions."""
    check(system, density=density)
    nuclear = system.nuclear_charges @ system.positions
    return nuclear - jnp.sum(system.dipole_integrals * density, axis=(1, 2))
