"""A denoiser of particles without bonds, each of a type: clusters, beads, fluids in a trap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import jraph
from jaxtyping import Array, Float, Int

from jaxphys.models.layers.bonded import pair_geometry
from jaxphys.models.layers.vector_messages import VectorMessages
from jaxphys.models.layers.waves import waves
from jaxphys.molecule import centred


@dataclass(frozen=True)
class ParticleConfig:
    """Size of a `ParticleDenoiser`, and the constants that it does not learn.

    types: how many; channels: scalars and vectors on each particle. layers: rounds of messages. radial:
    Bessel functions; cutoff: theirs, in the unit of the positions; beyond, Gaussians of the distance's
    logarithm remain. spread: of the clean positions about their mean, a component: what σ is compared with.
    unit: how many Å the unit of the positions counts as, in what the network sees of distances: about 2 over
    the distance of neighbours. Raises ValueError for what cannot be built.
    """

    types: int = 1
    channels: int = 32
    layers: int = 3
    radial: int = 16
    cutoff: float = 2.5
    spread: float = 0.7
    unit: float = 2.0

    def __post_init__(self):
        for name in ("types", "channels", "layers", "radial", "cutoff", "spread", "unit"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


def particle_graph(positions: Float[Any, "n 3"], types: Int[Any, " n"] | None = None) -> jraph.GraphsTuple:
    """What a `ParticleDenoiser` sees: nodes positions and types; all pairs are edges, none is listed.

    types: (n,) from 0, all 0 if None.
    """
    count = len(positions)
    none = jnp.zeros((0,), jnp.int32)
    return jraph.GraphsTuple(
        nodes={
            "positions": jnp.asarray(positions),
            "types": jnp.zeros(count, jnp.int32) if types is None else jnp.asarray(types),
        },
        edges=None,
        receivers=none,
        senders=none,
        globals=None,
        n_node=jnp.array([count]),
        n_edge=jnp.zeros(1, jnp.int32),
    )


class ParticleDenoiser(nn.Module):
    """Estimate of the clean positions, (n, 3) with their mean at zero, from noisy ones and σ, in one unit.

    graph: as `particle_graph` makes it, with the noisy positions R + σ ε. sigma: (), positive. The answer
    turns and is mirrored with the positions, and particles of one type are alike. It is
    c_skip R + c_out F(R, σ), which tends to R at small σ.

    Source: preconditioning of Karras et al. 2022 (EDM), arXiv 2206.00364, Table 1, without their c_in.
    """

    config: ParticleConfig

    @nn.compact
    def __call__(self, graph: jraph.GraphsTuple, sigma: Float[Any, ""] | float) -> Float[Array, "n 3"]:
        config = self.config
        positions = centred(graph.nodes["positions"])
        sigma = jnp.asarray(sigma, positions.dtype)
        pairs = ~jnp.eye(len(positions), dtype=bool)
        units, features, reach = pair_geometry(
            config.unit * positions, pairs, config.radial, config.unit * config.cutoff
        )
        noise = nn.silu(nn.Dense(config.channels, name="noise")(waves(sigma, positions.dtype)))
        kinds = jax.nn.one_hot(graph.nodes["types"], config.types, dtype=positions.dtype)
        scalars = nn.Dense(config.channels, use_bias=False, name="types")(kinds)
        scalars = scalars + nn.Dense(config.channels, name="noise_of_particles")(noise)
        vectors = None
        for layer in range(config.layers):
            messages = VectorMessages(config.channels, name=f"layer{layer}")
            scalars, vectors = messages(scalars, vectors, noise, units, features, pairs, reach)
        move = nn.Dense(1, use_bias=False, name="move")(vectors)[..., 0]
        total = sigma**2 + config.spread**2
        return centred(config.spread**2 / total * positions + sigma * config.spread / jnp.sqrt(total) * move)
