"""Pre-training of `experiments.stability` on the wild type's structures, fine-tuning on mutants' labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.stability_presets import ARMS, Preset
from experiments.stability_reference import (
    CONTACTS,
    NATIVE,
    Labels,
    Reference,
    change_matrices,
    fraction_native,
    mutant_weights,
)
from experiments.stages import run_stage
from jaxphys import diffusion, losses, metrics, sampling
from jaxphys.models import Chain, ChainConfig, ChainDenoiser, chain_denoise_fn, chain_graph, chain_of
from jaxphys.training import Checkpoints, MetricsLog, create_state, make_optimizer, make_train_step, train

STRUCTURES = 20_000
"""Of the wild type to learn from, as often as their weights say."""


def wild_type_structures(reference: Reference, seed: int) -> jax.Array:
    """Structures (k, n, 3) in Å of the wild type's ensemble."""
    weights = jnp.asarray(mutant_weights(reference, np.zeros(len(CONTACTS))), float)
    # normed again in the precision in which they are looked at
    chosen = sampling.resample(jax.random.key(seed), weights / jnp.sum(weights), STRUCTURES)
    return jnp.asarray(reference.positions[np.asarray(chosen)], jnp.float32)


def wild_type_chain(reference: Reference) -> Chain:
    """What the model is told of the chain."""
    return chain_of(NATIVE, reference.positions, mutant_weights(reference, np.zeros(len(CONTACTS))))


def initial_params(config: ChainConfig, chain: Chain, seed: int) -> Any:
    """Random parameters of the model."""
    graph = chain_graph(jnp.asarray(NATIVE, jnp.float32), chain)
    return jax.jit(ChainDenoiser(config).init)(jax.random.key(seed), graph, jnp.float32(1.0))


def pretrain(
    preset: Preset,
    config: ChainConfig,
    chain: Chain,
    structures: jax.Array,
    *,
    run_config: Mapping[str, Any],
    folder: Path,
    seed: int,
) -> tuple[Any, float]:
    """Parameters that know the wild type's structures and nothing of mutants, and the seconds of steps."""

    def loss_fn(params: Any, batch: Any, key: Any) -> tuple[Any, Any, dict[str, Any]]:
        count = len(batch)
        values = score_losses(
            preset,
            config,
            chain,
            params,
            batch,
            key,
            changes=jnp.zeros((count, *chain.modes.shape), batch.dtype),
            most=jnp.full(count, preset.levels[0]),
        )
        return jnp.sum(values), jnp.asarray(float(count)), {}

    return run_stage(
        "pretraining",
        loss_fn,
        structures,
        initial_params(config, chain, seed),
        preset.pretraining,
        run_config=dict(run_config),
        folder=folder,
        seed=seed,
        ema_decay=preset.ema_decay,
        checkpoint_every=preset.checkpoint_every,
        warmup=0.1,
    )


class Tuning:
    """Fine-tuning of all arms by one compiled step: what tells them apart are numbers in the batch."""

    def __init__(
        self, preset: Preset, config: ChainConfig, chain: Chain, structures: jax.Array, labels: Labels
    ) -> None:
        self.preset, self.structures = preset, structures
        self.changes = jnp.asarray(change_matrices(labels.changes))
        self.folded = labels.folded
        stage = preset.tuning
        self.optimizer = make_optimizer(
            stage.learning_rate, stage.steps, warmup=0.1, algorithm=stage.algorithm
        )
        self.step = make_train_step(
            partial(tuning_loss, preset, config, chain),
            self.optimizer,
            ema_decay=preset.tuning_ema_decay,
            max_gradient_norm=stage.excessive,
        )

    def run(
        self, arm: str, params: Any, *, run_config: Mapping[str, Any], folder: Path, seed: int
    ) -> tuple[Any, float]:
        """The arm's averaged parameters, and the seconds of its steps."""
        stage = self.preset.tuning
        checkpoints = Checkpoints(
            folder / arm,
            dict(run_config) | {"stage": arm, **dataclasses.asdict(stage)},
            every=self.preset.checkpoint_every,
            keep=2,
        )
        log = MetricsLog(folder / arm / "metrics.jsonl")
        state = checkpoints.resume(create_state(params, self.optimizer, jax.random.key(seed)))
        state = train(
            state,
            self.step,
            partial(self.batch, arm, seed),
            steps=stage.steps,
            checkpoints=checkpoints,
            log=log,
            log_every=10,
            description=f"{arm:12s}",
        )
        lines = log.read()
        return state.ema, float(lines[-1]["seconds"]) if lines else 0.0

    def batch(self, arm: str, seed: int, step: int) -> dict[str, Any]:
        """Some mutants with the wild type first, some structures, and the weights of the arm's losses."""
        preset, what = self.preset, ARMS[arm]
        rng = np.random.default_rng([seed, 2, step])
        mutants = 1 + rng.choice(len(self.folded) - 1, preset.systems - 1, replace=False)
        chosen = np.concatenate([[0], mutants])
        return {
            "changes": self.changes[chosen],
            "folded": jnp.asarray(shown_labels(self.folded, what.labels, seed)[chosen], jnp.float32),
            "structures": self.structures[rng.integers(len(self.structures), size=preset.structures)],
            "weights": jnp.asarray([what.pairs, what.square, what.score], jnp.float32),
        }


