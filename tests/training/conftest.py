"""A linear regression with known answers: loss = mean over rows of mask · (x·w − y)², masked rows inert."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


def squared_error(params, batch, key):
    residual = batch["x"] @ params["w"] - batch["y"]
    # The random term tells whether a resumed run uses the same keys.
    noise = jax.random.normal(key, ()) * batch.get("noise", jnp.zeros(1))[0]
    square = batch["mask"] * (residual + noise) ** 2
    return jnp.sum(square), jnp.sum(batch["mask"]), {"error": jnp.sum(batch["mask"] * jnp.abs(residual))}


def make_batch(step, rows=6, noise=0.1):
    rng = np.random.default_rng([17, step])
    x = rng.normal(size=(rows, 3))
    return {
        "x": x,
        "y": x @ np.array([1.0, -2.0, 0.5]),
        "mask": (np.arange(rows) % 3 != 2).astype(float),
        "noise": np.full(rows, noise),
    }


@pytest.fixture
def loss_fn():
    return squared_error


@pytest.fixture
def batch_fn():
    return make_batch


@pytest.fixture
def params():
    return {"w": jnp.array([0.3, 0.1, -0.2])}


def leaves_as_bytes(tree):
    """Every leaf of a state to the bit, keys as their integers."""

    def raw(leaf):
        is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        array = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
        return array.dtype.str, array.shape, array.tobytes()

    return {jax.tree_util.keystr(path): raw(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


@pytest.fixture
def bits():
    return leaves_as_bytes
