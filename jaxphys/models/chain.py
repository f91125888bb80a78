"""A denoiser of a chain of beads whose native structure is known, and of its mutants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Array, Float

from jaxphys.models.layers.waves import waves
from jaxphys.molecule import centred
from jaxphys.roles import DenoiseFunction

_NEAR = 6  # neighbours along the chain, either way, whose distances each bead sees by their place
_STRIDES = (1, 2, 3, 4, 6, 9)  # of the steps along the chain whose turns and hands it sees
_BENDS = (1, 4)  # strides of the bends along whose normals it may move
_CLOSE = 6.0  # Å, at which closeness falls off


@dataclass(frozen=True)
class ChainConfig:
    """Size of a `ChainDenoiser`.

    channels: on each bead; layers: rounds of mixing over beads and over channels. Raises ValueError for what
    cannot be built.
    """

    channels: int = 96
    layers: int = 3

    def __post_init__(self):
        for name in ("channels", "layers"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


class Chain(NamedTuple):
    """What is known of a chain of n beads: its native structure in Å, and how its beads move together.

    native: (n, 3); modes: (n, n), orthonormal columns, and variances: (n,) in Å², a component, of the
    positions along them, as `chain_of`; the motion of the centre has none.
    """

    native: Float[Any, "n 3"]
    modes: Float[Any, "n n"]
    variances: Float[Any, " n"]

    @property
    def spread(self) -> float:
        """Root mean square of a bead's coordinates about the chain's mean, in Å, a component."""
        return float(np.sqrt(np.mean(np.asarray(self.variances))))


def chain_of(
    native: Float[Any, "n 3"], positions: Float[Any, "k n 3"], weights: Float[Any, " k"] | None = None
) -> Chain:
    """The chain with this native structure and these samples, in Å; host.

    weights: (k,) of the samples, which sum to one; alike if None. Modes are those of the beads' second
    moments, the same in all directions, as samples turned in all ways have them: Rouse's, made to measure.
    Raises ValueError for samples of another chain.
    """
    positions = np.asarray(positions, float)
    if positions.ndim != 3 or positions.shape[1:] != np.shape(native):
        raise ValueError(f"positions must be samples of {np.shape(native)}, (k, n, 3), got {positions.shape}")
    weights = np.full(len(positions), 1 / len(positions)) if weights is None else np.asarray(weights, float)
    positions = positions - positions.mean(axis=1, keepdims=True)
    scaled = (positions * np.sqrt(weights / 3)[:, None, None]).transpose(1, 0, 2).reshape(len(native), -1)
    variances, modes = np.linalg.eigh(scaled @ scaled.T)
    return Chain(np.asarray(native, np.float32), modes.astype(np.float32), np.maximum(variances, 0.0))


def chain_graph(
    positions: Float[Any, "n 3"], chain: Chain, changes: Float[Any, "n n"] | None = None
) -> jraph.GraphsTuple:
    """What a `ChainDenoiser` sees: nodes positions in Å, those of the chain, and changes; no edge is listed.

    changes: (n, n), symmetric, by how many kT a mutant's contacts are stronger, zero elsewhere; None for the
    wild type, zero everywhere.
    """
    count, none = len(positions), jnp.zeros((0,), jnp.int32)
    positions = jnp.asarray(positions)
    if changes is None:
        changes = jnp.zeros((count, count), positions.dtype)
    known = {name: jnp.asarray(part, positions.dtype) for name, part in chain._asdict().items()}
    return jraph.GraphsTuple(
        nodes={"positions": positions, "changes": jnp.asarray(changes, positions.dtype)} | known,
        edges=None,
        receivers=none,
        senders=none,
        globals=None,
        n_node=jnp.array([count]),
        n_edge=jnp.zeros(1, jnp.int32),
    )


def chain_denoise_fn(
    model: nn.Module, params: Any, chain: Chain, changes: Float[Any, "n n"] | None = None
) -> DenoiseFunction:
    """The denoiser of one mutant, as laws and samplers take it; arguments as of `chain_graph`."""

    def denoise(positions: Float[Any, "n 3"], sigma: Float[Any, ""] | float) -> Float[Array, "n 3"]:
        found: Any = model.apply(params, chain_graph(positions, chain, changes), sigma)
        return found

    return denoise


class ChainDenoiser(nn.Module):
    """Estimate of the clean positions, (n, 3) in Å with their mean at zero, from noisy ones and σ in Å.

    graph: as `chain_graph` makes it, with the noisy positions R + σ ε. sigma: (), positive. The answer turns
    with the positions and knows left from right; every bead is known by its place in the chain. It is
    s²/(s² + σ²) R + σ s/√(s² + σ²) F(R, σ) along each of the chain's modes, of variance s²: the best linear
    answer, and what is learned on top; at small σ it tends to R. With its first parameters it gives every
    mutant the answer of the wild type: what changes do is to be learned.

    Source: mixing of beads and channels in turn as in Tolstikhin et al., NeurIPS 2021 (arXiv 2105.01601):
    a few matrix products, the cheapest that see all pairs; preconditioning of Karras et al. 2022 (EDM), here
    mode by mode.
    """

    config: ChainConfig

    @nn.compact
    def __call__(self, graph: jraph.GraphsTuple, sigma: Float[Any, ""] | float) -> Float[Array, "n 3"]:
        config = self.config
        positions = centred(graph.nodes["positions"])
        sigma = jnp.asarray(sigma, positions.dtype)
        total = sigma**2 + jnp.mean(graph.nodes["variances"])
        distance, native = _distances(positions), _distances(graph.nodes["native"])
        level = nn.silu(nn.Dense(config.channels, name="level")(waves(sigma, positions.dtype)))
        shape = (len(positions), config.channels)
        place = self.param("place", nn.initializers.normal(0.5), shape, jnp.float32)
        seen = [
            *_pair_features(distance, native, sigma, total),
            _neighbours(positions, sigma),
            _turns(positions, sigma),
        ]
        beads = nn.Dense(config.channels, name="seen")(jnp.concatenate(seen, axis=1)) + place
        beads = beads + nn.Dense(config.channels, name="level_of_beads")(level)
        beads = beads + self._mutation(graph.nodes["changes"], distance, native, sigma)
        for layer in range(config.layers):
            beads = self._mixed(beads, level, f"layer{layer}")
        move = self._move(nn.LayerNorm(name="norm")(beads), positions, distance, sigma, total)
        return by_modes(graph.nodes["modes"], graph.nodes["variances"], positions, move, sigma)

    def _mutation(
        self,
        changes: Float[Array, "n n"],
        distance: Float[Array, "n n"],
        native: Float[Array, "n n"],
        sigma: Float[Array, ""],
    ) -> Float[Array, "n c"]:
        """What the changed contacts of each bead, and of all, may be worth as it stands; zero at first."""
        formed = nn.sigmoid((1.2 * native + 1.0 - distance) / (0.5 + 0.5 * sigma))
        worth = jnp.stack([jnp.ones_like(distance), formed, _closeness(distance)], axis=-1)
        own = jnp.einsum("ij,ijk->ik", changes, worth)
        all_of_them = jnp.broadcast_to(jnp.sum(own, axis=0) / 4, own.shape)
        dense = nn.Dense(
            self.config.channels, use_bias=False, kernel_init=nn.initializers.zeros, name="mutation"
        )
        return dense(jnp.concatenate([own, all_of_them], axis=1))

    def _mixed(self, beads: Float[Array, "n c"], level: Float[Array, " c"], name: str) -> Float[Array, "n c"]:
        """Over beads, then over channels by the level of noise."""
        count, channels = beads.shape
        across = nn.Dense(count + count // 3, name=f"{name}_across")(
            nn.LayerNorm(name=f"{name}_first")(beads).T
        )
        beads = beads + nn.Dense(count, name=f"{name}_back")(nn.silu(across)).T
        scale, shift = jnp.split(nn.Dense(2 * channels, name=f"{name}_level")(level), 2)
        known = nn.LayerNorm(name=f"{name}_second")(beads) * (1 + scale) + shift
        hidden = nn.silu(nn.Dense(2 * channels, name=f"{name}_hidden")(known))
        return beads + nn.Dense(channels, name=f"{name}_out")(hidden)

    def _move(
        self,
        beads: Float[Array, "n c"],
        positions: Float[Array, "n 3"],
        distance: Float[Array, "n n"],
        sigma: Float[Array, ""],
        total: Float[Array, ""],
    ) -> Float[Array, "n 3"]:
        """F: sums of the directions to all beads, near and far, and of normals of the chain's turns."""
        small = nn.initializers.normal(0.01)
        count = len(positions)
        weights = nn.Dense(2 * count, kernel_init=small, name="pulls")(beads).reshape(count, 2, count)
        pulls = weights[:, 0] / jnp.sqrt(distance**2 + 1.0) + weights[:, 1] / jnp.sqrt(2 * total)
        move = (
            jnp.matmul(pulls, positions, precision="highest")
            - jnp.sum(pulls, axis=1, keepdims=True) * positions
        )
        lifts = nn.Dense(len(_BENDS), kernel_init=small, name="lifts")(beads)
        before = positions - _beside(positions, [-stride for stride in _BENDS])
        after = _beside(positions, _BENDS) - positions
        size = jnp.sum(before**2, axis=-1) * jnp.sum(after**2, axis=-1) + sigma**4 + 1.0
        normals = jnp.cross(before, after) / jnp.sqrt(size)[..., None]
        return move + jnp.sum(lifts.T[..., None] * normals, axis=0)


