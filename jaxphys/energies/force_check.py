"""Whether forces are those of an energy: labels against its slope, before anything is trained on them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from jaxphys.roles import EnergyFunction
from jaxphys.units import ENERGY_IN_EV, LENGTH_IN_ANGSTROM

LENGTHS = {**LENGTH_IN_ANGSTROM, "nm": 10.0}


def check_forces(
    energy_fn: EnergyFunction,
    positions: ArrayLike,
    forces: ArrayLike,
    *,
    frames: int = 4,
    step: float = 0.005,
    rtol: float = 0.01,
    atol: float = 0.01,
) -> None:
    """Raise a ValueError unless forces are minus the slope of the energy; host function.

    energy_fn: of positions (n, 3) in Å, in eV. positions, forces: (k, n, 3), in Å and eV/Å. frames: how many
    are looked at, from the first to the last, each by 12 n energies. step: in Å, of central differences of
    the fourth order. rtol, atol: a force may differ by rtol of the largest of its frame, and by atol in eV/Å.
    The error names the frame, the atom, both forces, and the sign or unit that would explain the difference.
    Refused as well: other shapes, what is not finite, and energies too coarse to have a slope, as those of
    all electrons are in single precision.
    """
    if frames < 1:
        raise ValueError(f"frames must be at least 1, or nothing is checked, got {frames}")
    positions, forces = np.asarray(positions), np.asarray(forces)
    _check_arrays(positions, forces)
    slopes = jax.jit(lambda x: _slopes(energy_fn, x, step))
    for i in np.unique(np.linspace(0, len(positions) - 1, frames).round().astype(int)):
        gradient, size = (np.asarray(part) for part in slopes(jnp.asarray(positions[i])))
        if not np.isfinite(gradient).all():
            raise ValueError(f"frame {i}: the energy beside it is not finite, so that its slope is not")
        limit = atol + rtol * np.linalg.norm(gradient, axis=-1).max()
        noise = np.finfo(gradient.dtype).eps * size / step
        if noise > limit:
            raise ValueError(
                f"frame {i}: the slope of an energy of {size:.4g} eV in {gradient.dtype} is known to "
                f"{noise:.2g} eV/Å only: turn on 64-bit mode, or take a constant off"
            )
        error = np.linalg.norm(forces[i] + gradient, axis=-1)
        atom = int(error.argmax())
        if error[atom] > limit:
            raise ValueError(
                f"frame {i}, atom {atom}: the force is {_row(forces[i, atom])}, but minus the slope of the "
                f"energy is {_row(-gradient[atom])} eV/Å{_likely_unit(forces[i], -gradient)}"
            )


def _slopes(
    energy_fn: EnergyFunction, positions: Float[Array, "n 3"], step: float
) -> tuple[Float[Array, "n 3"], Float[Array, ""]]:
    """The gradient by differences, and how large the energies are, whose rounding limits it."""
    shifts = step * jnp.eye(positions.size, dtype=positions.dtype).reshape(-1, *positions.shape)

    def slope(shift: Float[Array, "n 3"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        around = jnp.stack([energy_fn(positions + m * shift) for m in (-2, -1, 1, 2)])
        slope = (around[0] - 8 * around[1] + 8 * around[2] - around[3]) / (12 * step)
        return slope, jnp.max(jnp.abs(around))

    gradient, sizes = jax.lax.map(slope, shifts)
    return gradient.reshape(positions.shape), jnp.max(sizes)


def _check_arrays(positions: np.ndarray, forces: np.ndarray) -> None:
    if positions.ndim != 3 or positions.shape[-1] != 3 or not len(positions):
        raise ValueError(
            f"positions must be (frames, atoms, 3), of one frame at least, got {positions.shape}"
        )
    if forces.shape != positions.shape:
        raise ValueError(f"forces must be {positions.shape} as positions are, got {forces.shape}")
    for name, array in (("positions", positions), ("forces", forces)):
        wrong = np.argwhere(~np.isfinite(array).all(axis=-1))
        if len(wrong):
            frame, atom = (int(index) for index in wrong[0])
            value = array[frame, atom].tolist()
            raise ValueError(f"{name} must be finite, got {value} for atom {atom} of frame {frame}")


def _row(vector: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in vector) + ")"


def _likely_unit(forces: Float[np.ndarray, "n 3"], expected: Float[np.ndarray, "n 3"]) -> str:
    """What would make the forces right, as the end of a message; empty if nothing known."""
    ratio = float(np.vdot(forces, expected) / max(np.vdot(expected, expected), 1e-300))
    if np.linalg.norm(forces - ratio * expected) > 0.03 * np.linalg.norm(forces):
        return "; no factor makes them agree"
    if abs(ratio - 1) < 0.02:
        return "; the others differ less"
    units = {
        f"{energy}/{length}": size / ENERGY_IN_EV[energy]
        for length, size in LENGTHS.items()
        for energy in ENERGY_IN_EV
    }
    factors = units | {"eV/Å with kJ taken for kcal": 4.184, "eV/Å with kcal taken for kJ": 1 / 4.184}
    sign = ", and with the sign of the gradient" if ratio < 0 else ""
    for name, factor in factors.items():
        if abs(abs(ratio) / factor - 1) < 0.02:
            return (
                f"; they look like {name}{sign}" if name != "eV/Å" else "; they have the sign of the gradient"
            )
    return f"; all are {ratio:.4g} times what they should be"
