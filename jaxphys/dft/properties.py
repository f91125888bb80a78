"""Properties of a density."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxphys.dft.system import KohnSham, check


def dipole(system: KohnSham, density: Float[Array, "*spin n n"]) -> Float[Array, " 3"]:
    """Dipole moment in e·Bohr, (3,), about the origin of the positions. P of both spins is (2, n, n)."""
    check(system, density=density)
    density = density if density.ndim == 2 else density.sum(0)
    nuclear = system.nuclear_charges @ system.positions
    return nuclear - jnp.sum(system.dipole_integrals * density, axis=(1, 2))
