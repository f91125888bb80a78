"""Trial moves that turn part of a molecule about a bond: across barriers that trajectories do not climb."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt32

from jaxphys.roles import EnergyFunction
from jaxphys.sampling import checks

Bond = tuple[int, int, tuple[int, ...]]
"""Two atoms, and the atoms beyond the second, which turn about the bond from the first to it."""


class Rotated(NamedTuple):
    """positions: (k, n, 3) in Å; acceptance: (), part of the trials that were taken; force_calls: energies
    evaluated in all, counted as calls of a force each."""

    positions: Float[Array, "k n 3"]
    acceptance: Float[Array, ""]
    force_calls: int


def rotate_bonds(
    energy_fn: EnergyFunction,
    key: Key[Array, ""] | UInt32[Array, " 2"],
    positions: Float[Any, "k n 3"],
    *,
    kt: Float[Any, ""] | float,
    bonds: tuple[Bond, ...],
) -> Rotated:
    """Each walker tries once to turn about each of the bonds by any angle, and does so by Metropolis's rule.

    energy_fn: of positions (n, 3) in Å to eV; positions: (k, n, 3); kt: in eV; bonds: turning about them
    leaves all bond lengths and angles, so that one trial in four succeeds in a small molecule where dynamics
    would cross once in ten thousand steps. Between such moves `hmc` does the rest. Can be jitted.
    Source: the pivot move, Madras, Sokal, J. Stat. Phys. 50, 109 (1988), about a bond.
    Raises ValueError for no bonds, atoms that are not there, an axis that turns itself, and as `hmc` does.
    """
    checks.check_positive(kt=kt)
    positions = checks.checked_positions(positions, centre=False)
    _check_bonds(bonds, positions.shape[1])
    energies = jax.vmap(energy_fn)(positions)
    checks.check_start(energies)
    taken = jnp.zeros((), positions.dtype)
    for number, bond in enumerate(bonds):
        of_angle, of_choice = jax.random.split(jax.random.fold_in(key, number))
        angles = jax.random.uniform(of_angle, energies.shape, positions.dtype, -jnp.pi, jnp.pi)
        turned = jax.vmap(lambda r, angle, bond=bond: rotated(r, angle, bond))(positions, angles)
        there = jax.vmap(energy_fn)(turned)
        chance = jax.random.exponential(of_choice, energies.shape, positions.dtype)
        # false of an energy that is not a number
        accepted = (there - energies) / kt < chance
        positions = jnp.where(accepted[:, None, None], turned, positions)
        energies = jnp.where(accepted, there, energies)
        taken = taken + jnp.mean(accepted.astype(positions.dtype)) / len(bonds)
    return Rotated(positions, taken, len(positions) * (1 + len(bonds)))


def rotated(positions: Float[Any, "n 3"], angle: Float[Any, ""] | float, bond: Bond) -> Float[Array, "n 3"]:
    """The molecule with the atoms of the bond turned by an angle in radians, (n, 3) in Å."""
    first, second, beyond = bond
    axis = positions[second] - positions[first]
    axis = axis / jnp.sqrt(jnp.sum(axis**2))
    away = positions[jnp.array(beyond)] - positions[second]
    along = axis * jnp.sum(axis * away, axis=-1, keepdims=True)
    turned = along + (away - along) * jnp.cos(angle) + jnp.cross(axis, away) * jnp.sin(angle)
    return jnp.asarray(positions).at[jnp.array(beyond)].set(positions[second] + turned)


def _check_bonds(bonds: tuple[Bond, ...], count: int) -> None:
    if not bonds:
        raise ValueError("bonds must hold at least one bond to turn about, got none")
    for first, second, beyond in bonds:
        atoms = (first, second, *beyond)
        if not beyond or len(set(atoms)) < len(atoms) or not all(0 <= atom < count for atom in atoms):
            raise ValueError(
                f"a bond must be two of {count} atoms and the others that turn, all different, got "
                f"{(first, second, tuple(beyond))}"
            )
