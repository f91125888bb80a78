"""Energy in place of cross entropy for spins: the free energy of predicted spins, true or around a label."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxphys.energies import check_spins
from jaxphys.roles import SpinEnergy


def ising_energy(
    energy_fn: SpinEnergy,
    logits: Float[Any, "*shape"],
    label: Float[Any, "*shape"] | None = None,
    *,
    temperature: float = 0.1,
    h0: float = 0.1,
    mask: Bool[Any, "*shape"] | None = None,
) -> Float[Array, ""]:
    """Variational free energy of independent spins over T, (): (E_q[E(ŝ)] − T S[q]) / T; sum over the spins.

    energy_fn: of the system, as `energies.ising`; logits: ln(q_i(+1) / q_i(−1)), of the shape that energy_fn
    takes; the mean spin is m = tanh(logits / 2), and its sign the prediction. temperature: T > 0 in units of
    the energy. mask: True for real spins, all if None.
    Without a label, the true energy: E(m). It needs no ground state, and is blind to a flip of all spins.
    With label y, spins ±1, the local one: −Σ_i (h_i + h0 y_i) m_i, h_i = −∂E/∂s_i at y the field on spin i,
    Σ_j J_ij y_j. Its minimiser is y for h0 > 0 if y is a ground state, and for h0 > max |h_i|, 4 on a square
    lattice with |J| ≤ 1, whatever y; far above, it is a loss on labels alone. The label's overall sign is
    the caller's to fix. Nothing of the logits is detached; no gradient goes into the label or its fields.
    Source: Kaba, Sareen et al., NeurIPS 2025 (arXiv 2511.02087), Eq. 16, whose printed form, +Σ_i ŷ_i Σ_j
    (J_ij + h0) y_j, has its minimum at the flipped label, if at all.
    Raises ValueError for T ≤ 0 or h0 < 0, and, outside of jit, for a label that is not ±1 on real spins.
    """
    if not temperature > 0 or not h0 >= 0:
        raise ValueError(f"temperature must be positive and h0 not negative, got {temperature} and {h0}")
    logits = jnp.asarray(logits)
    real = jnp.ones(logits.shape, bool) if mask is None else mask
    logits = jnp.where(real, logits, 0.0)
    means = jnp.tanh(logits / 2)
    if label is None:
        energy = energy_fn(means)
    else:
        if not isinstance(label, jax.core.Tracer) and not isinstance(real, jax.core.Tracer):
            check_spins(np.asarray(label)[np.asarray(real)])
        label = jnp.where(real, jnp.asarray(label, means.dtype), 0.0)
        fields = jax.lax.stop_gradient(h0 * label - jax.grad(energy_fn)(label))
        energy = -jnp.sum(fields * means)
    return energy / temperature - jnp.sum(jnp.where(real, _entropy(logits), 0.0))


def _entropy(logits: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """S of each spin, ln 2 at most, from logits of any size: ln(1 + e^−x) + x / (1 + e^x), even in x."""
    size = jnp.abs(logits)
    return jax.nn.softplus(-size) + size * jax.nn.sigmoid(-size)
