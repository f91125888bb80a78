"""The losses of `experiments.spins` over a batch of lattices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.spins_data import Lattices
from experiments.spins_presets import ARMS, Preset
from jaxphys import losses
from jaxphys.energies import ising_lattice
from jaxphys.models import SpinConfig, SpinModel

LossFn = Callable[[Any, Lattices, Any], tuple[Any, Any, dict[str, Any]]]


def model_logits(config: SpinConfig, params: Any, lattice: Lattices) -> Any:
    """The model's logits (rows, columns) of one lattice."""
    return SpinModel(config).apply(params, lattice.right, lattice.down, lattice.reference, method="lattice")


def model_config(arm: str, sizes: Mapping[str, Any]) -> SpinConfig:
    """The arm's model: in the corner's gauge it sees which spin that is."""
    return SpinConfig(**sizes, pinned=ARMS[arm].gauge == "corner")


def initial_params(config: SpinConfig, lattices: Lattices, seed: int) -> Any:
    """Random parameters of the model."""
    first = (jnp.asarray(part[0]) for part in (lattices.right, lattices.down, lattices.reference))
    init = jax.jit(lambda key, *arrays: SpinModel(config).init(key, *arrays, method="lattice"))
    return init(jax.random.key(seed), *first)


def arm_loss(config: SpinConfig, preset: Preset, arm: str) -> LossFn:
    """The arm's loss per spin, as `make_train_step` takes it."""
    law = LAWS[ARMS[arm].law]
    settings = Settings(preset.temperatures.get(arm, preset.temperature), preset.h0, preset.limit)

    def loss_fn(params: Any, batch: Lattices, key: Any) -> tuple[Any, Any, dict[str, Any]]:
        signs = jax.random.rademacher(key, batch.label.shape[:1], batch.label.dtype)
        neighbours = jax.tree.map(lambda part: jnp.roll(part, 1, axis=0), batch)

        def one(lattice: Lattices, neighbour: Lattices, sign: Any) -> Any:
            return law(settings, model_logits(config, params, lattice), lattice, neighbour, sign)

        values = jax.vmap(one)(batch, neighbours, signs)
        return jnp.sum(values), jnp.asarray(float(batch.label.size)), {}

    return loss_fn


class Settings(NamedTuple):
    """Of the energy losses: T and h₀, and the h₀ of the control, T growing alike."""

    temperature: float
    h0: float
    limit: float


def _cross_entropy(by: Settings, logits: Any, lattice: Lattices, neighbour: Lattices, sign: Any) -> Any:
    return jnp.sum(optax.sigmoid_binary_cross_entropy(logits, (1 + lattice.label) / 2))


def _margin(by: Settings, logits: Any, lattice: Lattices, neighbour: Lattices, sign: Any) -> Any:
    return jnp.sum(optax.hinge_loss(logits, lattice.label))


def _local(by: Settings, logits: Any, lattice: Lattices, neighbour: Lattices, sign: Any) -> Any:
    energy = ising_lattice(lattice.right, lattice.down)
    return losses.ising_energy(energy, logits, lattice.label, temperature=by.temperature, h0=by.h0)


def _true(by: Settings, logits: Any, lattice: Lattices, neighbour: Lattices, sign: Any) -> Any:
    energy = ising_lattice(lattice.right, lattice.down)
    return losses.ising_energy(energy, logits, temperature=by.temperature)


def _no_gauge(by: Settings, logits: Any, lattice: Lattices, neighbour: Lattices, sign: Any) -> Any:
    return _cross_entropy(by, logits, lattice._replace(label=sign * lattice.label), neighbour, sign)


def _label_limit(by: Settings, logits: Any, lattice: Lattices, neighbour: Lattices, sign: Any) -> Any:
    limit = Settings(by.temperature * by.limit, by.limit, by.limit)
    return _local(limit, logits, lattice, neighbour, sign)


def _shuffled(by: Settings, logits: Any, lattice: Lattices, neighbour: Lattices, sign: Any) -> Any:
    return _true(by, logits, neighbour, lattice, sign)


LAWS: dict[str, Callable[..., Any]] = {
    "cross-entropy": _cross_entropy,
    "margin": _margin,
    "local": _local,
    "true": _true,
    "no-gauge": _no_gauge,
    "label-limit": _label_limit,
    "shuffled": _shuffled,
}
"""(settings, logits, lattice, another lattice, random sign) → the loss of one lattice."""
