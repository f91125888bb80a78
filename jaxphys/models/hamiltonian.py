"""An E(3)-equivariant predictor of Kohn–Sham matrices in Gaussian bases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Array, Float, Int

from jaxphys.models.layers import o2
from jaxphys.models.layers.frames import edge_rotations, rotate


@dataclass(frozen=True)
class HamiltonianConfig:
    """Size of a `HamiltonianModel`.

    shells: for each element (atomic number) the angular momenta of its shells in the basis, in PySCF's
    order; correction: whether the matrix is to be added to that of a cheap guess, or stands for itself;
    lengths in Å, energies in Ha.
    """

    shells: tuple[tuple[int, tuple[int, ...]], ...]
    channels: int = 32
    lmax: int = 2
    layers: int = 3
    hidden: int = 64
    radial: int = 16
    cutoff: float = 12.0
    output_scale: float = 0.05
    correction: bool = True

    @property
    def slots(self) -> tuple[int, ...]:
        """Shells that an atomic block has room for: for each l as many as any element has."""
        top = max(l for _, shells in self.shells for l in shells)
        most = [max(shells.count(l) for _, shells in self.shells) for l in range(top + 1)]
        return tuple(l for l, count in enumerate(most) for _ in range(count))


class Layout(NamedTuple):
    """Where each orbital of the matrix stands in the atomic blocks; padded orbitals have atom −1."""

    atom: Int[Array | np.ndarray, " n"]
    slot: Int[Array | np.ndarray, " n"]


def orbital_layout(config: HamiltonianConfig, numbers: np.ndarray, n: int | None = None) -> Layout:
    """Layout of a molecule's orbitals in PySCF's order, padded to n; ValueError for unknown elements."""
    known = dict(config.shells)
    unknown = sorted({int(z) for z in numbers} - set(known))
    if unknown:
        raise ValueError(f"the model knows the elements {sorted(known)}, not {unknown}")
    starts = np.cumsum([0] + [2 * l + 1 for l in config.slots])
    first = {l: config.slots.index(l) for l in set(config.slots)}
    atom: list[int] = []
    slot: list[int] = []
    for index, number in enumerate(numbers):
        seen: dict[int, int] = {}
        for l in known[int(number)]:
            start = starts[first[l] + seen.get(l, 0)]
            seen[l] = seen.get(l, 0) + 1
            atom += [index] * (2 * l + 1)
            slot += range(start, start + 2 * l + 1)
    missing = (len(atom) if n is None else n) - len(atom)
    if missing < 0:
        raise ValueError(f"{len(atom)} orbitals do not fit into {n}")
    return Layout(np.array(atom + [-1] * missing, np.int32), np.array(slot + [0] * missing, np.int32))


class HamiltonianModel(nn.Module):
    """Atomic blocks of a symmetric, equivariant matrix in Ha, from a molecule's fully connected graph.

    Message passing and pair blocks in edge frames; on-site blocks are sums over neighbours, and one
    spherical part. The blocks are in PySCF's orbital order; `assemble` puts them into the matrix.
    """

    config: HamiltonianConfig

    @nn.compact
    def __call__(
        self, graph: jraph.GraphsTuple
    ) -> tuple[Float[Array, "nodes b b"], Float[Array, "edges b b"]]:
        config = self.config
        nodes, senders, receivers = graph.nodes, graph.senders, graph.receivers
        mask = (senders != receivers).astype(nodes["positions"].dtype)
        vectors = nodes["positions"][receivers] - nodes["positions"][senders]
        rotations = edge_rotations(vectors, max(config.lmax, max(config.slots)))
        radial = RadialBasis(config.radial, config.cutoff)(vectors)
        edges = Edges(senders, receivers, rotations[: config.lmax + 1], radial, mask)

        scalars = nn.Embed(120, config.channels, name="species")(nodes["numbers"])
        features = jnp.zeros((len(scalars), (config.lmax + 1) ** 2, config.channels), scalars.dtype)
        features = features.at[:, 0].set(scalars)
        for layer in range(config.layers):
            features = Convolution(config, scalars_only=layer == 0)(features, edges)
        pair, onsite = PairBlocks(config)(features, edges)
        turn = _block_rotations(config.slots, rotations)
        pair = turn.mT @ pair @ turn
        onsite = jax.ops.segment_sum(turn.mT @ onsite @ turn, receivers, len(scalars))
        onsite = onsite + SphericalBlock(config)(features[:, 0])
        return config.output_scale * onsite, config.output_scale * pair


class Edges(NamedTuple):
    senders: Int[Array, " e"]
    receivers: Int[Array, " e"]
    rotations: list[Float[Array, "e _ _"]]
    radial: Float[Array, "e r"]
    mask: Float[Array, " e"]


class RadialBasis(nn.Module):
    """Exponential Bernstein functions of the distance with a smooth cutoff (SpookyNet; Unke et al. 2021)."""

    count: int
    cutoff: float

    @nn.compact
    def __call__(self, vectors: Float[Array, "e 3"]) -> Float[Array, "e r"]:
        square = jnp.sum(vectors**2, axis=-1)
        distance = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)[:, None]
        k = np.arange(self.count)
        binomial = np.cumsum(np.log(np.concatenate([[1.0], (self.count - k[1:]) / k[1:]])))
        decay = 0.5 * distance
        tail = jnp.log(-jnp.expm1(-jnp.maximum(decay, 1e-6)))
        basis = jnp.exp(binomial - k * decay + (self.count - 1 - k) * tail)
        inside = distance < self.cutoff
        gap = jnp.where(inside, (self.cutoff - distance) * (self.cutoff + distance), 1.0)
        return (jnp.where(inside, jnp.exp(-(distance**2) / gap), 0.0) * basis).astype(vectors.dtype)


def _edge_features(features: Array, edges: Edges, lmax: int) -> o2.Features:
    """Both atoms' features in the edge frame, by |m|; the radial basis joins m = 0."""
    both = jnp.concatenate([features[edges.receivers], features[edges.senders]], axis=-1)
    parts = o2.split_by_m(rotate(both, edges.rotations), lmax)
    return [jnp.concatenate([parts[0], edges.radial[:, None]], axis=-1), *parts[1:]]


