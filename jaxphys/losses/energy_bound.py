"""No structure near a labelled minimum lies below it: a law that shapes an energy off its labels."""

from __future__ import annotations

from typing import Any

import jax
from jaxtyping import Array, Bool, Float

from jaxphys.losses.energy_hinge import energy_hinge
from jaxphys.roles import EnergyFunction


def energy_bound(
    energy_fn: EnergyFunction,
    positions: Float[Any, "n 3"],
    noise: Float[Any, "n 3"],
    *,
    mask: Bool[Any, " n"] | None = None,
    margin: EnergyFunction | None = None,
) -> Float[Array, ""]:
    """max(0, E(R*) + m(R* + η) − E(R* + η)) in eV, (): the stable structure lies below the perturbed one.

    positions: R*, (n, 3) in Å, a labelled minimum; noise: η, (n, 3) in Å, drawn by the caller; mask: (n,)
    True for real atoms, all if None. margin: m, by how much in eV, a function of the positions that is zero
    at R*, such as a part of `energies.elastic_network(R*)`; None for the published law, m = 0, which an
    energy without curvature fulfils too. Detached: R* and η, so that gradients move the energy function only.
    A constant energy fulfils it, so it never stands alone.
    Source: Yi et al., UAI 2023 (PMLR 216:2433), L_bound, by its sentence: the sign printed in Eq. 8 is right
    only if its star marks the perturbed energy. There η is Gaussian with 0.5 Å, far up the repulsive wall;
    0.05 to 0.5 Å keeps part of it near the minimum, and `downhill_noise` finds where the law is broken.
    """
    positions, noise = jax.lax.stop_gradient((positions, noise))
    if margin is None:
        return energy_hinge(energy_fn, positions, noise, mask=mask)
    return energy_hinge(lambda at: energy_fn(at) - margin(at), positions, noise, mask=mask)
