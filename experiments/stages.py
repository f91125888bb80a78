"""What the experiments' training runs share: batches of stacked examples, and one stage of training."""

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

from jaxphys.training import Checkpoints, MetricsLog, create_state, make_optimizer, make_train_step, train
from jaxphys.training.loop import Callback


@dataclasses.dataclass(frozen=True)
class Stage:
    """One training run: number of steps, molecules a step, peak learning rate, optimizer.

    excessive: gradients of a larger norm come from a closing gap and are skipped. It must be well above the
    first ones, or nothing is ever learned: at 1e4 the residual of the quick preset stood still.
    """

    steps: int
    batch: int
    learning_rate: float
    excessive: float = 100.0
    algorithm: str = "muon"


def run_stage(
    name: str,
    loss_fn: Callable[..., tuple[Any, Any, dict[str, Any]]],
    examples: Any,
    params: Any,
    stage: Stage,
    *,
    run_config: dict[str, Any],
    folder: Path,
    seed: int,
    ema_decay: float,
    checkpoint_every: int,
    mesh: Mesh | None = None,
    warmup: float = 0.03,
    clip: float = 1.0,
    callback: Callback | None = None,
    callback_every: int = 1000,
) -> tuple[Any, float]:
    """Train on one loss, as `make_train_step` takes it, from the folder's newest checkpoint if it has one.

    examples: stacked, each epoch's in a new order; or a function that gives the batch of a step.
    warmup, clip: as for `make_optimizer`; callback, callback_every: as for `train`.
    Returns the averaged parameters and the seconds spent in steps.
    """
    optimizer = make_optimizer(
        stage.learning_rate, stage.steps, warmup=warmup, clip=clip, algorithm=stage.algorithm
    )
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
        examples if callable(examples) else partial(batch_of_step, examples, stage.batch, seed),
        steps=stage.steps,
        checkpoints=checkpoints,
        log=log,
        description=f"{name:12s}",
        callback=callback,
        callback_every=callback_every,
    )
    lines = log.read()
    return state.ema, float(lines[-1]["seconds"]) if lines else 0.0


def batch_of_step(examples: Any, size: int, seed: int, step: int) -> Any:
    """The step's examples: every epoch is a new permutation of all."""
    count = len(jax.tree.leaves(examples)[0])
    per_epoch = max(count // size, 1)
    order = _permutation(seed, step // per_epoch, count)
    start = (step % per_epoch) * size
    return take(examples, np.resize(order, max(count, size))[start : start + size])


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)


@jax.jit
def take(examples: Any, indices: Any) -> Any:
    """The examples with these indices."""
    return jax.tree.map(lambda leaf: leaf[indices], examples)


def map_batches(function: Any, examples: Any, batch: int) -> Any:
    """A function of stacked examples applied to a few at a time; the last batch repeats one."""
    count = len(jax.tree.leaves(examples)[0])
    parts = [
        function(take(examples, np.minimum(np.arange(start, start + batch), count - 1)))
        for start in range(0, count, batch)
    ]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:count], *parts)


def loss_curves(
    folder: Path, stages: list[str], *, key: str = "loss"
) -> dict[str, tuple[list[float], list[float]]]:
    """Steps and losses of each stage, from its log; key: of one law, as its loss is logged."""
    curves = {}
    for stage in stages:
        lines = [line for line in MetricsLog(folder / stage / "metrics.jsonl").read() if line.get(key)]
        curves[stage] = ([line["step"] for line in lines], [line[key] for line in lines])
    return curves