class Convolution(nn.Module):
    """One round of messages, summed over neighbours, and a gated update of each atom.

    scalars_only: the features have l = 0 only, so in the edge frame m = 0 only.
    """

    config: HamiltonianConfig
    scalars_only: bool = False

    @nn.compact
    def __call__(self, features: Float[Array, "v m c"], edges: Edges) -> Float[Array, "v m c"]:
        config = self.config
        lmax, channels = config.lmax, config.channels
        count = 1 if self.scalars_only else lmax + 1
        parts = _edge_features(features, edges, lmax)
        hidden = o2.O2Linear(((config.hidden,) + (config.hidden // 2,) * lmax)[:count])(parts[:count])
        hidden = o2.O2Gate()(hidden, edges.radial)
        widths = tuple((lmax + 1 - m) * channels for m in range(lmax + 1))
        message = o2.O2Linear(widths[:count])(hidden)
        message += [jnp.zeros((len(parts[0]), 2, width), parts[0].dtype) for width in widths[count:]]
        back = rotate(o2.join_by_l(message, lmax), edges.rotations, inverse=True)
        total = jax.ops.segment_sum(back * edges.mask[:, None, None], edges.receivers, len(features))
        features = features + 0.3 * total
        return features + Update(config)(features)


class Update(nn.Module):
    """Atom-wise: scalars and norms decide how the scalars change and how much of every l is mixed in."""

    config: HamiltonianConfig

    @nn.compact
    def __call__(self, features: Float[Array, "v m c"]) -> Float[Array, "v m c"]:
        config = self.config
        parts = [features[:, l * l : (l + 1) ** 2] for l in range(config.lmax + 1)]
        mixed = [nn.Dense(config.channels, use_bias=False)(part) for part in parts[1:]]
        norms = [jnp.sum(a * b, axis=1) for a, b in zip(mixed, parts[1:], strict=True)]
        scalars = jnp.concatenate([parts[0][:, 0], *norms], axis=-1)
        hidden = nn.silu(nn.Dense(config.hidden)(nn.LayerNorm()(scalars)))
        gates = jnp.split(nn.Dense((config.lmax + 1) * config.channels)(hidden), config.lmax + 1, axis=-1)
        return jnp.concatenate(
            [gates[0][:, None], *(g[:, None] * m for g, m in zip(gates[1:], mixed, strict=True))], axis=1
        )


class PairBlocks(nn.Module):
    """Matrix blocks in the edge frame: off-site (receiver, sender), and the sender's share of on-site."""

    config: HamiltonianConfig

    @nn.compact
    def __call__(self, features: Float[Array, "v m c"], edges: Edges) -> tuple[Array, Array]:
        config = self.config
        widths = (2 * config.hidden,) + (config.hidden,) * config.lmax
        hidden = o2.O2Linear(widths)(_edge_features(features, edges, config.lmax))
        hidden = o2.O2Gate()(hidden, edges.radial)
        second = o2.O2Linear(widths)(hidden)
        multiplied, odd = o2.products(hidden, second)
        gated = o2.O2Gate()(second, edges.radial)
        parts = [
            jnp.concatenate(([gated[m]] if m < len(gated) else []) + [multiplied[m]], axis=-1)
            for m in range(len(multiplied))
        ]
        return self._block(parts, odd, "offsite"), self._block(parts, odd, "onsite") * edges.mask[
            :, None, None
        ]

    def _block(self, parts: o2.Features, odd: Array, name: str) -> Float[Array, "e b b"]:
        couplings, mirrored = o2.block_couplings(self.config.slots)
        size = mirrored.shape[-1]
        coefficients, basis = [], []
        for m, (part, coupling) in enumerate(zip(parts, couplings, strict=False)):
            out = nn.Dense(len(coupling), use_bias=m == 0, name=f"{name}_m{m}")(part)
            coefficients.append(out.mT.reshape(len(out), -1))
            basis.append(coupling.reshape(-1, size * size))
        coefficients.append(nn.Dense(len(mirrored), use_bias=False, name=f"{name}_odd")(odd)[:, 0])
        basis.append(mirrored.reshape(-1, size * size))
        flat = jnp.concatenate(coefficients, axis=-1)
        return (flat @ jnp.asarray(np.concatenate(basis), flat.dtype)).reshape(-1, size, size)


class SphericalBlock(nn.Module):
    """The part of an on-site block that an isolated atom has: equal numbers on the m of two equal l."""

    config: HamiltonianConfig

    @nn.compact
    def __call__(self, scalars: Float[Array, "v c"]) -> Float[Array, "v b b"]:
        slots = self.config.slots
        starts = np.cumsum([0] + [2 * l + 1 for l in slots])
        units = []
        for i, a in enumerate(slots):
            for j, b in enumerate(slots):
                if a == b:
                    unit = np.zeros((starts[-1], starts[-1]))
                    unit[starts[i] : starts[i + 1], starts[j] : starts[j + 1]] = np.eye(2 * a + 1)
                    units.append(unit)
        hidden = nn.silu(nn.Dense(self.config.hidden)(nn.LayerNorm()(scalars)))
        return jnp.einsum("vu,ubc->vbc", nn.Dense(len(units))(hidden), jnp.asarray(units, scalars.dtype))


def _block_rotations(slots: tuple[int, ...], rotations: list[Array]) -> Float[Array, "e b b"]:
    """Rotations of whole atomic blocks from PySCF's order in the lab into the edge frames."""
    to_pyscf = {1: np.array([2, 0, 1])}  # PySCF orders p as x, y, z, not by m
    size = sum(2 * l + 1 for l in slots)
    turn = jnp.zeros((len(rotations[0]), size, size), rotations[0].dtype)
    start = 0
    for l in slots:
        stop = start + 2 * l + 1
        matrix = rotations[l][:, :, to_pyscf[l]] if l in to_pyscf else rotations[l]
        turn = turn.at[:, start:stop, start:stop].set(matrix)
        start = stop
    return turn


def assemble(
    blocks: tuple[Float[Array, "nodes b b"], Float[Array, "edges b b"]],
    graph: jraph.GraphsTuple,
    layout: Layout,
) -> Float[Array, "n n"]:
    """Symmetric matrix in PySCF's order from atomic blocks; zero in padded rows and columns."""
    onsite, pair = blocks
    count = len(onsite)
    index = jnp.diag(jnp.arange(count, dtype=jnp.int32))
    edges = count + jnp.arange(len(pair), dtype=jnp.int32)
    # padding edges are self-loops on a padding atom, which no orbital refers to
    index = index.at[graph.receivers, graph.senders].set(edges)
    real = layout.atom >= 0
    block = index[layout.atom[:, None], layout.atom[None, :]]
    matrix = jnp.concatenate([onsite, pair])[block, layout.slot[:, None], layout.slot[None, :]]
    matrix = jnp.where(real[:, None] & real[None, :], matrix, 0.0)
    return 0.5 * (matrix + matrix.T)
