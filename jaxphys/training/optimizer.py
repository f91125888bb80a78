"""The optimizers of the experiments: clipped Adam or Muon with warm-up and cosine decay."""

import math

import optax

ADAM_BESIDE_MUON = 1 / 3
"""Learning rate of the parameters that Muon leaves to Adam, over Muon's."""


def make_optimizer(
    learning_rate: float,
    steps: int,
    *,
    warmup: float = 0.05,
    clip: float | None = 1.0,
    weight_decay: float = 0.0,
    final_fraction: float = 0.01,
    algorithm: str = "adam",
) -> optax.GradientTransformation:
    """Adam or Muon with global-norm clipping, decoupled weight decay, linear warm-up and cosine decay.

    learning_rate: the peak, reached after `warmup`.
    steps: length of the run; the rate stays at its final value afterwards.
    warmup: part of `steps` in which the rate grows linearly from near zero, in [0, 1).
    clip: largest global norm of a gradient that passes unscaled; None for no clipping.
    weight_decay: AdamW's coefficient, applied to every parameter.
    final_fraction: the last rate over `learning_rate`, in [0, 1].
    algorithm: "adam"; or "muon", which orthogonalises the updates of weight matrices (Jordan et al. 2024) and
        leaves every other parameter to Adam, at a third of the rate.

    The rate in use stands in the optimizer's state, so that the training step can report it.
    Raises ValueError for an argument out of range.
    """
    _check(learning_rate, steps, warmup, clip, weight_decay, final_fraction)
    warmup_steps = min(math.ceil(warmup * steps), steps - 1)
    schedule = optax.warmup_cosine_decay_schedule(
        # Not zero, or the first step would change nothing.
        init_value=learning_rate / (warmup_steps + 1),
        peak_value=learning_rate,
        warmup_steps=warmup_steps,
        decay_steps=steps,
        end_value=learning_rate * final_fraction,
    )
    methods = {
        "adam": lambda learning_rate: optax.adamw(learning_rate, weight_decay=weight_decay),
        "muon": lambda learning_rate: optax.contrib.muon(
            learning_rate,
            weight_decay=weight_decay,
            adam_weight_decay=weight_decay,
            adam_learning_rate=ADAM_BESIDE_MUON * learning_rate,
        ),
    }
    if algorithm not in methods:
        raise ValueError(f"algorithm must be 'adam' or 'muon', received {algorithm!r}")
    return optax.chain(
        optax.identity() if clip is None else optax.clip_by_global_norm(clip),
        optax.inject_hyperparams(methods[algorithm])(learning_rate=schedule),
    )


def _check(
    learning_rate: float,
    steps: int,
    warmup: float,
    clip: float | None,
    weight_decay: float,
    final_fraction: float,
) -> None:
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ValueError(f"learning_rate must be positive and finite, received {learning_rate}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, received {steps}")
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup is a fraction of the steps, at least 0 and below 1, received {warmup}")
    if clip is not None and not clip > 0:
        raise ValueError(f"clip must be positive, or None for no clipping, received {clip}")
    if not (math.isfinite(weight_decay) and weight_decay >= 0):
        raise ValueError(f"weight_decay must be finite and not negative, received {weight_decay}")
    if not 0 <= final_fraction <= 1:
        raise ValueError(f"final_fraction must be in [0, 1], received {final_fraction}")
