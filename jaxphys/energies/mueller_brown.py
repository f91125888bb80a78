"""The surface of Müller and Brown: three basins in the plane, on which samplers are tried first."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxphys.roles import EnergyFunction

MINIMA = ((-0.558224, 1.441726), (0.623499, 0.028038), (-0.050011, 0.466694))
SADDLES = ((-0.822002, 0.624313), (0.212487, 0.292988))
"""Of energies −146.700, −108.167, −80.768 and −40.665, −72.249, in reduced units."""

_HEIGHTS = (-200.0, -100.0, -170.0, 15.0)
_CENTRES = ((1.0, 0.0), (0.0, 0.5), (-0.5, 1.5), (-1.0, 1.0))
_XX = (-1.0, -1.0, -6.5, 0.7)
_XY = (0.0, 0.0, 11.0, 0.6)
_YY = (-10.0, -10.0, -6.5, 0.7)


def mueller_brown(*, scale: float = 1.0) -> EnergyFunction:
    """V = scale Σ_k A_k exp(a_k Δx² + b_k Δx Δy + c_k Δy²), a function of positions (1, 2); reduced units.

    Of one particle in the plane; Δx and Δy are from the centre of each of the four terms. One of them grows:
    far from the basins, beyond about 3, the energy is soon infinite.
    Source: Müller, Brown, Theor. Chim. Acta 53, 75 (1979).
    Raises ValueError for a scale that is not positive, and for positions of any other shape.
    """
    if not scale > 0:
        raise ValueError(f"scale must be positive, got {scale}")

    def energy(positions: Float[Any, "n dim"]) -> Float[Array, ""]:
        positions = jnp.asarray(positions)
        if positions.shape != (1, 2):
            raise ValueError(f"positions must be (1, 2), of one particle in the plane, got {positions.shape}")
        heights, xx, xy, yy = (jnp.asarray(part, positions.dtype) for part in (_HEIGHTS, _XX, _XY, _YY))
        x, y = (positions[0] - jnp.asarray(_CENTRES, positions.dtype)).T
        return scale * jnp.sum(heights * jnp.exp(xx * x**2 + xy * x * y + yy * y**2))

    return energy
