"""The squared error of a structure once it is moved and turned onto its target: a baseline."""

from __future__ import annotations

from typing import Any

import jax
from jaxtyping import Array, Bool, Float

from jaxphys.losses.distance_energy import check_structures
from jaxphys.losses.force_matching import force_deviation
from jaxphys.molecule import centred
from jaxphys.superposition import best_rotation


def aligned_mse(
    prediction: Float[Any, "n d"], target: Float[Any, "n d"], *, mask: Bool[Any, " n"] | None = None
) -> Float[Array, ""]:
    """min over R, t of the mean over atoms of |R ŷ_i + t − y_i|² in Å², (), R a proper rotation.

    prediction: ŷ, target: y, (n, d) in Å; mask: (n,) True for real atoms, all if None. d times the mean
    over components. Detached: the best rotation, which changes nothing: at a minimum the derivative by what
    was minimised over is zero, so that the gradient is that at a fixed rotation, and it is finite also
    where the best rotation is not unique and has no derivative. Second derivatives lack the rotation's
    part.
    Raises ValueError as `distance_energy`. Source: Kabsch, Acta Cryst. A32, 922 (1976).
    """
    check_structures(prediction, target, mask)
    moving, fixed = centred(prediction, mask), centred(target, mask)
    rotation = best_rotation(*jax.lax.stop_gradient((moving, fixed)))
    return force_deviation(moving @ rotation, fixed, mask=mask)
