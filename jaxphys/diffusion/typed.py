"""Diffusion of positions with what the atoms are: elements as scaled unit vectors, under one noise."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, UInt32

from jaxphys.diffusion.noise import centred_noise
from jaxphys.roles import TypedAtoms, TypedDenoiseFunction


def typed_noise(
    key: Key[Array, ""] | UInt32[Array, " 2"],
    shape: tuple[int, int],
    mask: Bool[Any, " n"] | None = None,
    *,
    dtype: Any = float,
) -> TypedAtoms:
    """`centred_noise` of positions, and normal numbers for the types, whose mean is information and stays.

    shape: (n, k); mask: (n,) True for real atoms, all if None; padded ones get zero, and change no draw.
    """
    of_positions, of_types = jax.random.split(key)
    keys = jax.vmap(lambda atom: jax.random.fold_in(of_types, atom))(jnp.arange(shape[0]))
    types = jax.vmap(lambda own: jax.random.normal(own, (shape[1],), dtype))(keys)
    types = types if mask is None else jnp.where(mask[:, None], types, 0.0)
    return TypedAtoms(centred_noise(of_positions, (shape[0], 3), mask, dtype=dtype), types)


def stochastic_typed(
    denoise_fn: TypedDenoiseFunction,
    key: Key[Array, ""] | UInt32[Array, " 2"],
    start: TypedAtoms,
    sigmas: Float[Any, " steps"],
    *,
    eta: Float[Any, ""] | float = 1.0,
    mask: Bool[Any, " n"] | None = None,
) -> TypedAtoms:
    """Atoms from noise, positions and types at once, by the rule of `stochastic`; the last is σ' = 0.

    start: at the first of the levels; sigmas: (steps,) in Å, descending and positive, as `levels`, one call
    of denoise_fn each; eta: from 0, the flow of `ddim`, to 1, ancestral sampling; key, mask: as of
    `typed_noise`. Source: Song, Meng, Ermon, ICLR 2021, Eq. 16; of types and positions together Hoogeboom et
    al., ICML 2022 (EDM). Raises ValueError without levels.
    """
    start = _real(TypedAtoms(*map(jnp.asarray, start)), mask)
    here = jnp.asarray(sigmas, start.positions.dtype)
    if len(here) == 0:
        raise ValueError("sigmas must hold at least one level, got none")
    there = jnp.append(here[1:], jnp.zeros_like(here[:1]))
    # as rounding may not make a root of less than nothing
    fresh = eta * there * jnp.sqrt(jnp.maximum(1 - (there / here) ** 2, 0.0))
    kept = jnp.sqrt(jnp.maximum(there**2 - fresh**2, 0.0)) / here

    def step(atoms: TypedAtoms, inputs: tuple[Array, Array, Array, Array]) -> tuple[TypedAtoms, None]:
        sigma, keep, width, own_key = inputs
        denoised = _real(denoise_fn(atoms, sigma), mask)
        noise = typed_noise(own_key, atoms.types.shape, mask, dtype=here.dtype)

        def move(clean: Array, noisy: Array, new: Array) -> Array:
            return clean + keep * (noisy - clean) + width * new

        return jax.tree.map(move, denoised, atoms, noise), None

    inputs = (here, kept.astype(here.dtype), fresh.astype(here.dtype), jax.random.split(key, len(here)))
    return jax.lax.scan(step, start, inputs)[0]


def _real(atoms: TypedAtoms, mask: Bool[Any, " n"] | None) -> TypedAtoms:
    if mask is None:
        return atoms
    return jax.tree.map(lambda part: jnp.where(mask[:, None], part, 0.0), atoms)
