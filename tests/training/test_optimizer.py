import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxphys.training import make_optimizer


def rates(optimizer, steps):
    params = jnp.zeros(2)
    state = optimizer.init(params)
    result = []
    for _ in range(steps):
        _, state = optimizer.update(jnp.ones(2), state, params)
        result.append(float(optax.tree.get_all_with_path(state, "learning_rate")[0][1]))
    return np.array(result)


def test_the_rate_warms_up_to_its_peak_and_falls_as_a_cosine():
    measured = rates(make_optimizer(0.2, 100, warmup=0.1, final_fraction=0.05), 105)
    warm = 0.2 * (1 / 11 + (1 - 1 / 11) * np.arange(10) / 10)
    np.testing.assert_allclose(measured[:10], warm, rtol=1e-5)
    t = np.arange(91) / 90
    np.testing.assert_allclose(measured[10:101], 0.2 * (0.05 + 0.95 * (1 + np.cos(np.pi * t)) / 2), rtol=1e-4)
    np.testing.assert_allclose(measured[101:], 0.2 * 0.05, rtol=1e-4)


def test_a_run_of_one_step_uses_the_peak():
    np.testing.assert_allclose(rates(make_optimizer(0.2, 1), 1), 0.2, rtol=1e-6)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_the_update_is_that_of_adamw_on_the_clipped_gradient(weight_decay):
    params, gradient = jnp.array([1.0, -2.0]), jnp.array([30.0, 40.0])
    ours = make_optimizer(0.1, 10, warmup=0.0, final_fraction=1.0, clip=5.0, weight_decay=weight_decay)
    adamw = optax.adamw(0.1, weight_decay=weight_decay)
    state, reference = ours.init(params), adamw.init(params)
    for scale in (1.0, 0.5):  # norms 50 and 25, both clipped to (3, 4)
        update, state = ours.update(scale * gradient, state, params)
        expected, reference = adamw.update(jnp.array([3.0, 4.0]), reference, params)
        np.testing.assert_allclose(update, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("steps", 0),
        ("warmup", 1000.0),
        ("warmup", -0.1),
        ("clip", 0.0),
        ("weight_decay", -1.0),
        ("final_fraction", 1.5),
    ],
)
def test_wrong_arguments_are_named_with_their_value(name, value):
    with pytest.raises(ValueError, match=f"{name}.*received {value}"):
        make_optimizer(**{"learning_rate": 0.1, "steps": 10, name: value})
