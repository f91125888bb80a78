"""The training runs of `experiments.hamiltonian`: one stage each, all from the same loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from experiments.hamiltonian_data import Examples, take
from experiments.hamiltonian_presets import Stage
from jaxphys import losses
from jaxphys.models import HamiltonianConfig, HamiltonianModel, assemble
from jaxphys.training import Checkpoints, MetricsLog, create_state, make_optimizer, make_train_step, train

MILLI = 1e3  # the squared residual is summed in mEh², so that its gradients stay above Adam's epsilon

Law = Callable[[Any, Any], Any]  # (one example, its predicted Fock matrix) -> loss

LAWS: dict[str, Law] = {
    "labels": lambda example, fock: losses.fock_matching(example.system, fock, example.solution.fock),
    "residual": lambda example, fock: MILLI**2 * losses.self_consistency(example.system, fock),
    "variational": lambda example, fock: losses.variational_self_consistency(example.system, fock),
}


def predict(config: HamiltonianConfig, params: Any, example: Any) -> Any:
    """Fock matrix in Ha, (n, n), of one example: the model's, or its correction to the guess."""
    blocks: Any = HamiltonianModel(config).apply(params, example.graph)
    matrix = assemble(blocks, example.graph, example.layout).astype(jnp.float64)
    return example.guess + matrix if config.correction else matrix


def initial_params(config: HamiltonianConfig, examples: Examples, seed: int) -> Any:
    """Random parameters of the model."""
    graph = jax.tree.map(lambda leaf: leaf[0], examples.graph)
    return jax.jit(HamiltonianModel(config).init)(jax.random.key(seed), graph)


def run_stage(
    name: str,
    law: Law,
    examples: Examples,
    params: Any,
    stage: Stage,
    *,
    config: HamiltonianConfig,
    run_config: dict[str, Any],
    folder: Path,
    seed: int,
    ema_decay: float,
    checkpoint_every: int,
    mesh: Mesh | None = None,
) -> tuple[Any, float]:
    """Train on one law, from the folder's newest checkpoint if it has one.

    Returns the averaged parameters and the seconds spent in steps.
    """

    def loss_fn(params: Any, batch: Examples, key: Any) -> tuple[Any, Any, dict[str, Any]]:
        values = jax.vmap(lambda example: law(example, predict(config, params, example)))(batch)
        return jnp.sum(values), jnp.asarray(float(stage.batch)), {}

    optimizer = make_optimizer(stage.learning_rate, stage.steps, warmup=0.03, algorithm=stage.algorithm)
    step = make_train_step(
        loss_fn, optimizer, ema_decay=ema_decay, max_gradient_norm=stage.excessive, mesh=mesh
    )
    checkpoints = Checkpoints(
        folder / name,
        run_config | {"stage": name, **dataclasses.asdict(stage)},
        every=checkpoint_every,
        keep=2,
    )
    log = MetricsLog(folder / name / "metrics.jsonl")
    state = checkpoints.resume(create_state(params, optimizer, jax.random.key(seed)))
    state = train(
        state,
        step,
        partial(_batch, examples, stage.batch, seed),
        steps=stage.steps,
        checkpoints=checkpoints,
        log=log,
        description=f"{name:12s}",
    )
    lines = log.read()
    return state.ema, float(lines[-1]["seconds"]) if lines else 0.0


def _batch(examples: Examples, size: int, seed: int, step: int) -> Examples:
    """The step's examples: every epoch is a new permutation of all."""
    count = len(examples)
    per_epoch = max(count // size, 1)
    order = _permutation(seed, step // per_epoch, count)
    start = (step % per_epoch) * size
    return take(examples, np.resize(order, max(count, size))[start : start + size])


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)
