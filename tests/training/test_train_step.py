import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxphys.training import create_state, make_optimizer, make_train_step

KEY = jax.random.key(3)


def quadratic(params, batch, key):
    """Σ mask · (w − target)² / 2, whose gradient over the count is w − mean target."""
    del key
    square = batch["mask"] * (params - batch["target"]) ** 2 / 2
    return jnp.sum(square), jnp.sum(batch["mask"]), {}


def test_gradient_descent_on_a_quadratic_by_hand():
    batch = {"target": np.array([1.0, 3.0, 99.0]), "mask": np.array([1.0, 1.0, 0.0])}
    state, metrics = make_train_step(quadratic, optax.sgd(0.25))(
        create_state(jnp.array(0.0), optax.sgd(0.25), KEY), batch
    )
    # w = 0, mean target 2 over the two real rows: loss (1 + 9)/2/2, gradient −2, update +0.5.
    np.testing.assert_allclose(metrics["loss"], 2.5)
    np.testing.assert_allclose(metrics["gradient_norm"], 2.0)
    np.testing.assert_allclose(metrics["update_norm"], 0.5)
    np.testing.assert_allclose(state.params, 0.5)
    # First average: decay min(0.999, 1/10).
    np.testing.assert_allclose(state.ema, 0.1 * 0.0 + 0.9 * 0.5)
    assert (int(state.step), int(state.skipped), int(metrics["skipped"])) == (1, 0, 0)


