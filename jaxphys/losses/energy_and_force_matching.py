"""Energy and forces against their labels, both from one pass."""

from __future__ import annotations

from typing import Any

import jax
from jaxtyping import Array, Bool, Float

from jaxphys.losses.energy_matching import atom_count, energy_deviation
from jaxphys.losses.force_matching import force_deviation
from jaxphys.roles import EnergyFunction


def energy_and_force_matching(
    energy_fn: EnergyFunction,
    positions: Float[Any, "n 3"],
    energy: Float[Any, ""] | float,
    forces: Float[Any, "n 3"],
    *,
    energy_weight: float = 1.0,
    force_weight: float = 1.0,
    mask: Bool[Any, " n"] | None = None,
    per_atom: bool = False,
    huber: float | None = None,
    force_huber: float | None = None,
) -> Float[Array, ""]:
    """w_E · energy_matching + w_F · force_matching, (), with one evaluation of the energy and its gradient.

    Arguments, units and what is detached (nothing) as there; w_E in eV⁻², w_F in Å²/eV². Where energy and
    forces are at hand already, `energy_deviation` and `force_deviation` are the two terms.
    """
    predicted, gradient = jax.value_and_grad(energy_fn)(positions)
    atoms = atom_count(positions, mask) if per_atom else 1.0
    return energy_weight * energy_deviation(predicted, energy, atoms, huber=huber) + (
        force_weight * force_deviation(-gradient, forces, mask=mask, huber=force_huber)
    )
