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
from jaxphys.energies import elastic_network
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
    """The bound with a margin, on Gaussian noise and on such as goes downhill."""
    energy = energy_fn(EnergyModel(config), params, example.graph)
    springs = elastic_network(example.positions, mask=example.mask, depth=preset.depth)

    def margin(positions: Any) -> Any:
        return preset.margin * springs(positions)

    of_kind, of_noise, of_heat, of_start = jax.random.split(key, 4)
    assert example.modes is not None
    found = losses.downhill_noise(
        lambda positions: energy(positions) - margin(positions),
        example.positions,
        example.modes,
        jax.random.normal(of_start, example.modes.shape[-1:]),
        kt=_log_uniform(of_heat, *preset.heat),
        steps=preset.downhill,
    )
    of_size, of_noise = jax.random.split(of_noise)
    gaussian = _log_uniform(of_size, *preset.noise) * jax.random.normal(of_noise, example.positions.shape)
    noise = jnp.where(jax.random.uniform(of_kind) < preset.searched, found, gaussian)
    return losses.energy_bound(energy, example.positions, noise, mask=example.mask, margin=margin)


def _log_uniform(key: Any, low: float, high: float) -> Any:
    return jnp.exp(jax.random.uniform(key, (), jnp.float32, math.log(low), math.log(high)))


def _published_bound(config: EnergyConfig, preset: Preset, params: Any, example: Examples, key: Any) -> Any:
    energy = energy_fn(EnergyModel(config), params, example.graph)
    noise = preset.published_noise * jax.random.normal(key, example.positions.shape)
    return losses.energy_bound(energy, example.positions, noise, mask=example.mask)


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
    "published_bound": _published_bound,
    "masked_atoms": _masked_atoms,
    "displaced": _displaced,
}
