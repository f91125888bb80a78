"""A denoiser of one molecule's conformations, in the frame of one of its structures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Array, Float

from jaxphys.models.chain import by_modes, chain_of
from jaxphys.models.layers.waves import waves
from jaxphys.molecule import centred
from jaxphys.roles import DenoiseFunction
from jaxphys.superposition import best_rotation


@dataclass(frozen=True)
class FramedConfig:
    """Size of a `FramedDenoiser`.

    channels: of the whole molecule; layers: residual blocks. Raises ValueError for what cannot be built.
    """

    channels: int = 384
    layers: int = 3

    def __post_init__(self):
        for name in ("channels", "layers"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


class Frame(NamedTuple):
    """What is known of one molecule of n atoms: a structure of it in Å, and how its samples vary.

    native: (n, 3). modes: (n, n), orthonormal columns, and variances: (n,) in Å², a component, of the
    positions along them. distances, widths: (n, n) in Å, mean and standard deviation of each pair's distance.
    """

    native: Float[Any, "n 3"]
    modes: Float[Any, "n n"]
    variances: Float[Any, " n"]
    distances: Float[Any, "n n"]
    widths: Float[Any, "n n"]


def frame_of(native: Float[Any, "n 3"], positions: Float[Any, "k n 3"]) -> Frame:
    """The frame of a molecule with this structure and these samples, in Å, atom by atom; host.

    Raises ValueError for samples of another molecule, for fewer than two, and for a structure on a line, upon
    which nothing can be turned.
    """
    native = np.asarray(native, float)
    native = native - native.mean(axis=0)
    sizes = np.linalg.svd(native, compute_uv=False)
    if len(native) < 3 or not sizes[1] > 0.01 * sizes[0]:
        raise ValueError(f"the structure must not lie on a line, got {len(native)} atoms that do")
    chain = chain_of(native, positions)
    if len(positions) < 2:
        raise ValueError(f"positions must be at least two samples, got {len(positions)}")
    total, square = np.zeros((2, len(native), len(native)))
    for sample in np.asarray(positions, float):
        apart = np.linalg.norm(sample[:, None] - sample, axis=-1)
        total += apart / len(positions)
        square += apart**2 / len(positions)
    widths = np.sqrt(np.maximum(square - total**2, 0.0))
    return Frame(*chain, total.astype(np.float32), widths.astype(np.float32))


def framed_graph(positions: Float[Any, "n 3"], frame: Frame) -> jraph.GraphsTuple:
    """What a `FramedDenoiser` sees: nodes positions in Å and those of the frame; no edge is listed."""
    none = jnp.zeros((0,), jnp.int32)
    positions = jnp.asarray(positions)
    known = {name: jnp.asarray(part, positions.dtype) for name, part in frame._asdict().items()}
    return jraph.GraphsTuple(
        nodes={"positions": positions} | known,
        edges=None,
        receivers=none,
        senders=none,
        globals=None,
        n_node=jnp.array([len(positions)]),
        n_edge=jnp.zeros(1, jnp.int32),
    )


def framed_denoise_fn(model: nn.Module, params: Any, frame: Frame) -> DenoiseFunction:
    """The denoiser of one molecule, as laws and samplers take it; arguments as of `framed_graph`."""

    def denoise(positions: Float[Any, "n 3"], sigma: Float[Any, ""] | float) -> Float[Array, "n 3"]:
        found: Any = model.apply(params, framed_graph(positions, frame), sigma)
        return found

    return denoise


class FramedDenoiser(nn.Module):
    """Estimate of the clean positions, (n, 3) in Å with their mean at zero, from noisy ones and σ in Å.

    graph: as `framed_graph` makes it, with the noisy positions R + σ ε, without padding. sigma: (), positive.
    The noisy structure is turned upon that of the frame, one dense network sees its coordinates and distances
    there, and its answer is turned back: so it turns with the positions and knows left from right, and every
    atom is known by its place. A network for one molecule alone, 20 times as cheap as messages between its
    atoms. It is s²/(s² + σ²) R + σ s/√(s² + σ²) F(R, σ) along each of the frame's modes, of variance s²: the
    best linear answer, and what is learned on top; at small σ it tends to R. Where the turn is not unique it
    jumps, and its derivative in the positions leaves the turn out there.

    Source: Kabsch, Acta Cryst. A32, 922 (1976), for the turn; preconditioning of Karras et al. 2022 (EDM),
    here mode by mode.
    """

    config: FramedConfig

    @nn.compact
    def __call__(self, graph: jraph.GraphsTuple, sigma: Float[Any, ""] | float) -> Float[Array, "n 3"]:
        nodes = graph.nodes
        positions = centred(nodes["positions"])
        sigma = jnp.asarray(sigma, positions.dtype)
        turn = _turn(positions, nodes["native"])
        turned = positions @ turn
        first, second = np.triu_indices(len(positions), 1)
        apart = _differences(len(positions)) @ turned
        length = jnp.sqrt(jnp.sum(apart**2, axis=-1) + 1e-6)
        width = jnp.sqrt(nodes["widths"][first, second] ** 2 + 2 * sigma**2 + 1e-6)
        seen = [
            jnp.ravel(turned) / jnp.sqrt(jnp.mean(nodes["variances"]) + sigma**2),
            jnp.clip((length - nodes["distances"][first, second]) / width, -5, 5),
        ]
        hidden = self._hidden(jnp.concatenate(seen), waves(sigma, positions.dtype))
        small = nn.initializers.normal(0.01)
        move = nn.Dense(positions.size, kernel_init=small, name="moves")(hidden).reshape(positions.shape)
        pulls = nn.Dense(len(first), kernel_init=small, name="pulls")(hidden)
        along = apart * (pulls / jnp.sqrt(length**2 + sigma**2))[:, None]
        move = move + _differences(len(positions)).T @ along
        return by_modes(nodes["modes"], nodes["variances"], positions, move @ turn.T, sigma)

    def _hidden(self, seen: Float[Array, " f"], level: Float[Array, " w"]) -> Float[Array, " c"]:
        """Residual blocks, each scaled and shifted by the level of noise."""
        channels = self.config.channels
        hidden = nn.Dense(channels, name="seen")(jnp.concatenate([seen, level]))
        level = nn.silu(nn.Dense(128, name="level")(level))
        for layer in range(self.config.layers):
            scale, shift = jnp.split(nn.Dense(2 * channels, name=f"layer{layer}_level")(level), 2)
            known = nn.LayerNorm(name=f"layer{layer}_norm")(hidden) * (1 + scale) + shift
            inner = nn.silu(nn.Dense(channels, name=f"layer{layer}_in")(known))
            hidden = hidden + nn.Dense(channels, name=f"layer{layer}_out")(inner)
        return nn.LayerNorm(name="norm")(hidden)


def _turn(positions: Float[Array, "n 3"], native: Float[Array, "n 3"]) -> Float[Array, "3 3"]:
    """The rotation that turns the positions upon the structure; none, by choice, for atoms on a line."""
    overlap = positions.T @ native
    sizes = jnp.linalg.svd(jax.lax.stop_gradient(overlap), compute_uv=False)
    unique = sizes[1] > 1e-4 * sizes[0]
    other = jnp.diag(jnp.asarray([3.0, 2.0, 1.0], overlap.dtype))
    chosen = jnp.where(unique, overlap, other)
    return best_rotation(chosen.T, jnp.eye(3, dtype=overlap.dtype))


def _differences(count: int) -> Float[Array, "p n"]:
    """The matrix of the first atom less the second of each pair; a product is faster than gathers on CPUs."""
    first, second = np.triu_indices(count, 1)
    signs = np.zeros((len(first), count), np.float32)
    signs[np.arange(len(first)), first], signs[np.arange(len(first)), second] = 1, -1
    return jnp.asarray(signs)
