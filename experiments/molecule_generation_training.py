"""The loss of training of `experiments.molecule_generation`: each arm's of positions, and of elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm

from experiments.molecule_generation_data import Examples
from experiments.molecule_generation_presets import LOSSES, Preset
from jaxphys.diffusion import typed_noise
from jaxphys.models import GeneratorConfig, MoleculeGenerator, typed_graph
from jaxphys.roles import TypedAtoms

LossFn = Callable[[Any, Examples, Any], tuple[Any, Any, dict[str, Any]]]

_TAILS = 1e-3  # of the distribution of noise levels, cut off


def initial_params(config: GeneratorConfig, seed: int) -> Any:
    """Random parameters of the model."""
    atoms = TypedAtoms(jnp.zeros((2, 3)), jnp.zeros((2, len(config.species))))
    graph = typed_graph(atoms, jnp.ones(2, bool))
    return jax.jit(lambda key: MoleculeGenerator(config).init(key, graph, 1.0))(jax.random.key(seed))


def arm_loss(config: GeneratorConfig, preset: Preset, arm: str) -> LossFn:
    """The arm's loss of positions, and that of elements, over a batch, as `make_train_step` takes it."""
    model = MoleculeGenerator(config)

    def loss_fn(params: Any, batch: Examples, key: Any) -> tuple[Any, Any, dict[str, Any]]:
        count = len(batch.mask)
        of_levels, of_noise = jax.random.split(key)
        sigmas = _noise_levels(preset, count, of_levels)

        def one(example: Examples, sigma: Any, key: Any) -> tuple[Any, Any]:
            return _example(model, params, LOSSES[arm], example, sigma, key)

        positions, elements = jax.vmap(one)(batch, sigmas, jax.random.split(of_noise, count))
        sums = {"positions": jnp.sum(positions), "elements": jnp.sum(elements)}
        total = preset.weights.get(arm, 1.0) * sums["positions"] + preset.elements_weight * sums["elements"]
        return total, jnp.asarray(float(count)), sums

    return loss_fn


def _noise_levels(preset: Preset, count: int, key: Any) -> Any:
    """σ in Å, (count,): normal in the logarithm, one in each of as many equal shares of it."""
    middle, width = preset.noise
    shares = (jnp.arange(count) + jax.random.uniform(key, (count,))) / count
    sigmas = middle * jnp.exp(width * norm.ppf(jnp.clip(shares, _TAILS, 1 - _TAILS)))
    return jnp.clip(sigmas, preset.sampler.sigma_min, preset.sampler.sigma_max)


def _example(
    model: MoleculeGenerator,
    params: Any,
    position_loss: Callable[..., Any],
    example: Examples,
    sigma: Any,
    key: Any,
) -> tuple[Any, Any]:
    """Both losses of one molecule at one level; that of positions weighted to the network's output."""
    config, mask, clean = model.config, example.mask, example.positions
    kinds = jax.nn.one_hot(example.elements, len(config.species), dtype=clean.dtype)
    noise = typed_noise(key, (len(mask), len(config.species)), mask, dtype=clean.dtype)
    types = jnp.where(mask[:, None], config.type_scale * kinds, 0.0) + sigma * noise.types
    graph = typed_graph(TypedAtoms(clean + sigma * noise.positions, types), mask)
    estimates: Any = model.apply(params, graph, sigma)
    denoised, logits = estimates
    weight = (sigma**2 + config.spread**2) / (sigma * config.spread) ** 2
    surprise = -jnp.sum(kinds * jax.nn.log_softmax(logits), axis=-1)
    elements = jnp.sum(jnp.where(mask, surprise, 0.0)) / jnp.sum(mask)
    return weight * position_loss(denoised, clean, mask=mask), elements
