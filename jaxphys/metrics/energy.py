"""How good an energy function is: its labels, and whether a molecule pushed off its minimum finds back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxphys.metrics.alignment import mean_displacement
from jaxphys.relaxation import Relaxation, Status, relax_batch
from jaxphys.roles import EnergyFunction

GOOD, BAD = 0.075, 0.3
"""Å: a minimum found back, and one lost, of mlipaudit's reference geometry stability."""


def energy_metrics(
    energy_fn: EnergyFunction,
    positions: Float[Any, "n 3"],
    energy: Float[Any, ""] | float,
    forces: Float[Any, "n 3"],
    *,
    mask: Bool[Any, " n"] | None = None,
) -> dict[str, Float[Array, ""]]:
    """Errors of energy and forces at one labelled geometry, scalars by name; vmap, then mean over molecules.

    positions: (n, 3) in Å; energy: label in eV; forces: labels (n, 3) in eV/Å, zeros at a labelled minimum;
    mask: (n,) True for real atoms, all if None.
    energy_mae: |ΔE| in eV, and energy_mae_per_atom; force_mae: mean of |ΔF| over components, as force fields
    report it; force_norm_mae: mean over atoms of the length |ΔF_i|, at a minimum the mean |F|, both in eV/Å.
    On equilibrium alone the force errors mean nothing: a constant energy has none. Give true forces at
    displaced geometries beside them.
    """
    predicted, gradient = jax.value_and_grad(energy_fn)(jnp.asarray(positions))
    real = jnp.ones(len(positions), bool) if mask is None else mask
    difference = jnp.where(real[:, None], -gradient - forces, 0.0)
    atoms = jnp.maximum(jnp.sum(real), 1)
    return {
        "energy_mae": jnp.abs(predicted - energy),
        "energy_mae_per_atom": jnp.abs(predicted - energy) / atoms,
        "force_mae": jnp.sum(jnp.abs(difference)) / (3 * atoms),
        "force_norm_mae": jnp.sum(jnp.sqrt(jnp.sum(difference**2, axis=-1))) / atoms,
    }


class Recovery(NamedTuple):
    """What became of minima that were perturbed and relaxed, each (b,).

    energy_change: ΔE = E(relaxed) − E(labelled minimum) of the energy function, in meV; displacement: ΔP, the
    mean distance of the atoms from the labelled minimum after the relaxation, and perturbation: ΔP₀, before
    it, both in Å and without rigid motion; steps; status: a `jaxphys.relaxation.Status`. Of an exploded
    molecule ΔE and ΔP are those of its last good geometry.
    """

    energy_change: Float[Array, " b"]
    displacement: Float[Array, " b"]
    perturbation: Float[Array, " b"]
    steps: Int[Array, " b"]
    status: Int[Array, " b"]


def perturb_and_relax(
    energy_fn: Callable[[Any, Float[Any, "n 3"]], Float[Array, ""]],
    molecules: Any,
    minima: Float[Any, "b n 3"],
    noise: Float[Any, "b n 3"],
    *,
    mask: Bool[Any, "b n"] | None = None,
    **settings: Any,
) -> Recovery:
    """Push molecules off their labelled minima and relax them on the energy function.

    energy_fn, molecules, mask, settings (method, fmax, max_steps, ...): as for `relaxation.relax_batch`;
    minima: (b, n, 3) in Å; noise: the perturbation, (b, n, 3) in Å, drawn by the caller.
    Before a distance is taken, both geometries are superposed by a proper rotation (Kabsch): an energy has no
    preferred place or direction, so that what the noise moved and turned as a whole can never come back.
    The least mean square decides the rotation; the mean distance is reported. A mirror image stays wrong.
    Source: Yi et al., UAI 2023 (PMLR 216:2433), ΔP and ΔE_g; there superposition is not mentioned.
    """
    minima = jnp.asarray(minima)
    real = jnp.ones(minima.shape[:-1], bool) if mask is None else jnp.asarray(mask)
    perturbed = minima + jnp.where(real[..., None], noise, 0.0)
    relaxed = relax_batch(energy_fn, molecules, perturbed, mask=real, **settings)
    at_minima = jax.jit(jax.vmap(energy_fn))(molecules, minima)
    return _recovery(relaxed, at_minima, minima, perturbed, real)


@jax.jit
def _recovery(
    relaxed: Relaxation,
    at_minima: Float[Array, " b"],
    minima: Float[Array, "b n 3"],
    perturbed: Float[Array, "b n 3"],
    mask: Bool[Array, "b n"],
) -> Recovery:
    distance = jax.vmap(lambda positions, reference, real: mean_displacement(positions, reference, mask=real))
    return Recovery(
        energy_change=1e3 * (relaxed.energy - at_minima),
        displacement=distance(relaxed.positions, minima, mask),
        perturbation=distance(perturbed, minima, mask),
        steps=relaxed.steps,
        status=relaxed.status,
    )


@dataclass(frozen=True)
class RecoverySummary:
    """`Recovery` over molecules. Means are over those that did not explode, NaN if all did.

    molecules: their number; energy_change: mean |ΔE| in meV; displacement: mean ΔP in Å; displacement_ratio:
    ΣΔP / ΣΔP₀, 1 for a constant energy, 0 for a perfect one; good, bad: fractions of all molecules with
    ΔP ≤ 0.075 Å, and ΔP > 0.3 Å or exploded; not_converged: number that ran out of steps, with their
    geometries in the means; exploded: names.
    """

    molecules: int
    energy_change: float
    displacement: float
    displacement_ratio: float
    good: float
    bad: float
    not_converged: int
    exploded: tuple[str, ...]


def summarise_recovery(recovery: Recovery, names: Sequence[str] | None = None) -> RecoverySummary:
    """Means and fractions over molecules; host function.

    names: of the molecules, their places from 0 if None. Raises ValueError for no molecules, or another
    number of names.
    """
    count = len(recovery.status)
    names = [str(place) for place in range(count)] if names is None else list(names)
    if count == 0 or len(names) != count:
        raise ValueError(f"{count} molecules, at least 1 needed, with {len(names)} names")
    status, displacement = np.asarray(recovery.status), np.asarray(recovery.displacement)
    exploded = status == Status.EXPLODED
    perturbation = np.asarray(recovery.perturbation)[~exploded]
    return RecoverySummary(
        molecules=count,
        energy_change=_mean(np.abs(np.asarray(recovery.energy_change)[~exploded])),
        displacement=_mean(displacement[~exploded]),
        displacement_ratio=_mean(displacement[~exploded]) / (_mean(perturbation) or np.nan),
        good=float(np.mean((displacement <= GOOD) & ~exploded)),
        bad=float(np.mean((displacement > BAD) | exploded)),
        not_converged=int(np.sum(status == Status.NOT_CONVERGED)),
        exploded=tuple(name for name, flag in zip(names, exploded, strict=True) if flag),
    )


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else np.nan
