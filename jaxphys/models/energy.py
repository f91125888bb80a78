"""An E(3)-equivariant potential: body-ordered message passing on the edges of a molecular graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Array, Float, Int

from jaxphys.models.elements import check_elements, reference_energies
from jaxphys.models.layers.messages import Convolution, DegreeLinear, gather, neighbours
from jaxphys.models.layers.pair import PairHead, pair_potential, switch
from jaxphys.models.layers.radial import bessel_basis, cutoff_envelope, safe_distance, unit_vectors
from jaxphys.models.layers.sphere import harmonics, sphere_grid


@dataclass(frozen=True)
class EnergyConfig:
    """Size of an `EnergyModel`, and the constants that it does not learn.

    species: the atomic numbers that it knows. reference: an energy for each of them in eV, by default zero.
    channels: copies of each spherical-harmonic component. lmax: of the harmonics of the edges and of what
    they are summed to; feature_lmax: of the features between the layers. correlation: how many neighbours'
    sums are multiplied, 1 to 3: body order 2 to 4 a layer. layers: rounds of messages. radial: Bessel
    functions. radial_hidden: widths of the network on them. hidden: width of the readouts.
    cutoff: in Å. neighbours: the average number within it, by which sums are divided.
    scale, shift: of the learned energy of each atom, in eV. pair_energy: adds the learned pair potential.
    species_head: adds the recovery of hidden elements, `EnergyModel.species_logits`.
    Raises ValueError for what cannot be built.
    """

    species: tuple[int, ...]
    reference: tuple[float, ...] = ()
    channels: int = 64
    lmax: int = 3
    feature_lmax: int = 1
    correlation: int = 3
    layers: int = 2
    radial: int = 8
    radial_hidden: tuple[int, ...] = (64, 64)
    hidden: int = 32
    cutoff: float = 5.0
    neighbours: float = 8.0
    scale: float = 1.0
    shift: float = 0.0
    pair_energy: bool = False
    species_head: bool = False

    def __post_init__(self):
        check_elements(self)
        if not 0 <= self.feature_lmax <= self.lmax:
            raise ValueError(f"feature_lmax must be 0 to lmax = {self.lmax}, got {self.feature_lmax}")
        if self.correlation not in (1, 2, 3):
            raise ValueError(f"correlation must be 1, 2 or 3, got {self.correlation}")
        for name in ("channels", "layers", "radial", "hidden", "cutoff", "neighbours"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


def energy_fn(model: nn.Module, params: Any, graph: jraph.GraphsTuple) -> Callable[[Array], Array]:
    """The energy of one molecule as a function of its positions alone, (n_node or n, 3) in Å to () in eV.

    model: one with a method `energy(graph)`. The graph's edges stay as they are. Positions may leave the
    padding nodes out. Raises ValueError for a model that has no energy.
    """
    if not hasattr(model, "energy"):
        raise ValueError(f"{type(model).__name__} has no energy head; EnergyModel and MultiTask have one")

    def energy(positions: Float[Array, "n 3"]) -> Float[Array, ""]:
        padding = graph.nodes["positions"].shape[0] - positions.shape[0]
        padded = jnp.pad(positions, ((0, padding), (0, 0)))
        moved = graph._replace(nodes={**graph.nodes, "positions": padded})
        value: Any = model.apply(params, moved, method="energy")
        return value

    return energy


class EnergyModel(nn.Module):
    """Energy of one molecule in eV, (), from its padded graph; forces are its gradient by the positions.

    graph: as `to_graph` or `neighbour_graph` makes it. Optional in it are the total charge in units of e,
    `globals["charge"]` (graphs,), by default 0, and `nodes["masked"]` (n_node,), true for atoms whose element
    the network is not to see; their reference energies count all the same.
    The energy is NaN for an element that the model does not know, of which `check_species` warns beforehand,
    and for a graph whose edges are not sorted by receiver.

    Source: body-ordered products of neighbour sums as in MACE (Batatia et al., arXiv 2206.07697), here taken
    on a grid of directions, exactly; radial functions and cutoff as in NequIP (arXiv 2101.03164).
    """

    config: EnergyConfig

    def __call__(self, graph: jraph.GraphsTuple) -> Float[Array, ""]:
        """Energy in eV."""
        return self.outputs(graph).energy

    def energy(self, graph: jraph.GraphsTuple) -> Float[Array, ""]:
        """The same, by the name that every model with an energy head has for it."""
        return self.outputs(graph).energy

    def species_logits(self, graph: jraph.GraphsTuple) -> Float[Array, "n_node species"]:
        """Unnormalised log-probabilities of each atom's element, in the order of `config.species`."""
        logits = self.outputs(graph).logits
        if logits is None:
            raise ValueError("species_logits needs a model whose config has species_head=True")
        return logits

    @nn.compact
    def outputs(self, graph: jraph.GraphsTuple) -> EnergyOutputs:
        """All that one evaluation gives."""
        config = self.config
        graph = jax.tree.map(jnp.asarray, graph)
        numbers, real = graph.nodes["numbers"], graph.nodes["numbers"] > 0
        near = neighbours(graph)
        dtype = near.vectors.dtype
        distance = safe_distance(near.vectors)
        edges = Edges(
            near.senders,
            harmonics(unit_vectors(near.vectors, distance), config.lmax),
            bessel_basis(distance, config.cutoff, config.radial),
            cutoff_envelope(distance, config.cutoff) * near.mask,
        )
        elements = _elements(config, graph, dtype)
        scalars = nn.Dense(config.channels, use_bias=False, name="species")(elements)
        scalars = scalars + nn.Dense(config.channels, use_bias=False, name="charge")(_charge(graph, dtype))
        features = scalars[:, None]
        learned = jnp.zeros(len(numbers), dtype)
        for layer in range(config.layers):
            top = 0 if layer == config.layers - 1 else config.feature_lmax
            features = Interaction(config, top)(features, elements, edges)
            learned = learned + Readout(config.hidden, 1, name=f"readout{layer}")(features[:, 0])[:, 0]
        atoms = jnp.where(real, config.scale * learned + config.shift, 0.0)
        atoms = atoms + jnp.where(near.complete, reference_energies(config, numbers), jnp.nan).astype(dtype)
        if config.pair_energy:
            atoms = atoms + self._pairs(features[:, 0], edges, distance)
        logits = None
        if config.species_head:
            logits = Readout(config.hidden, len(config.species), name="species_head")(features[:, 0])
        return EnergyOutputs(jnp.sum(atoms), atoms, logits)

    def _pairs(self, scalars: Float[Array, "n c"], edges: Edges, distance: Float[Array, "n d"]) -> Array:
        """Half of each pair's energy, (n,) in eV: every pair is the edge of both of its atoms."""
        beta = PairHead(self.config.hidden, name="pairs")(scalars, gather(scalars, edges.senders))
        weight = switch(distance, self.config.cutoff) * (edges.envelope > 0)
        return 0.5 * jnp.sum(weight * pair_potential(distance, beta), axis=1)


