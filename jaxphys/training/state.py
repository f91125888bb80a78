"""The state of a training run: everything that the next step depends on, in one pytree."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key, PyTree

# The fields hold arrays, and shapes or shardings in abstract copies of the state.
Leaf = Any


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["params", "opt_state", "ema", "step", "key", "skipped", "nonfinite_run"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Parameters, optimizer and counters of a run.

    params: the model's parameters, any pytree of floating-point arrays.
    opt_state: the optax optimizer's state.
    ema: running average of `params`, of the same structure; use it for evaluation and prediction.
    step: int32 (), number of steps taken, skipped ones included; the next batch is `batch_fn(step)`.
    key: typed PRNG key (); never changes, a step's randomness is `fold_in(key, step)`.
    skipped: int32 (), number of steps whose update was left out.
    nonfinite_run: int32 (), number of steps without a finite update since the last finite one.
    """

    params: PyTree
    opt_state: PyTree
    ema: PyTree
    step: Leaf
    key: Leaf
    skipped: Leaf
    nonfinite_run: Leaf


def create_state(params: PyTree, optimizer: optax.GradientTransformation, key: Key[Array, ""]) -> TrainState:
    """The state before the first step; it shares no memory with its arguments.

    `key` is a typed key of shape (), as `jax.random.key(seed)` makes it.
    """
    params = _copy(params)
    return TrainState(
        params=params,
        opt_state=_copy(optimizer.init(params)),
        ema=_copy(params),
        step=jnp.zeros((), jnp.int32),
        key=_copy(key),
        skipped=jnp.zeros((), jnp.int32),
        nonfinite_run=jnp.zeros((), jnp.int32),
    )


def _copy(tree: PyTree) -> PyTree:
    # The step donates the state: an array shared with the caller, or held twice, would be deleted.
    # The explicit dtype drops weak types, which would make the second step compile anew.
    return jax.tree.map(lambda leaf: jnp.array(leaf, dtype=jnp.result_type(leaf), copy=True), tree)