def by_modes(
    modes: Float[Array, "n n"],
    variances: Float[Array, " n"],
    positions: Float[Array, "n 3"],
    move: Float[Array, "n 3"],
    sigma: Float[Array, ""],
) -> Float[Array, "n 3"]:
    """The best linear answer along each mode, and the network's on the scale of what it leaves open."""
    total = variances + sigma**2
    along = jnp.einsum("ik,ix->kx", modes, positions, precision="highest")
    kept = (variances / total)[:, None] * along
    open_to_it = (sigma * jnp.sqrt(variances / total))[:, None] * (modes.T @ move)
    return centred(jnp.einsum("ik,kx->ix", modes, kept + open_to_it, precision="highest"))


def _distances(positions: Float[Array, "n 3"]) -> Float[Array, "n n"]:
    """All distances in Å; with a gradient of zero where beads coincide."""
    square = jnp.sum((positions[:, None] - positions) ** 2, axis=-1)
    apart = square > 0
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1.0)), 0.0)


def _closeness(distance: Float[Array, "n n"]) -> Float[Array, "n n"]:
    return jnp.exp(-((distance / _CLOSE) ** 2))


def _pair_features(
    distance: Float[Array, "n n"],
    native: Float[Array, "n n"],
    sigma: Float[Array, ""],
    total: Float[Array, ""],
) -> list[Float[Array, "n n"]]:
    """Distances on the scale of all, near ones, and against the native ones on the scale of the noise."""
    return [
        distance / jnp.sqrt(2 * total),
        _closeness(distance),
        jnp.tanh((distance - native) / jnp.sqrt(1 + sigma**2)),
    ]