class EnergyOutputs(NamedTuple):
    """energy: eV. atoms: each one's share of it, zero in padding. logits: of the elements, if asked for."""

    energy: Float[Array, ""]
    atoms: Float[Array, " n"]
    logits: Float[Array, "n species"] | None


class Edges(NamedTuple):
    senders: Int[Array, "n d"]
    harmonics: Float[Array, "n d m"]
    radial: Float[Array, "n d r"]
    envelope: Float[Array, "n d"]


class Interaction(nn.Module):
    """Messages, their products on each atom, and what the atom was before; l of the result up to `top`."""

    config: EnergyConfig
    top: int

    @nn.compact
    def __call__(
        self, features: Float[Array, "n m c"], elements: Float[Array, "n z"], edges: Edges
    ) -> Float[Array, "n o c"]:
        config = self.config
        summed = Convolution(config.channels, config.lmax, config.radial_hidden, config.neighbours)(
            features, *edges
        )
        products = SphereProduct(config.correlation, self.top)(summed, elements)
        count = min(features.shape[1], (self.top + 1) ** 2)
        old = DegreeLinear(config.channels, name="old")(features[:, :count])
        keep = nn.Dense(config.channels, use_bias=False, name="keep")(elements)
        old = jnp.pad(old * (1 + keep[:, None]), ((0, 0), (0, (self.top + 1) ** 2 - count), (0, 0)))
        return DegreeLinear(config.channels, name="new")(products) + old


