"""A network that makes molecules from noise: positions and elements at once, turning with the positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import jraph
from jaxtyping import Array, Bool, Float

from jaxphys.models.layers.bonded import pair_geometry
from jaxphys.models.layers.vector_messages import VectorMessages
from jaxphys.models.layers.waves import waves
from jaxphys.molecule import centred
from jaxphys.roles import TypedAtoms, TypedDenoiseFunction


@dataclass(frozen=True)
class GeneratorConfig:
    """Size of a `MoleculeGenerator`, and the constants that it does not learn.

    species: the atomic numbers that it can make, in the order of its types. channels: scalars and vectors on
    each atom. layers: rounds of messages. radial: Bessel functions; cutoff: theirs, in Å; beyond, Gaussians
    of the distance's logarithm remain. spread: of the clean positions about their mean, in Å, a component.
    type_scale: what stands in the place of a clean atom's element: the larger, the earlier on the way from
    noise elements are decided. Raises ValueError for what cannot be built.
    """

    species: tuple[int, ...]
    channels: int = 64
    layers: int = 4
    radial: int = 10
    cutoff: float = 5.0
    spread: float = 1.3
    type_scale: float = 0.3

    def __post_init__(self):
        if not self.species or len(set(self.species)) < len(self.species) or min(self.species) < 1:
            raise ValueError(f"species must be different atomic numbers, got {self.species}")
        for name in ("channels", "layers", "radial", "cutoff", "spread", "type_scale"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


def typed_graph(atoms: TypedAtoms, mask: Bool[Any, " n"]) -> jraph.GraphsTuple:
    """What a `MoleculeGenerator` sees: nodes positions, types and mask; all pairs are edges, none is listed.

    mask: (n,) True for real atoms.
    """
    count = jnp.sum(mask)
    none = jnp.zeros((0,), jnp.int32)
    return jraph.GraphsTuple(
        nodes={"positions": atoms.positions, "types": atoms.types, "mask": mask},
        edges=None,
        receivers=none,
        senders=none,
        globals=None,
        n_node=jnp.stack([count, len(mask) - count]),
        n_edge=jnp.zeros(2, jnp.int32),
    )


def typed_denoise_fn(model: nn.Module, params: Any, mask: Bool[Any, " n"]) -> TypedDenoiseFunction:
    """The denoiser of a molecule with these real atoms, mask (n,), as `diffusion.stochastic_typed` takes it.

    model: one as `MoleculeGenerator`. Its types are the scale times the probabilities of the elements.
    """
    scale = model.config.type_scale  # type: ignore[attr-defined]  # any module with such a config

    def denoise(atoms: TypedAtoms, sigma: Float[Any, ""] | float) -> TypedAtoms:
        estimates: Any = model.apply(params, typed_graph(atoms, mask), sigma)
        positions, logits = estimates
        types = jnp.where(mask[:, None], scale * jax.nn.softmax(logits), 0.0)
        return TypedAtoms(positions, types.astype(positions.dtype))

    return denoise


class MoleculeGenerator(nn.Module):
    """Estimates of the clean atoms from noisy ones: positions (n, 3) in Å, and logits of elements (n, k).

    graph: as `typed_graph` makes it, positions and types with noise of σ. sigma: () in Å, positive. Positions
    have their mean at zero, turn with the noisy ones, and are mirrored with them: of both hands the model
    knows no one. They are c_skip R + c_out F(R, T, σ), and the logits those of the noisy types alone, plus
    what is learned, so that both tend to what they are given at small σ. Padding gets zero.
    The cross-entropy of the logits and the squared error of the positions have their minima at the posterior
    means, as diffusion needs them.

    Source: preconditioning of Karras et al. 2022 (EDM), arXiv 2206.00364, Table 1, without their c_in;
    elements as in Dieleman et al. 2022 (CDCD), arXiv 2211.15089; task of Hoogeboom et al., ICML 2022 (EDM).
    """

    config: GeneratorConfig

    @nn.compact
    def __call__(
        self, graph: jraph.GraphsTuple, sigma: Float[Any, ""] | float
    ) -> tuple[Float[Array, "n 3"], Float[Array, "n k"]]:
        config, mask = self.config, graph.nodes["mask"]
        positions = centred(graph.nodes["positions"], mask)
        sigma = jnp.asarray(sigma, positions.dtype)
        pairs = mask[:, None] & mask & ~jnp.eye(len(mask), dtype=bool)
        units, features, reach = pair_geometry(positions, pairs, config.radial, config.cutoff)
        noise = self._noise(sigma, mask)
        scalars = self._atoms(graph.nodes["types"], sigma, noise)
        vectors = None
        for layer in range(config.layers):
            messages = VectorMessages(config.channels, name=f"layer{layer}")
            scalars, vectors = messages(scalars, vectors, noise, units, features, pairs, reach)
        move = nn.Dense(1, use_bias=False, name="move")(vectors)[..., 0]
        total = sigma**2 + config.spread**2
        clean = config.spread**2 / total * positions + sigma * config.spread / jnp.sqrt(total) * move
        return centred(clean, mask), self._logits(graph.nodes["types"], sigma, scalars, mask)

    def _noise(self, sigma: Float[Array, ""], mask: Bool[Array, " n"]) -> Float[Array, " c"]:
        """An embedding of the level of noise and of the number of atoms."""
        count = jnp.sum(mask).astype(sigma.dtype)
        known = jnp.concatenate([waves(sigma, sigma.dtype), waves(count, sigma.dtype)])
        return nn.silu(nn.Dense(self.config.channels, name="noise")(known))

    def _atoms(
        self, types: Float[Array, "n k"], sigma: Float[Array, ""], noise: Float[Array, " c"]
    ) -> Float[Array, "n c"]:
        scaled = types / jnp.sqrt(sigma**2 + (self.config.type_scale / 2) ** 2)
        scalars = nn.Dense(self.config.channels, use_bias=False, name="types")(scaled)
        return scalars + nn.Dense(self.config.channels, name="noise_of_atoms")(noise)

    def _logits(
        self,
        types: Float[Array, "n k"],
        sigma: Float[Array, ""],
        scalars: Float[Array, "n c"],
        mask: Bool[Array, " n"],
    ) -> Float[Array, "n k"]:
        """The likelihood of the noisy types, in closed form, times a learned prior."""
        hidden = nn.silu(nn.Dense(self.config.channels, name="hidden")(nn.RMSNorm(name="norm")(scalars)))
        learned = nn.Dense(len(self.config.species), name="elements")(hidden)
        likelihood = self.config.type_scale * types / (sigma**2 + _SHARPEST**2)
        return jnp.where(mask[:, None], learned + likelihood, 0.0)


_SHARPEST = 0.14  # σ below which noisy types count for no more: the logits stay within reach of the network