def shown_labels(folded: np.ndarray, labels: str, seed: int) -> np.ndarray:
    """The mutants' own labels, or each another's; the wild type, first, keeps its own.

    Of many orders the one whose labels tell least of the own ones: by chance they would tell a little.
    """
    if labels == "own":
        return folded
    rng = np.random.default_rng([seed, 3])
    orders = [rng.permutation(len(folded) - 1) for _ in range(ORDERS)]
    own = folded[1:] - folded[1:].mean()
    return np.concatenate([folded[:1], folded[1:][min(orders, key=lambda order: abs(own @ own[order]))]])


ORDERS = 1000


def tuning_loss(
    preset: Preset, config: ChainConfig, chain: Chain, params: Any, batch: Any, key: Any
) -> tuple[Any, Any, dict[str, Any]]:
    """Weighted losses of labels, by rollouts, and of structures; as `make_train_step` takes it.

    At noise below that at which it is settled what is folded, the wild type's structures serve mutants too.
    """
    of_rollouts, of_structures = jax.random.split(key)
    sigmas = rollout_levels(preset)

    def system(changes: Any, folded: Any, own_key: Any) -> tuple[Any, Any]:
        denoise = chain_denoise_fn(ChainDenoiser(config), params, chain, changes)

        def foldedness(one: Any) -> Any:
            begun = start(chain, preset, one)
            structure = diffusion.rollout(denoise, begun, sigmas, gradient_steps=preset.rollout[2])
            return metrics.foldedness(fraction_native(structure))

        values = jax.vmap(foldedness)(jax.random.split(own_key, preset.replicas))
        return losses.ensemble_property(values, folded), (jnp.mean(values) - folded) ** 2

    keys = jax.random.split(of_rollouts, len(batch["folded"]))
    pairs, square = map(jnp.mean, jax.vmap(system)(batch["changes"], batch["folded"], keys))
    score, settled = _scores(preset, config, chain, params, batch, of_structures)
    total = jnp.dot(batch["weights"], jnp.stack([pairs, square, score + settled]))
    return total, jnp.asarray(1.0), {"pairs": pairs, "square": square, "score": score, "settled": settled}


def _scores(
    preset: Preset, config: ChainConfig, chain: Chain, params: Any, batch: Any, key: Any
) -> tuple[Any, Any]:
    """Score losses of the wild type, at all levels, and of mutants, at low ones; as one, to compile once."""
    structures = batch["structures"]
    mutants = min(len(structures), len(batch["changes"]))
    none = jnp.zeros((len(structures), *batch["changes"].shape[1:]), batch["changes"].dtype)
    values = score_losses(
        preset,
        config,
        chain,
        params,
        jnp.concatenate([structures, structures[:mutants]]),
        key,
        changes=jnp.concatenate([none, batch["changes"][:mutants]]),
        most=jnp.concatenate(
            [jnp.full(len(structures), preset.levels[0]), jnp.full(mutants, preset.settled)]
        ),
    )
    return jnp.mean(values[: len(structures)]), jnp.mean(values[len(structures) :])


def score_losses(
    preset: Preset,
    config: ChainConfig,
    chain: Chain,
    params: Any,
    structures: Any,
    key: Any,
    *,
    changes: Any,
    most: Any,
) -> Any:
    """Of structures, (b,), each at a random level up to its own of `most`, in units of what noise hides.

    changes: (b, n, n), as if each structure were that of a mutant; zero for the wild type.
    """
    least = preset.levels[1]

    def one(positions: Any, change: Any, limit: Any, own_key: Any) -> Any:
        of_level, of_noise = jax.random.split(own_key)
        denoise = chain_denoise_fn(ChainDenoiser(config), params, chain, change)
        sigma = least * (limit / least) ** jax.random.uniform(of_level, (), positions.dtype)
        noise = diffusion.centred_noise(of_noise, positions.shape, dtype=positions.dtype)
        weight = (sigma**2 + chain.spread**2) / (sigma * chain.spread) ** 2
        return weight * losses.denoising_score(denoise, positions, noise, sigma)

    limits = jnp.asarray(most, structures.dtype)
    return jax.vmap(one)(structures, changes, limits, jax.random.split(key, len(structures)))


def start(chain: Chain, preset: Preset, key: Any) -> Any:
    """Where samples begin: noise of the greatest level, and what of the structures is still seen in it.

    Along the slowest modes that is much: a chain is as wide as the noise.
    """
    noise = diffusion.centred_noise(key, NATIVE.shape, dtype=jnp.float32)
    widths = jnp.sqrt(preset.levels[0] ** 2 + jnp.asarray(chain.variances, jnp.float32))
    return chain.modes @ (widths[:, None] * (chain.modes.T @ noise))


def rollout_levels(preset: Preset) -> jax.Array:
    """σ in Å of the rollouts' steps."""
    count, least, _ = preset.rollout
    return diffusion.levels(diffusion.VarianceExploding(least, preset.levels[0]), count, rho=RHO)


def sampling_levels(preset: Preset) -> jax.Array:
    """σ in Å of the steps of the evaluation."""
    most, least = preset.levels
    return diffusion.levels(diffusion.VarianceExploding(least, most), preset.steps, rho=RHO)


RHO = 5.0
"""How levels are spaced: most of them between 1 and 10 Å, where it is decided what folds."""
