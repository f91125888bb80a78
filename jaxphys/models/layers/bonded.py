"""All pairs of a molecule's atoms with its bonds, and the handedness of its tetrahedral atoms.

Pairs are dense, (n, n) by receiver and sender: a molecule's graph is complete, and small.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxphys.models.layers.messages import gather
from jaxphys.models.layers.radial import bessel_basis, cutoff_envelope, safe_distance, unit_vectors

_ORDERS, _SEPARATIONS, _SIDES = 5, 5, 2  # none to aromatic; 1 to 5 bonds; cis and trans
# Gaussians of log(d + 0.1 Å): noisy positions reach far beyond the cutoff of the Bessel functions
_OFFSET, _CENTRES, _WIDTH = 0.1, np.log(np.geomspace(0.2, 15.0, 16)), 0.25
_HALF = 3.0  # Å, at which a message arrives by half


class Pairs(NamedTuple):
    """What the graph says of each pair: which are real, one-hot bonds, and whether all pairs were found."""

    mask: Bool[Array, "n n"]
    kinds: Float[Array, "n n k"]
    complete: Bool[Array, ""]


def bonded_pairs(graph: jraph.GraphsTuple) -> Pairs:
    """The pairs of a graph of `bond_graph`; raises ValueError for one without bonds.

    `complete` is false of a graph that lacks pairs or has its edges in another order.
    """
    if graph.edges is None or "bond" not in graph.edges or "tetrahedron" not in graph.nodes:
        raise ValueError(
            "the model needs bonds and orientations in the graph, as data.bond_graph writes them"
        )
    real = graph.nodes["numbers"] > 0
    own = jnp.arange(len(real))
    receivers, senders = own[:, None], own[None]
    mask = real[:, None] & real[None] & (receivers != senders)
    slots = receivers * (jnp.sum(real) - 1) + senders - (senders > receivers)
    slots = jnp.clip(slots, 0, len(graph.senders) - 1)
    found = (graph.receivers[slots] == receivers) & (graph.senders[slots] == senders)
    dtype = graph.nodes["positions"].dtype
    kinds = [
        jax.nn.one_hot(graph.edges["bond"][slots], _ORDERS, dtype=dtype),
        jax.nn.one_hot(graph.edges["separation"][slots] - 1, _SEPARATIONS, dtype=dtype),
        jax.nn.one_hot(graph.edges["planar"][slots] - 1, _SIDES, dtype=dtype),
    ]
    mask_found = mask & found
    return Pairs(mask_found, jnp.concatenate(kinds, axis=-1) * mask_found[..., None], jnp.all(found | ~mask))


def pair_geometry(
    positions: Float[Array, "n 3"], mask: Bool[Array, "n n"], radial: int, cutoff: float
) -> tuple[Float[Array, "n n 3"], Float[Array, "n n r"], Float[Array, "n n"]]:
    """Directions from receiver to sender; Bessel functions within the cutoff, Gaussians within and beyond;
    and 1/(1 + d²/9 Å²), by which a pair's message fades."""
    vectors = jnp.where(mask[..., None], positions[None] - positions[:, None], 0.0)
    distance = safe_distance(vectors)
    bessel = bessel_basis(distance, cutoff, radial) * cutoff_envelope(distance, cutoff)[..., None]
    centres = jnp.asarray(_CENTRES, distance.dtype)
    gaussians = jnp.exp(-(((jnp.log(distance + _OFFSET)[..., None] - centres) / _WIDTH) ** 2))
    reach = 1 / (1 + (distance / _HALF) ** 2)
    return unit_vectors(vectors, distance), jnp.concatenate([bessel, gaussians], axis=-1), reach


def tetrahedra(
    positions: Float[Array, "n 3"], corners: Int[Array, "n 4"]
) -> tuple[Float[Array, " n"], Float[Array, "n n 3"]]:
    """How far each atom's four neighbours have the orientation asked for, and where each of them should go.

    corners: four neighbours in an order of positive signed volume V; an atom's own index where it has not.
    Returns V/√(V² + 4 Å⁶), from −1 to 1, zero there; and by receiver and sender ∂V/∂r of
    receivers that are corners of the sender, g/√(g² + 1 Å⁴).
    """
    present = (corners[:, 0] != corners[:, 1]).astype(positions.dtype)
    a, b, c, d = jnp.moveaxis(gather(positions, corners), 1, 0)

    def normal(one: Array, two: Array, three: Array) -> Array:
        return jnp.cross(two - one, three - one)

    gradient = jnp.stack([normal(b, c, d), normal(a, d, c), normal(a, b, d), normal(a, c, b)], axis=1)
    volume = jnp.sum(gradient[:, 0] * (a - b), axis=-1)
    gradient = gradient / jnp.sqrt(jnp.sum(gradient**2, axis=-1, keepdims=True) + 1.0)
    choice = jax.nn.one_hot(corners, len(positions), dtype=positions.dtype) * present[:, None, None]
    towards = jnp.einsum("sar,sax->rsx", choice, gradient, precision="highest")
    return volume / jnp.sqrt(volume**2 + 4.0), towards
