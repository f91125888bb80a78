"""How `experiments.molecule_generation` makes molecules from noise."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxphys.diffusion import VarianceExploding, levels, stochastic_typed, typed_noise
from jaxphys.metrics.generation import Geometry
from jaxphys.models import MoleculeGenerator, typed_denoise_fn
from jaxphys.roles import TypedAtoms

STEP = 4
"""Padded sizes are multiples of it: few programs, and little padding."""

_SAMPLING = 2**31 - 1


@dataclass(frozen=True)
class Sampler:
    """So many levels from sigma_max to sigma_min, in Å, spaced by rho as for `jaxphys.diffusion.levels`.

    eta: how much of the noise is fresh in each step, 0 for none. Raises ValueError for no steps, levels that
    do not descend, and eta outside 0 to 1.
    """

    steps: int = 60
    sigma_max: float = 6.0
    sigma_min: float = 0.02
    rho: float = 7.0
    eta: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if not 0 < self.sigma_min < self.sigma_max:
            raise ValueError(
                f"0 < sigma_min < sigma_max must hold, got {self.sigma_min} and {self.sigma_max} Å"
            )
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must be from 0 to 1, got {self.eta}")


def generate(
    model: MoleculeGenerator,
    params: Any,
    counts: Sequence[int],
    seed: int,
    sampler: Sampler,
    *,
    block: int = 64,
) -> list[Geometry]:
    """Molecules with these numbers of atoms: atomic numbers and positions in Å, centred, in the order asked.

    Molecule i depends on the seed, i and its number of atoms, not on the others nor on the block: how many
    are made at a time. They may hold NaN, as a network gives it. Raises ValueError for fewer than one atom.
    """
    if not len(counts) or min(counts) < 1:
        raise ValueError(f"each molecule needs at least one atom, got the numbers {list(counts)[:10]}")
    # training of this seed has the keys of its steps, not these
    key = jax.random.fold_in(jax.random.key(seed), _SAMPLING)
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(len(counts)))
    found: list[Geometry] = [(np.zeros(0, int), np.zeros((0, 3)))] * len(counts)
    atoms = np.asarray(counts)
    sizes = -(-atoms // STEP) * STEP
    for size in np.unique(sizes).tolist():
        rows = np.flatnonzero(sizes == size)
        for start in range(0, len(rows), block):
            # the last block repeats one, so that all are of one shape
            own = rows[np.minimum(np.arange(start, start + block), len(rows) - 1)]
            mask = jnp.arange(size) < jnp.asarray(atoms[own])[:, None]
            positions, elements = map(np.asarray, _block(model, sampler, params, mask, keys[own]))
            for place, row in enumerate(own.tolist()):
                numbers = np.array(model.config.species)[elements[place, : atoms[row]]]
                found[row] = numbers, positions[place, : atoms[row]].astype(np.float64)
    return found


@functools.partial(jax.jit, static_argnums=(0, 1))
def _block(
    model: MoleculeGenerator, sampler: Sampler, params: Any, masks: Array, keys: Array
) -> tuple[Array, Array]:
    schedule = VarianceExploding(sampler.sigma_min, sampler.sigma_max)
    sigmas = levels(schedule, sampler.steps, rho=sampler.rho)
    dtype = jax.tree.leaves(params)[0].dtype
    config = model.config

    def one(mask: Array, key: Array) -> tuple[Array, Array]:
        first, later = jax.random.split(key)
        noise = typed_noise(first, (len(mask), len(config.species)), mask, dtype=dtype)
        # noisy structures have their own spread besides
        width = jnp.sqrt(sampler.sigma_max**2 + config.spread**2).astype(dtype)
        start = TypedAtoms(width * noise.positions, sigmas[0].astype(dtype) * noise.types)
        denoise = typed_denoise_fn(model, params, mask)
        atoms = stochastic_typed(denoise, later, start, sigmas, eta=sampler.eta, mask=mask)
        return atoms.positions, jnp.argmax(atoms.types, axis=-1)

    return jax.vmap(one)(masks, keys)
