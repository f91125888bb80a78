"""A network for ground states of spins: messages along bonds, on square lattices and on any graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import jraph
from jaxtyping import Array, Float


@dataclass(frozen=True)
class SpinConfig:
    """Size of a `SpinModel`: channels of each spin; layers, rounds of messages: so many bonds far it sees.

    pinned: marks the first spin, for labels that are +1 there.
    Raises ValueError for sizes below 1.
    """

    channels: int = 32
    layers: int = 6
    pinned: bool = False

    def __post_init__(self):
        if self.channels < 1 or self.layers < 1:
            raise ValueError(f"channels and layers must be at least 1, got {self.channels} and {self.layers}")


class SpinModel(nn.Module):
    """Logits ln(q_i(+1) / q_i(−1)) of each spin in the ground state of given couplings.

    Couplings alone cannot tell a state from its flip, nor far spins from theirs: the network sees
    J_ij t_i t_j of reference spins t = ±1, and what it finds is times t again. With the strongest bonds'
    `data.reference_spins` it is equivariant under gauge transformations, exactly, and, unless pinned, under
    all symmetries of the lattice. Parameters of a lattice are those of a graph: both give the same numbers.
    """

    config: SpinConfig

    def __call__(self, graph: jraph.GraphsTuple) -> Float[Array, " n_node"]:
        """Of any graph: nodes["reference"] (n_node,), edges["couplings"] (n_edge,), each bond both ways.

        As `data.spin_graph` makes it, one system. Padding edges have the coupling 0 and count for nothing.
        """
        reference, couplings = graph.nodes["reference"], graph.edges["couplings"]
        senders, receivers, nodes = graph.senders, graph.receivers, len(reference)

        def total(weights: Array, features: Array) -> Array:
            return jax.ops.segment_sum(weights[:, None] * features[senders], receivers, nodes)

        logits = self._logits(couplings * reference[senders] * reference[receivers], total, (nodes,))
        return reference * logits

    def lattice(
        self,
        right: Float[Array, "rows columns"],
        down: Float[Array, "rows columns"],
        reference: Float[Array, "rows columns"],
    ) -> Float[Array, "rows columns"]:
        """Of a square lattice with open boundaries, couplings as of `data.random_lattices`."""
        along = right[:, :-1] * reference[:, :-1] * reference[:, 1:]
        across = down[:-1] * reference[:-1] * reference[1:]
        couplings = jnp.stack(
            [
                jnp.pad(along, ((0, 0), (0, 1))),
                jnp.pad(along, ((0, 0), (1, 0))),
                jnp.pad(across, ((0, 1), (0, 0))),
                jnp.pad(across, ((1, 0), (0, 0))),
            ]
        )
        return reference * self._logits(couplings, _lattice_total, right.shape)

    @nn.compact
    def _logits(
        self, couplings: Array, total: Callable[[Array, Array], Array], shape: tuple[int, ...]
    ) -> Array:
        """Of the spins relative to the reference. total: at each spin, over bonds, weight times neighbour."""
        config = self.config
        weights = (couplings, jnp.abs(couplings), (couplings != 0).astype(couplings.dtype))
        marked = jnp.zeros(shape, couplings.dtype).at[(0,) * len(shape)].set(float(config.pinned))
        one = jnp.ones((*shape, 1), couplings.dtype)
        sums = [total(weight, one) for weight in (*weights, couplings**3)]
        features = nn.Dense(config.channels, name="spin")(
            jnp.concatenate([*sums, marked[..., None]], axis=-1)
        )
        for layer in range(config.layers):
            known = nn.LayerNorm(name=f"norm{layer}")(features)
            heard = jnp.concatenate([known, *(total(weight, known) for weight in weights)], axis=-1)
            hidden = nn.relu(nn.Dense(2 * config.channels, name=f"hidden{layer}")(heard))
            features = features + nn.Dense(config.channels, name=f"out{layer}")(hidden)
        return nn.Dense(1, name="logits")(nn.LayerNorm(name="norm")(features))[..., 0]


def _lattice_total(
    weights: Float[Array, "4 rows columns"], features: Float[Array, "rows columns c"]
) -> Array:
    """Over the neighbours to the right, left, below and above."""
    padded = jnp.pad(features, ((1, 1), (1, 1), (0, 0)))
    neighbours = (padded[1:-1, 2:], padded[1:-1, :-2], padded[2:, 1:-1], padded[:-2, 1:-1])
    return sum(
        (weight[..., None] * other for weight, other in zip(weights, neighbours, strict=True)),
        start=jnp.zeros_like(features),
    )
