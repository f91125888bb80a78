"""The training step: one jitted function from a state and a batch to the next state and its metrics."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Bool, PyTree

from jaxphys.training.parallel import replicate, replicated_sharding, shard_batch
from jaxphys.training.state import TrainState

# (params, batch, key) -> (loss_sum, count, aux): the loss summed over the batch, what to divide it by, and
# further scalars to be reported over the same count. Padding adds to neither sum nor count.
LossFn = Callable[..., tuple[Any, Any, dict[str, Any]]]
Metrics = dict[str, Any]
StepFn = Callable[..., tuple[TrainState, Metrics]]

_OWN_METRICS = ("loss", "gradient_norm", "update_norm", "skipped", "learning_rate")


def make_train_step(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    *,
    ema_decay: float | None = 0.999,
    max_gradient_norm: float | None = None,
    mesh: Mesh | None = None,
) -> StepFn:
    """A jitted `step(state, batch) -> (state, metrics)`; the state passed in is donated, so use it no more.

    loss_fn: `(params, batch, key) -> (loss_sum, count, aux)`, with scalars summed over the batch. The loss is
        loss_sum / count, divided once for the whole batch, however uneven its parts; so are the values of the
        dict `aux`. The key differs from step to step.
    ema_decay: weight of the old average in `state.ema`, less in the first steps; None: `ema` equals `params`.
    max_gradient_norm: a gradient whose global norm exceeds this is left out.
    mesh: from `data_mesh`; the state is held whole on each of its devices, and each leaf of the batch is
        split over them along its leading axis, as `shard_batch` does. None: all stays on one device.

    An update whose loss, gradient or step is not finite is left out: params, opt_state and ema stay as they
    are to the bit, and the counters in the state grow. A batch with count 0 is such a case.
    metrics: scalars on the device: loss, gradient_norm (before clipping), update_norm, skipped (0 or 1),
    learning_rate if the optimizer's state holds one, and those of aux.
    Raises ValueError for a decay outside [0, 1), a limit that is not positive, or an aux with a name above.
    """
    if ema_decay is not None and not 0 <= ema_decay < 1:
        raise ValueError(f"ema_decay must be in [0, 1), or None for no average, received {ema_decay}")
    if max_gradient_norm is not None and not max_gradient_norm > 0:
        raise ValueError(f"max_gradient_norm must be positive, or None, received {max_gradient_norm}")

    step = partial(_step, loss_fn, optimizer, ema_decay, max_gradient_norm)
    if mesh is None:
        return jax.jit(step, donate_argnums=0)
    whole = replicated_sharding(mesh)
    jitted = jax.jit(step, donate_argnums=0, out_shardings=whole)

    def step_on_mesh(state: TrainState, batch: PyTree) -> tuple[TrainState, Metrics]:
        # Placed by jit itself, the first state would cost a compilation of its own.
        if state.step.sharding != whole:
            state = replicate(state, mesh)
        return jitted(state, shard_batch(batch, mesh))

    return step_on_mesh


def _step(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    ema_decay: float | None,
    max_gradient_norm: float | None,
    state: TrainState,
    batch: PyTree,
) -> tuple[TrainState, Metrics]:
    key = jax.random.fold_in(state.key, state.step)
    (loss, aux), gradient = jax.value_and_grad(partial(_mean_loss, loss_fn), has_aux=True)(
        state.params, batch, key
    )
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    gradient_norm, update_norm = optax.tree.norm(gradient), optax.tree.norm(updates)

    finite = jnp.isfinite(loss) & jnp.isfinite(gradient_norm) & jnp.isfinite(update_norm)
    accept = finite if max_gradient_norm is None else finite & (gradient_norm <= max_gradient_norm)
    params = optax.apply_updates(state.params, updates)
    ema = _average(state.ema, params, state.step - state.skipped, ema_decay)
    proposal = dataclasses.replace(state, params=params, opt_state=opt_state, ema=ema)
    metrics = {
        "loss": loss,
        "gradient_norm": gradient_norm,
        "update_norm": update_norm,
        "skipped": jnp.where(accept, 0, 1).astype(jnp.int32),
        **_learning_rate(opt_state),
        **aux,
    }
    return _advance(state, proposal, finite, accept), metrics


def _mean_loss(loss_fn: LossFn, params: PyTree, batch: PyTree, key: Array) -> tuple[Array, Metrics]:
    """The loss and the aux scalars per count."""
    loss_sum, count, aux = loss_fn(params, batch, key)
    taken = [name for name in aux if name in _OWN_METRICS]
    if taken:
        raise ValueError(f"aux holds {taken[0]!r}, a metric of the training step itself; choose another name")
    return loss_sum / count, {name: value / count for name, value in aux.items()}


def _learning_rate(opt_state: PyTree) -> Metrics:
    """The learning rate, if `optax.inject_hyperparams` has put exactly one into the state."""
    found = optax.tree.get_all_with_path(
        opt_state,
        "learning_rate",
        filtering=lambda path, value: isinstance(value, jax.Array) and value.ndim == 0,
    )
    return {"learning_rate": found[0][1]} if len(found) == 1 else {}


def _average(ema: PyTree, params: PyTree, updates: Array, decay: float | None) -> PyTree:
    """The running average after `updates` earlier ones; at first it forgets faster, having seen little."""
    if decay is None:
        return params
    seen = updates.astype(float)
    keep = jnp.minimum(decay, (1 + seen) / (10 + seen))
    return jax.tree.map(lambda old, new: old + ((1 - keep) * (new - old)).astype(old.dtype), ema, params)


def _advance(
    state: TrainState, proposal: TrainState, finite: Bool[Array, ""], accept: Bool[Array, ""]
) -> TrainState:
    """The proposal if accepted, else the old state; the counters move on either way."""
    chosen = jax.tree.map(partial(jnp.where, accept), proposal, state)
    return dataclasses.replace(
        chosen,
        step=state.step + 1,
        key=state.key,
        skipped=state.skipped + jnp.where(accept, 0, 1).astype(jnp.int32),
        nonfinite_run=jnp.where(finite, 0, state.nonfinite_run + 1).astype(jnp.int32),
    )
