"""The laws of `experiments.reliable_energy` as one loss an arm."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from experiments.reliable_data import Examples
from experiments.reliable_presets import Preset
from jaxphys import losses
from jaxphys.models import EnergyConfig, EnergyModel, energy_fn

LossFn = Callable[[Any, Examples, Any], tuple[Any, Any, dict[str, Any]]]


def model_energy(config: EnergyConfig, params: Any, graph: Any, positions: Any) -> Any:
    """The model's energy in eV, (), of one molecule with other positions."""
    return energy_fn(EnergyModel(config), params, graph)(positions)


def initial_params(config: EnergyConfig, examples: Examples, seed: int) -> Any:
    """Random parameters of the model."""
    graph = jax.tree.map(lambda leaf: leaf[0], examples.graph)
    model = EnergyModel(config)
    return jax.jit(lambda key: model.init(key, graph, method="outputs"))(jax.random.key(seed))


def arm_loss(config: EnergyConfig, preset: Preset, laws: tuple[str, ...]) -> LossFn:
    """The weighted sum of the laws over a batch, as `make_train_step` takes it; each law is reported too."""
    terms = {law: TERMS[law] for law in laws}

    def loss_fn(params: Any, batch: Examples, key: Any) -> tuple[Any, Any, dict[str, Any]]:
        def one(example: Examples, key: Any) -> dict[str, Any]:
            keys = jax.random.split(key, len(TERMS))
            return {
                law: term(config, preset, params, example, keys[place])
                for place, (law, term) in enumerate(terms.items())
            }

        count = len(batch.energy)
        values = jax.vmap(one)(batch, jax.random.split(key, count))
        sums = {law: jnp.sum(value) for law, value in values.items()}
        total = sum(getattr(preset.weights, law) * value for law, value in sums.items())
        return total, jnp.asarray(float(count)), sums

    return loss_fn


def _energy(config: EnergyConfig, preset: Preset, params: Any, example: Examples, key: Any) -> Any:
    energy = energy_fn(EnergyModel(config), params, example.graph)
    return losses.energy_matching(energy, example.positions, example.energy)


def _zero_force(config: EnergyConfig, preset: Preset, params: Any, example: Examples, key: Any) -> Any:
    energy = energy_fn(EnergyModel(config), params, example.graph)
    return losses.zero_force(energy, example.positions, mask=example.mask)


def _bound(config: EnergyConfig, preset: Preset, params: Any, example: Examples, key: Any) -> Any:
    energy = energy_fn(EnergyModel(config), params, example.graph)
    of_size, of_noise = jax.random.split(key)
    low, high = (math.log(sigma) for sigma in preset.noise)
    sigma = jnp.exp(jax.random.uniform(of_size, (), jnp.float32, low, high))
    noise = sigma * jax.random.normal(of_noise, example.positions.shape, example.positions.dtype)

    def above_parabola(positions: Any) -> Any:
        return energy(positions) - preset.stiffness * jnp.sum((positions - example.positions) ** 2)

    return losses.energy_bound(above_parabola, example.positions, noise, mask=example.mask)


def _masked_atoms(config: EnergyConfig, preset: Preset, params: Any, example: Examples, key: Any) -> Any:
    numbers = example.graph.nodes["numbers"]
    hidden = losses.hide_atoms(key, example.mask)
    graph = example.graph._replace(nodes={**example.graph.nodes, "masked": hidden})
    logits: Any = EnergyModel(config).apply(params, graph, method="species_logits")
    elements = jnp.argmax(numbers[:, None] == jnp.asarray(config.species), axis=1)
    return losses.masked_atoms(logits, elements, hidden)


def _displaced(config: EnergyConfig, preset: Preset, params: Any, example: Examples, key: Any) -> Any:
    """One of the displaced geometries, with its energy and forces: the control that has these labels."""
    assert example.displaced is not None
    chosen = jax.random.randint(key, (), 0, example.displaced.energy.shape[0])
    label = jax.tree.map(lambda leaf: leaf[chosen], example.displaced)
    energy = energy_fn(EnergyModel(config), params, example.graph)
    return losses.energy_and_force_matching(
        energy, label.positions, label.energy, label.forces, mask=example.mask
    )


TERMS: dict[str, Callable[..., Any]] = {
    "energy": _energy,
    "zero_force": _zero_force,
    "bound": _bound,
    "masked_atoms": _masked_atoms,
    "displaced": _displaced,
}