class SphereProduct(nn.Module):
    """Products of up to `order` of an atom's own features, per channel: (n, m, c) to (n, (top+1)², c).

    u (a + v (b + w)), where u, v and w are the function on the sphere with each l weighted by element and
    channel, and a and b such weights too.
    """

    order: int
    top: int

    @nn.compact
    def __call__(
        self, features: Float[Array, "n m c"], elements: Float[Array, "n z"]
    ) -> Float[Array, "n o c"]:
        lmax = math.isqrt(features.shape[1]) - 1
        grid, weights = sphere_grid(lmax, self.order * lmax + self.top)
        values = jnp.asarray(grid.T / (lmax + 1), features.dtype)
        back = jnp.asarray(grid[:, : (self.top + 1) ** 2] * weights[:, None], features.dtype)
        features = jnp.swapaxes(features, 1, 2)  # so that the grid is never transposed, nor in gradients

        def function(order: int) -> Array:
            return (features * self._weights(elements, features, f"u{order}")) @ values

        product = function(self.order - 1)
        for order in reversed(range(self.order - 1)):
            constant = self._table(elements, features.shape[1], 1, f"a{order}")
            product = function(order) * (constant + product)
        return jnp.swapaxes(product @ back, 1, 2)

    def _weights(self, elements: Array, features: Float[Array, "n c m"], name: str) -> Float[Array, "n c m"]:
        """A weight for each channel and l, by the atom's element, on all components of that l."""
        count = math.isqrt(features.shape[2])
        spread = np.repeat(np.eye(count), 2 * np.arange(count) + 1, axis=1)
        weights = self._table(elements, features.shape[1], count, name)
        return weights @ jnp.asarray(spread, features.dtype)

    def _table(self, elements: Array, channels: int, count: int, name: str) -> Float[Array, "n c l"]:
        table = self.param(name, _around_one, (elements.shape[-1], channels * count))
        return (elements @ table.astype(elements.dtype)).reshape(-1, channels, count)


class Readout(nn.Module):
    """Scalars to numbers by one hidden layer."""

    hidden: int
    outputs: int

    @nn.compact
    def __call__(self, scalars: Float[Array, "n c"]) -> Float[Array, "n o"]:
        return nn.Dense(self.outputs)(nn.silu(nn.Dense(self.hidden)(scalars)))


def _around_one(key: Array, shape: tuple[int, ...]) -> Array:
    return 1 + 0.5 * jax.random.normal(key, shape)


def _elements(config: EnergyConfig, graph: jraph.GraphsTuple, dtype: Any) -> Float[Array, "n z"]:
    """One-hot elements, and a last column for hidden ones; a padding node's row is zero."""
    numbers = graph.nodes["numbers"]
    known = numbers[:, None] == jnp.asarray(config.species, numbers.dtype)
    hidden = jnp.zeros(len(numbers), bool)
    if "masked" in graph.nodes:
        hidden = graph.nodes["masked"].astype(bool) & (numbers > 0)
    return jnp.concatenate([known & ~hidden[:, None], hidden[:, None]], axis=1).astype(dtype)


def _charge(graph: jraph.GraphsTuple, dtype: Any) -> Float[Array, "1 2"]:
    """Total charge as a pair (positive part, negative part), so that a neutral molecule feels none."""
    if graph.globals is None:
        return jnp.zeros((1, 2), dtype)
    charge = graph.globals["charge"][0].astype(dtype)
    return jnp.stack([jnp.maximum(charge, 0.0), jnp.maximum(-charge, 0.0)])[None]