def _neighbours(positions: Float[Array, "n 3"], sigma: Float[Array, ""]) -> Float[Array, "n m"]:
    """Distances to the neighbours along the chain, by their place, on the scale of the noise."""
    offsets = [offset for offset in range(-_NEAR, _NEAR + 1) if offset]
    usual = jnp.asarray([[3.8 if abs(offset) == 1 else 5.5] for offset in offsets], positions.dtype)
    square = jnp.sum((_beside(positions, offsets) - positions) ** 2, axis=-1)
    distance = jnp.sqrt(square + 1e-6)
    scaled = distance / jnp.sqrt(square + 2 * sigma**2 + 1.0)
    return jnp.concatenate([scaled, jnp.clip((distance - usual) / (0.1 + sigma), -4, 4)]).T


def _turns(positions: Float[Array, "n 3"], sigma: Float[Array, ""]) -> Float[Array, "n m"]:
    """Angles and hands of three steps on, long and short ones, from −1 to 1; faint where noise is longer."""
    points = [_beside(positions, [k * stride for stride in _STRIDES]) for k in (-1, 0, 1, 2)]
    steps = jnp.stack([after - before for before, after in pairwise(points)])
    one, two, three = steps / jnp.sqrt(jnp.sum(steps**2, axis=-1, keepdims=True) + 2 * sigma**2 + 1.0)
    hands = jnp.sum(jnp.cross(one, two) * three, axis=-1)
    return jnp.concatenate([hands, jnp.sum(one * two, axis=-1), jnp.sum(one * three, axis=-1)]).T


def _beside(positions: Float[Array, "n 3"], offsets: Sequence[int]) -> Float[Array, "k n 3"]:
    """Each bead's neighbour so far along the chain, its end where there is none.

    By a product with ones and zeros: the derivative of a gather is a scatter, slow on CPUs.
    """
    count = len(positions)
    places = np.clip(np.arange(count) + np.asarray(offsets)[:, None], 0, count - 1)
    chosen = jnp.asarray(np.eye(count)[places], positions.dtype)
    return jnp.einsum("kij,jx->kix", chosen, positions, precision="highest")
