"""Networks on the molecular graph with bonds: a denoiser of positions, and one with an energy beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import jraph
from jaxtyping import Array, Bool, Float

from jaxphys.models.elements import check_elements, reference_energies
from jaxphys.models.layers.bonded import bonded_pairs, pair_geometry, tetrahedra
from jaxphys.models.layers.vector_messages import VectorMessages
from jaxphys.models.layers.waves import waves
from jaxphys.molecule import centred
from jaxphys.roles import DenoiseFunction


@dataclass(frozen=True)
class DenoiserConfig:
    """Size of a `Denoiser` or a `MultiTask`, and the constants that it does not learn.

    species: the atomic numbers that it knows. reference: an energy for each of them in eV, by default zero.
    channels: scalars and vectors on each atom. layers: rounds of messages. radial: Bessel functions.
    cutoff: theirs, in Å; beyond, Gaussians of the distance's logarithm remain. spread: of the clean positions
    about their mean, in Å, a component: what σ is compared with. hidden: width of the energy's readout.
    scale, shift: of the learned energy of each atom, in eV. Raises ValueError for what cannot be built.
    """

    species: tuple[int, ...]
    reference: tuple[float, ...] = ()
    channels: int = 48
    layers: int = 4
    radial: int = 10
    cutoff: float = 5.0
    spread: float = 1.2
    hidden: int = 48
    scale: float = 1.0
    shift: float = 0.0

    def __post_init__(self):
        check_elements(self)
        for name in ("channels", "layers", "radial", "cutoff", "spread", "hidden"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


def denoise_fn(model: nn.Module, params: Any, graph: jraph.GraphsTuple) -> DenoiseFunction:
    """The denoiser of one molecule: positions (n_node or n, 3) and σ in Å to positions of that shape in Å.

    model: one with a method `structure(graph, sigma)`. Positions may leave the padding nodes out. Raises
    ValueError for a model that denoises nothing.
    """
    if not hasattr(model, "structure"):
        raise ValueError(f"{type(model).__name__} has no structure head; Denoiser and MultiTask have one")

    def denoise(positions: Float[Any, "n 3"], sigma: Float[Any, ""] | float) -> Float[Array, "n 3"]:
        padding = graph.nodes["positions"].shape[0] - positions.shape[0]
        padded = jnp.pad(positions, ((0, padding), (0, 0)))
        noisy = graph._replace(nodes={**graph.nodes, "positions": padded})
        value: Any = model.apply(params, noisy, sigma, method="structure")
        return value[: positions.shape[0]]

    return denoise


class Denoiser(nn.Module):
    """Estimate of the clean positions, (n_node, 3) in Å with their mean at zero, from noisy ones and σ in Å.

    graph: as `data.bond_graph` makes it, with the noisy positions R + σ ε. sigma: (), may be zero. The answer
    turns with the positions, and a mirror image of them is answered by the mirror image where the graph's
    tetrahedra are turned over too; padding gets zero. It is c_skip R + c_out F(R, σ), which tends to R at
    small σ. NaN for an element that the model does not know and for a graph that is not complete.

    Source: preconditioning of Karras et al. 2022 (EDM), arXiv 2206.00364, Table 1, without their c_in.
    """

    config: DenoiserConfig

    def setup(self):
        self.encoder = Encoder(self.config)
        self.structure_head = StructureHead(self.config.spread, name="structure")

    def structure(self, graph: jraph.GraphsTuple, sigma: Float[Any, ""] | float) -> Float[Array, "n 3"]:
        """The estimate of the clean positions in Å."""
        return self.structure_head(self.encoder(graph, sigma), sigma)

    def __call__(self, graph: jraph.GraphsTuple, sigma: Float[Any, ""] | float) -> Float[Array, "n 3"]:
        """The same."""
        return self.structure(graph, sigma)


class MultiTask(nn.Module):
    """A `Denoiser`, and the energy of the positions in eV, (), by a second head on the same encoder at σ = 0.

    Its parameters are three groups: encoder, structure and energy. The energy is that of the molecule whose
    bonds and orientations the graph names; it is NaN where the structure is.
    """

    config: DenoiserConfig

    def setup(self):
        self.encoder = Encoder(self.config)
        self.structure_head = StructureHead(self.config.spread, name="structure")
        self.energy_head = EnergyHead(self.config, name="energy")

    def structure(self, graph: jraph.GraphsTuple, sigma: Float[Any, ""] | float) -> Float[Array, "n 3"]:
        """The estimate of the clean positions, (n_node, 3) in Å."""
        return self.structure_head(self.encoder(graph, sigma), sigma)

    def energy(self, graph: jraph.GraphsTuple) -> Float[Array, ""]:
        """The energy of the positions as they are, in eV."""
        return self.energy_head(self.encoder(graph, 0.0), graph.nodes["numbers"])

    def __call__(
        self, graph: jraph.GraphsTuple, sigma: Float[Any, ""] | float
    ) -> tuple[Float[Array, "n 3"], Float[Array, ""]]:
        """Both, the structure first."""
        return self.structure(graph, sigma), self.energy(graph)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Encoded:
    """Features of the atoms, and their positions about the mean in Å; padding stands at zero."""

    scalars: Float[Array, "n c"]
    vectors: Float[Array, "n 3 c"]
    positions: Float[Array, "n 3"]
    real: Bool[Array, " n"]


class Encoder(nn.Module):
    """Scalars and vectors on each atom, from the graph and the noise level σ in Å."""

    config: DenoiserConfig

    @nn.compact
    def __call__(self, graph: jraph.GraphsTuple, sigma: Float[Any, ""] | float) -> Encoded:
        config, graph = self.config, jax.tree.map(jnp.asarray, graph)
        real = graph.nodes["numbers"] > 0
        positions = centred(graph.nodes["positions"], real)
        pairs = bonded_pairs(graph)
        units, radial, reach = pair_geometry(positions, pairs.mask, config.radial, config.cutoff)
        handedness, towards = tetrahedra(positions, graph.nodes["tetrahedron"])
        atoms = jnp.concatenate([_atoms(config, graph, positions.dtype), handedness[:, None]], axis=-1)
        noise = nn.silu(nn.Dense(config.channels, name="noise")(waves(sigma, positions.dtype)))
        scalars = nn.Dense(config.channels, use_bias=False, name="atoms")(atoms)
        scalars = scalars + nn.Dense(config.channels, name="noise_of_atoms")(noise)
        scalars = jnp.where(pairs.complete, scalars, jnp.nan)
        directions = jnp.concatenate([units, towards], axis=-1)
        features = jnp.concatenate([radial, pairs.kinds], axis=-1)
        known = noise, directions, features, pairs.mask, reach
        scalars, vectors = VectorMessages(config.channels, name="layer0")(scalars, None, *known)
        for layer in range(1, config.layers):
            scalars, vectors = VectorMessages(config.channels, name=f"layer{layer}")(scalars, vectors, *known)
        return Encoded(scalars, vectors, positions, real)


class StructureHead(nn.Module):
    """c_skip R + c_out F, F linear in the vectors; its mean over the real atoms removed."""

    spread: float

    @nn.compact
    def __call__(self, atoms: Encoded, sigma: Float[Any, ""] | float) -> Float[Array, "n 3"]:
        sigma = jnp.asarray(sigma, atoms.positions.dtype)
        total = sigma**2 + self.spread**2
        move = nn.Dense(1, use_bias=False, name="move")(atoms.vectors)[..., 0]
        clean = self.spread**2 / total * atoms.positions + sigma * self.spread / jnp.sqrt(total) * move
        return centred(clean, atoms.real)


class EnergyHead(nn.Module):
    """Sum over the real atoms of a readout of their scalars, and of their reference energies; eV."""

    config: DenoiserConfig

    @nn.compact
    def __call__(self, atoms: Encoded, numbers: Array) -> Float[Array, ""]:
        hidden = nn.silu(nn.Dense(self.config.hidden, name="hidden")(atoms.scalars))
        learned = nn.Dense(1, name="out")(hidden)[:, 0]
        energies = jnp.where(atoms.real, self.config.scale * learned + self.config.shift, 0.0)
        return jnp.sum(energies + reference_energies(self.config, numbers).astype(energies.dtype))


def _atoms(config: DenoiserConfig, graph: jraph.GraphsTuple, dtype: Any) -> Float[Array, "n f"]:
    """One-hot elements, NaN for one that the model does not know, and formal charges in units of e."""
    numbers = graph.nodes["numbers"]
    elements = (numbers[:, None] == jnp.asarray(config.species, numbers.dtype)).astype(dtype)
    unknown = (jnp.sum(elements, axis=1) == 0) & (numbers > 0)
    elements = jnp.where(unknown[:, None], jnp.nan, elements)
    return jnp.concatenate([elements, graph.nodes["formal_charge"][:, None].astype(dtype)], axis=-1)
