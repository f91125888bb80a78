"""The training runs of `experiments.hamiltonian`: one stage each, all from the same loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from experiments import stages
from experiments.hamiltonian_data import Examples
from experiments.stages import Stage
from jaxphys import losses
from jaxphys.models import HamiltonianConfig, HamiltonianModel, assemble

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
    **settings: Any,
) -> tuple[Any, float]:
    """Train on one law: `experiments.stages.run_stage` with the loss summed over its Fock matrices."""

    def loss_fn(params: Any, batch: Examples, key: Any) -> tuple[Any, Any, dict[str, Any]]:
        values = jax.vmap(lambda example: law(example, predict(config, params, example)))(batch)
        return jnp.sum(values), jnp.asarray(float(stage.batch)), {}

    return stages.run_stage(name, loss_fn, examples, params, stage, **settings)
