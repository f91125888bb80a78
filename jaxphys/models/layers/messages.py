"""Equivariant messages: neighbours' features coupled with the harmonics of the edges, by receiver.

Each atom's edges stand in a row of fixed length, so that the sum over neighbours is a small matrix product
and nothing is scattered. The harmonics are summed before they are coupled: the coupling then works on atoms,
of which there are fewer than edges.
"""

from __future__ import annotations

from typing import NamedTuple

import e3nn_jax as e3nn
import flax.linen as nn
import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Array, Bool, Float, Int

ONE_HOT_NODES = 64
"""Up to so many atoms, gathering by a matrix product is faster than by index, above all its gradient."""


class Neighbours(NamedTuple):
    """Edges by receiver, d to an atom. vectors: from receiver to sender, in Å; zero where the mask is."""

    senders: Int[Array, "n d"]
    mask: Bool[Array, "n d"]
    vectors: Float[Array, "n d 3"]
    complete: Bool[Array, ""]


def neighbours(graph: jraph.GraphsTuple) -> Neighbours:
    """The rows of a graph's edges: those of `nodes["edges"]`, or found in edges sorted by receiver.

    `complete` says whether every edge of a real atom has found a place: not so if they are not sorted.
    """
    numbers, positions = graph.nodes["numbers"], graph.nodes["positions"]
    shifted = "shifts" in (graph.edges or {})
    if "edges" in graph.nodes:
        slots = graph.nodes["edges"]
        found = slots < len(graph.senders)
    elif shifted:
        raise ValueError("graphs with shifts must say which edges each node receives, in nodes['edges']")
    else:
        slots, found = _rows(graph.receivers, len(numbers))
    slots = jnp.minimum(slots, len(graph.senders) - 1)
    mask = found & (numbers > 0)[:, None]
    senders = jnp.where(mask, graph.senders[slots], 0)
    vectors = gather(positions, senders) - positions[:, None]
    if shifted:
        vectors = vectors + graph.edges["shifts"][slots].astype(vectors.dtype)
    complete = jnp.sum(mask) == jnp.sum(numbers[graph.receivers] > 0)
    return Neighbours(senders, mask, jnp.where(mask[..., None], vectors, 0.0), complete)


def _rows(receivers: Int[Array, " e"], n_node: int) -> tuple[Int[Array, "n d"], Bool[Array, "n d"]]:
    """Edge numbers by receiver, of a simple graph with at least one padding node."""
    nodes = jnp.arange(n_node, dtype=receivers.dtype)
    start = jnp.searchsorted(receivers, nodes, method="compare_all")
    slots = start[:, None] + np.arange(max(n_node - 2, 1))
    clipped = jnp.minimum(slots, len(receivers) - 1)
    return slots, (receivers[clipped] == nodes[:, None]) & (slots < len(receivers))


def gather(values: Float[Array, "v ..."], senders: Int[Array, "n d"]) -> Float[Array, "n d ..."]:
    """values[senders]; for few atoms as a matrix product, exact all the same."""
    count = len(values)
    if count > ONE_HOT_NODES:
        return values[senders]
    choice = (senders.reshape(-1, 1) == jnp.arange(count, dtype=senders.dtype)).astype(values.dtype)
    chosen = jnp.matmul(choice, values.reshape(count, -1), precision="highest")
    return chosen.reshape(*senders.shape, *values.shape[1:])


def degrees(features: Array, axis: int = -2) -> list[Array]:
    """The parts of each l of features whose `axis` runs over (lmax+1)² components."""
    lmax = int(np.sqrt(features.shape[axis])) - 1
    return jnp.split(features, [(l + 1) ** 2 for l in range(lmax)], axis=axis)


class DegreeLinear(nn.Module):
    """A linear map of the channels for each l, without bias: (…, m, c) to (…, m, channels)."""

    channels: int

    @nn.compact
    def __call__(self, features: Float[Array, "*n m c"]) -> Float[Array, "*n m k"]:
        maps = [nn.Dense(self.channels, use_bias=False, name=f"l{l}") for l in range(len(degrees(features)))]
        return jnp.concatenate([f(part) for f, part in zip(maps, degrees(features), strict=True)], axis=-2)


def coupling_paths(l_in: int, l_edge: int, l_out: int) -> list[tuple[int, int, int]]:
    """Couplings (l of the feature, of the edge, of the message) of natural parity (−1)^l throughout."""
    return [
        (a, b, c)
        for b in range(l_edge + 1)
        for a in range(l_in + 1)
        for c in range(abs(a - b), min(a + b, l_out) + 1)
        if (a + b + c) % 2 == 0
    ]


def coupling(a: int, b: int, c: int) -> np.ndarray:
    """Real Clebsch–Gordan coefficients (2b+1, 2a+1, 2c+1); the result has unit variance a component."""
    return np.sqrt(2 * c + 1) * np.asarray(e3nn.clebsch_gordan(b, a, c), np.float64)


class Convolution(nn.Module):
    """Messages summed over neighbours: (n, (l_in+1)², c) to (n, (l_out+1)², channels)."""

    channels: int
    l_out: int
    radial_hidden: tuple[int, ...]
    neighbours: float

    @nn.compact
    def __call__(
        self,
        features: Float[Array, "n m c"],
        senders: Int[Array, "n d"],
        harmonics: Float[Array, "n d y"],
        radial: Float[Array, "n d r"],
        envelope: Float[Array, "n d"],
    ) -> Float[Array, "n o k"]:
        sent = degrees(gather(DegreeLinear(self.channels, name="up")(features), senders))
        parts = degrees(harmonics, axis=-1)
        paths = coupling_paths(len(sent) - 1, len(parts) - 1, self.l_out)
        weights = jnp.split(self._weights(radial, len(paths)) * envelope[..., None], len(paths), axis=-1)
        messages: list[list[Array]] = [[] for _ in range(self.l_out + 1)]
        for l, part in enumerate(parts):
            chosen = [i for i, path in enumerate(paths) if path[1] == l]
            summed = self._sum(part, [weights[i][:, :, None] * sent[paths[i][0]] for i in chosen])
            for i, total in zip(chosen, summed, strict=True):
                a, b, c = paths[i]
                table = jnp.asarray(coupling(a, b, c), total.dtype)
                messages[c].append(jnp.einsum("nbac,bak->nkc", total, table))
        mixed = [
            nn.Dense(self.channels, use_bias=False, name=f"mix{l}")(jnp.concatenate(found, axis=-1))
            for l, found in enumerate(messages)
        ]
        return jnp.concatenate(mixed, axis=1) / self.neighbours

    def _weights(self, radial: Float[Array, "n d r"], count: int) -> Float[Array, "n d pc"]:
        hidden = radial
        for i, width in enumerate(self.radial_hidden):
            hidden = nn.silu(nn.Dense(width, use_bias=i > 0, name=f"radial{i}")(hidden))
        return nn.Dense(count * self.channels, use_bias=False, name="radial")(hidden)

    def _sum(self, harmonics: Float[Array, "n d y"], values: list[Array]) -> list[Array]:
        """Σ over neighbours of harmonic times value: a list of (n, y, a, c)."""
        stacked = jnp.concatenate(values, axis=2)
        flat = stacked.reshape(*stacked.shape[:2], -1)
        total = jnp.matmul(harmonics.mT, flat).reshape(len(flat), -1, *stacked.shape[2:])
        return jnp.split(total, np.cumsum([v.shape[2] for v in values])[:-1], axis=2)