def test_average_follows_its_recurrence_up_to_the_given_decay(params, loss_fn, batch_fn):
    optimizer = optax.adam(0.1)
    step = make_train_step(loss_fn, optimizer, ema_decay=0.3)
    state = create_state(params, optimizer, KEY)
    expected = np.asarray(params["w"])
    for t in range(6):
        state, _ = step(state, batch_fn(t))
        decay = min(0.3, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * np.asarray(state.params["w"])
    np.testing.assert_allclose(state.ema["w"], expected, rtol=1e-12)


def test_without_decay_the_average_equals_the_parameters(params, loss_fn, batch_fn, bits):
    optimizer = optax.adam(0.1)
    step = make_train_step(loss_fn, optimizer, ema_decay=None)
    state = create_state(params, optimizer, KEY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a buffer donated twice or in vain
        for t in range(3):
            state, _ = step(state, batch_fn(t))
    assert bits(state.ema) == bits(state.params)


def test_aux_is_reported_per_count(params, loss_fn, batch_fn):
    optimizer = optax.sgd(0.1)
    _, metrics = make_train_step(loss_fn, optimizer)(create_state(params, optimizer, KEY), batch_fn(0))
    batch = batch_fn(0)
    residual = np.abs(batch["x"] @ np.asarray(params["w"]) - batch["y"])
    np.testing.assert_allclose(metrics["error"], np.sum(residual * batch["mask"]) / np.sum(batch["mask"]))


def test_aux_must_not_take_a_name_of_the_step(params, batch_fn):
    step = make_train_step(lambda p, b, k: (jnp.sum(p["w"] ** 2), 1.0, {"loss": 0.0}), optax.sgd(0.1))
    with pytest.raises(ValueError, match="'loss'"):
        step(create_state(params, optax.sgd(0.1), KEY), batch_fn(0))


def test_learning_rate_is_reported_when_the_optimizer_holds_it(params, loss_fn, batch_fn):
    optimizer = make_optimizer(0.1, 10, warmup=0.0, final_fraction=1.0)
    _, metrics = make_train_step(loss_fn, optimizer)(create_state(params, optimizer, KEY), batch_fn(0))
    np.testing.assert_allclose(metrics["learning_rate"], 0.1, rtol=1e-6)
    _, metrics = make_train_step(loss_fn, optax.sgd(0.1))(
        create_state(params, optax.sgd(0.1), KEY), batch_fn(0)
    )
    assert "learning_rate" not in metrics


@pytest.mark.parametrize("cause", ["nan in the loss", "infinite gradient", "count 0", "gradient too large"])
def test_a_bad_update_changes_nothing_but_the_counters(cause, params, loss_fn, batch_fn, bits):
    def loss(params, batch, key):
        total, count, aux = loss_fn(params, batch, key)
        # At offset 0 a root of finite value and infinite slope.
        nothing = jnp.sum(params["w"] - jax.lax.stop_gradient(params["w"]))
        return total + jnp.sqrt(batch["offset"][0] + nothing), count, aux

    optimizer = make_optimizer(0.1, 10, clip=None)
    step = make_train_step(loss, optimizer, max_gradient_norm=1e3)
    good = {**batch_fn(0), "offset": np.ones(6)}
    bad = {
        "nan in the loss": {**good, "y": np.full(6, np.nan)},
        "infinite gradient": {**good, "offset": np.zeros(6)},
        "count 0": {**good, "mask": np.zeros(6)},
        "gradient too large": {**good, "y": 1e6 * good["y"]},
    }[cause]
    state, metrics = step(create_state(params, optimizer, KEY), good)
    assert int(metrics["skipped"]) == 0

    before = bits((state.params, state.opt_state, state.ema, state.key))
    state, metrics = step(state, bad)
    assert bits((state.params, state.opt_state, state.ema, state.key)) == before
    assert (int(metrics["skipped"]), int(state.step), int(state.skipped)) == (1, 2, 1)
    assert int(state.nonfinite_run) == (0 if cause == "gradient too large" else 1)

    state, _ = step(state, good)
    assert bits(state.params) != before
    assert (int(state.skipped), int(state.nonfinite_run)) == (1, 0)


def test_each_step_has_its_own_randomness_and_the_key_stays(params):
    step = make_train_step(
        lambda p, b, k: (jnp.sum(p["w"] ** 2), 1.0, {"draw": jax.random.normal(k)}), optax.sgd(0.1)
    )
    state = create_state(params, optax.sgd(0.1), KEY)
    draws = []
    for _ in range(3):
        state, metrics = step(state, {"x": np.zeros(1)})
        draws.append(float(metrics["draw"]))
    expected = [float(jax.random.normal(jax.random.fold_in(KEY, t))) for t in range(3)]
    assert draws == expected
    assert state.key == KEY


def test_the_step_compiles_once(params, loss_fn, batch_fn):
    traces = []

    def counted(params, batch, key):
        traces.append(None)
        return loss_fn(params, batch, key)

    optimizer = make_optimizer(0.1, 10, weight_decay=0.1)
    step = make_train_step(counted, optimizer)
    # A python number has a weak type, the usual reason for a second compilation.
    state = create_state({**params, "bias": 0.5}, optimizer, KEY)
    for t in range(10):
        state, _ = step(state, batch_fn(t))
    assert len(traces) == 1
    assert step._cache_size() == 1


def test_the_caller_keeps_its_parameters_and_key(params, loss_fn, batch_fn):
    key = jax.random.key(0)
    make_train_step(loss_fn, optax.sgd(0.1))(create_state(params, optax.sgd(0.1), key), batch_fn(0))
    assert not params["w"].is_deleted()
    assert not key.is_deleted()


def test_low_precision_parameters_keep_their_dtype(loss_fn, batch_fn):
    optimizer = make_optimizer(0.1, 10)
    state = create_state({"w": jnp.zeros(3, jnp.bfloat16)}, optimizer, KEY)
    dtypes = jax.tree.map(lambda leaf: leaf.dtype, state)
    state, _ = make_train_step(loss_fn, optimizer)(state, batch_fn(0))
    assert jax.tree.map(lambda leaf: leaf.dtype, state) == dtypes


@pytest.mark.parametrize("arguments", [{"ema_decay": 1.0}, {"ema_decay": -0.1}, {"max_gradient_norm": 0.0}])
def test_wrong_arguments_are_named_with_their_value(arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=f"{name}.*{value}"):
        make_train_step(quadratic, optax.sgd(0.1), **arguments)
