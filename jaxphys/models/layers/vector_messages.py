"""Messages of scalars and vectors over all pairs of atoms, on the level of noise in the positions."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

_NEIGHBOURS = 4.0  # by which sums are divided


class VectorMessages(nn.Module):
    """One round: scalars (n, c) and vectors (n, 3, c), None before the first round, to new ones.

    directions: several a pair, (n, n, 3 m) by receiver and sender. features: (n, n, f) invariants of pairs.
    noise: (c,), an embedding of the noise level. reach: (n, n), how much of a pair's message arrives.
    What goes into a round is normed, so that sums over all pairs do not grow from round to round in molecules
    larger than those of the training. Source: scalar and vector features as in PaiNN (Schütt et al.,
    arXiv 2102.03150), on all pairs.
    """

    channels: int

    @nn.compact
    def __call__(
        self,
        scalars: Float[Array, "n c"],
        vectors: Float[Array, "n 3 c"] | None,
        noise: Float[Array, " c"],
        directions: Float[Array, "n n m"],
        features: Float[Array, "n n f"],
        mask: Bool[Array, "n n"],
        reach: Float[Array, "n n"],
    ) -> tuple[Float[Array, "n c"], Float[Array, "n 3 c"]]:
        known = nn.RMSNorm(name="norm")(scalars)
        weights = self._dense("receiver", bias=True)(known)[:, None] + self._dense("sender")(known)
        weights = nn.silu(weights + self._dense("pair")(features))
        weights = jnp.where(mask[..., None], weights * reach[..., None], 0.0)
        summed = jnp.einsum("ijc,ijk->ikc", weights, directions) / _NEIGHBOURS
        parts = list(jnp.split(summed, directions.shape[-1] // 3, axis=1))
        if vectors is not None:
            own = vectors / jnp.sqrt(1 + jnp.mean(jnp.sum(vectors**2, axis=1), axis=-1))[:, None, None]
            sent = self._dense("vectors")(own)
            parts += [jnp.einsum("ijc,jkc->ikc", weights, sent) / _NEIGHBOURS, own]
        arrived = jnp.concatenate(parts, axis=-1)
        products = jnp.sum(self._dense("left")(arrived) * self._dense("right")(arrived), axis=1)
        invariants = jnp.concatenate([known, jnp.sum(weights, axis=1) / _NEIGHBOURS, products], axis=-1)
        hidden = nn.Dense(2 * self.channels, name="hidden")(invariants)
        hidden = nn.silu(hidden + nn.Dense(2 * self.channels, use_bias=False, name="noise")(noise))
        update, gate = jnp.split(nn.Dense(2 * self.channels, name="update")(hidden), 2, axis=-1)
        moved = gate[:, None] * self._dense("out")(arrived)
        return scalars + update, moved if vectors is None else vectors + moved

    def _dense(self, name: str, bias: bool = False) -> nn.Dense:
        return nn.Dense(self.channels, use_bias=bias, name=name)
