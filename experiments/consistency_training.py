"""The laws of `experiments.consistency` as one loss an arm.

All take the denoised structure D(R + σ ε) from one pass of the network. The energy that consistency refers to
is that of the model in training, held fixed: consistency moves the structure, and the encoder as far as it
makes the structure, never the energy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from experiments.consistency_data import Examples
from experiments.consistency_presets import Preset
from jaxphys import losses
from jaxphys.diffusion import centred_noise
from jaxphys.models import DenoiserConfig, MultiTask, denoise_fn, energy_fn

LossFn = Callable[[Any, Examples, Any], tuple[Any, Any, dict[str, Any]]]

CONSISTENCY = ("optimality", "score", "proximal")


def initial_params(config: DenoiserConfig, examples: Examples, seed: int) -> Any:
    """Random parameters of the model."""
    graph = jax.tree.map(lambda leaf: leaf[0], examples.graph)
    return jax.jit(lambda key: MultiTask(config).init(key, graph, 1.0))(jax.random.key(seed))


def arm_loss(config: DenoiserConfig, preset: Preset, laws: tuple[str, ...]) -> LossFn:
    """The weighted sum of the laws over a batch, as `make_train_step` takes it; each law is reported too.

    Labels of energy are taken of every second example, two geometries of each.
    """
    labelled = next(law for law in laws if law in ("energy", "low_energy", "forces"))
    physical = tuple(law for law in laws if law in CONSISTENCY)

    def loss_fn(params: Any, batch: Examples, key: Any) -> tuple[Any, Any, dict[str, Any]]:
        model = MultiTask(config)
        count = len(batch.mask)
        of_structure, of_energy = jax.random.split(key)

        def structure(example: Examples, key: Any) -> dict[str, Any]:
            return _structure(model, params, preset, physical, example, key)

        def energy(example: Examples, key: Any) -> Any:
            return _energy(model, params, preset, labelled, example, key)

        half = jax.tree.map(lambda leaf: leaf[: (count + 1) // 2], batch)
        sums = {
            law: jnp.sum(value)
            for law, value in jax.vmap(structure)(batch, jax.random.split(of_structure, count)).items()
        }
        labels = jax.vmap(energy)(half, jax.random.split(of_energy, len(half.mask)))
        sums[labelled] = jnp.mean(labels) * count
        # the weights of a label's parts stand in its own term
        total = sums[labelled] + sum(
            getattr(preset.weights, law) * value for law, value in sums.items() if law != labelled
        )
        return total, jnp.asarray(float(count)), sums

    return loss_fn


def _structure(
    model: MultiTask, params: Any, preset: Preset, physical: tuple[str, ...], example: Examples, key: Any
) -> dict[str, Any]:
    """The denoising loss of one noisy structure, and what the energy model says of it."""
    of_level, of_noise, of_law = jax.random.split(key, 3)
    sigma = _noise_level(preset, of_level)
    clean = example.graph.nodes["positions"]
    noisy = clean + sigma * centred_noise(of_noise, clean.shape, example.mask, dtype=clean.dtype)
    denoised = denoise_fn(model, params, example.graph)(noisy, sigma)
    spread = model.config.spread
    weight = (sigma**2 + spread**2) / (sigma * spread) ** 2  # to the scale of the network's output
    terms = {"structure": weight * losses.denoising_deviation(denoised, clean, mask=example.mask)}
    energy = energy_fn(model, params, example.graph)
    for law in physical:
        low, high = getattr(preset, f"{law}_noise")
        holds = (sigma > low) & (sigma < high)
        # elsewhere the law sees a structure that no energy model fails at: 0 · NaN would be NaN
        at = (jnp.where(holds, structure, clean) for structure in (denoised, noisy))
        terms[law] = jnp.where(holds, LAWS[law](preset, energy, example, *at, sigma, of_law), 0.0)
    return terms


def _noise_level(preset: Preset, key: Any) -> Any:
    """σ in Å: evenly in the logarithm, six in ten of them where torsions are decided."""
    of_range, of_value = jax.random.split(key)
    ends = jnp.log(jnp.array([preset.noise, preset.half_noise]))
    low, high = ends[jax.random.bernoulli(of_range, 0.6).astype(int)]
    return jnp.exp(jax.random.uniform(of_value, minval=low, maxval=high))


def _optimality(
    preset: Preset, energy: Any, example: Examples, denoised: Any, noisy: Any, sigma: Any, key: Any
) -> Any:
    of_size, of_noise = jax.random.split(key)
    size = preset.perturbation * jax.random.uniform(of_size)
    noise = size * jax.random.normal(of_noise, denoised.shape, denoised.dtype)
    return losses.optimality_consistency(energy, denoised, noise, mask=example.mask)


def _score(
    preset: Preset, energy: Any, example: Examples, denoised: Any, noisy: Any, sigma: Any, key: Any
) -> Any:
    """Weighted by σ², as scores of different levels are."""
    gradient = jax.grad(losses.fixed_energy(energy))(noisy)
    return sigma**2 * losses.score_deviation(
        denoised, noisy, gradient, sigma, kt=preset.score_kt, mask=example.mask
    )


def _proximal(
    preset: Preset, energy: Any, example: Examples, denoised: Any, noisy: Any, sigma: Any, key: Any
) -> Any:
    """An atom, weighted so that the stiffest bonds pull no harder at high noise than at low."""
    kt = preset.proximal_kt
    value = losses.proximal_consistency(energy, denoised, noisy, sigma, kt=kt, mask=example.mask)
    return value / jnp.sum(example.mask) / (1 + sigma**2 * preset.stiffest / kt)


LAWS: dict[str, Callable[..., Any]] = {
    "optimality": _optimality,
    "score": _score,
    "proximal": _proximal,
}


def _energy(model: MultiTask, params: Any, preset: Preset, law: str, example: Examples, key: Any) -> Any:
    """Two geometries of one molecule: their difference, which errors of its composition do not touch, and
    the energies themselves."""
    chosen = jax.random.choice(key, example.displaced.shape[0], (2,), replace=False)
    energy = energy_fn(model, params, example.graph)
    positions = example.displaced[chosen]
    labels = (example.low_energy if law == "low_energy" else example.energy)[chosen]
    weights = preset.weights
    if law == "forces":
        predicted, gradients = jax.vmap(jax.value_and_grad(energy))(positions)
        deviation = jax.vmap(lambda g, f: losses.force_deviation(-g, f, mask=example.mask))
        forces = weights.forces * jnp.mean(deviation(gradients, example.forces[chosen]))
    else:
        predicted, forces = jax.vmap(energy)(positions), 0.0
    difference = losses.energy_deviation(predicted[0] - predicted[1], labels[0] - labels[1])
    offset = jnp.mean(jax.vmap(losses.energy_deviation)(predicted, labels))
    return weights.energy * (difference + weights.offset * offset) + forces
