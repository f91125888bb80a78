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

    Labels of energy are taken of every second example, two geometries of each. The laws of consistency share
    the other half of the batch, at noise of their own ranges: they cost little more than what they are for.
    """
    labelled = next(law for law in laws if law in ("energy", "low_energy", "forces"))
    physical = tuple(law for law in laws if law in CONSISTENCY)

    def loss_fn(params: Any, batch: Examples, key: Any) -> tuple[Any, Any, dict[str, Any]]:
        model = MultiTask(config)
        count = len(batch.mask)
        shares = _shares(count, physical)
        of_structure, of_energy, of_law = jax.random.split(key, 3)
        sigmas = _noise_levels(preset, shares, count, of_structure)

        def structure(example: Examples, sigma: Any, key: Any) -> tuple[Any, Any, Any]:
            return _structure(model, params, example, sigma, key)

        def energy(example: Examples, key: Any) -> Any:
            return _energy(model, params, preset, labelled, example, key)

        losses_, denoised, noisy = jax.vmap(structure)(batch, sigmas, jax.random.split(of_structure, count))
        half = jax.tree.map(lambda leaf: leaf[count // 2 :], batch)
        labels = jax.vmap(energy)(half, jax.random.split(of_energy, len(half.mask)))
        means = {"structure": jnp.mean(losses_), labelled: jnp.mean(labels)}
        for law, share in shares.items():
            of_law, own_key = jax.random.split(of_law)

            def consistency(example: Examples, *arguments: Any, law: str = law) -> Any:
                return LAWS[law](preset, energy_fn(model, params, example.graph), example, *arguments)

            own = jax.tree.map(lambda leaf, part=share: leaf[part], (batch, denoised, noisy, sigmas))
            means[law] = jnp.mean(jax.vmap(consistency)(*own, jax.random.split(own_key, len(own[-1]))))
        # the weights of a label's parts stand in its own term
        total = means[labelled] + sum(
            getattr(preset.weights, law) * value for law, value in means.items() if law != labelled
        )
        return count * total, jnp.asarray(float(count)), {law: count * value for law, value in means.items()}

    return loss_fn


def _shares(count: int, physical: tuple[str, ...]) -> dict[str, slice]:
    """Which examples of a batch each law has: together the first half, at least one each."""
    if len(physical) > count:
        raise ValueError(f"{len(physical)} laws need a batch of at least as many examples, got {count}")
    size = max(count // 2 // max(len(physical), 1), 1)
    return {law: slice(place * size, (place + 1) * size) for place, law in enumerate(physical)}


def _noise_levels(preset: Preset, shares: dict[str, slice], count: int, key: Any) -> Any:
    """σ in Å, (count,), even in the logarithm: a law's range, else six in ten where torsions are decided."""
    of_range, of_value = jax.random.split(key)
    ends = jnp.log(jnp.array([preset.noise, preset.torsion_noise]))
    ranges = ends[jax.random.bernoulli(of_range, 0.6, (count,)).astype(int)]
    for law, share in shares.items():
        ranges = ranges.at[share].set(jnp.log(jnp.array(getattr(preset, f"{law}_noise"))))
    return jnp.exp(ranges[:, 0] + jax.random.uniform(of_value, (count,)) * (ranges[:, 1] - ranges[:, 0]))


def _structure(
    model: MultiTask, params: Any, example: Examples, sigma: Any, key: Any
) -> tuple[Any, Any, Any]:
    """The denoising loss of one noisy structure, weighted to the network's output; D, and the noisy one."""
    clean = example.graph.nodes["positions"]
    noisy = clean + sigma * centred_noise(key, clean.shape, example.mask, dtype=clean.dtype)
    denoised = denoise_fn(model, params, example.graph)(noisy, sigma)
    spread = model.config.spread
    weight = (sigma**2 + spread**2) / (sigma * spread) ** 2
    return weight * losses.denoising_deviation(denoised, clean, mask=example.mask), denoised, noisy


def _optimality(
    preset: Preset, energy: Any, example: Examples, denoised: Any, noisy: Any, sigma: Any, key: Any
) -> Any:
    """Perturbed at random, and downhill: of random perturbations few lower the energy, and none by much."""
    of_kind, of_size, of_noise = jax.random.split(key, 3)
    size = jax.random.uniform(of_size)
    random = preset.perturbation * size * jax.random.normal(of_noise, denoised.shape, denoised.dtype)
    forces = -jax.grad(losses.fixed_energy(energy))(denoised)
    furthest = jnp.sqrt(jnp.max(jnp.sum(forces**2, axis=-1)) + 1e-12)
    step = jnp.minimum(preset.downhill, preset.perturbation / furthest)
    noise = jnp.where(jax.random.bernoulli(of_kind, preset.searched), size * step * forces, random)
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
        predicted, forces = jax.vmap(energy)(positions), jnp.zeros(())
    difference = losses.energy_deviation(predicted[0] - predicted[1], labels[0] - labels[1])
    offset = jnp.mean(jax.vmap(losses.energy_deviation)(predicted, labels))
    return weights.energy * (difference + weights.offset * offset) + forces
