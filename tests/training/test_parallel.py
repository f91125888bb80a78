import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxphys.training import create_state, data_mesh, make_optimizer, make_train_step, replicate, shard_batch

TWO_DEVICES = """
import sys
import jax
import numpy as np

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_enable_x64", True)
sys.path.insert(0, {folder!r})
from conftest import leaves_as_bytes, make_batch, squared_error
from jaxphys.training import (
    Checkpoints, create_state, data_mesh, load_params, make_optimizer, make_train_step, replicate, shard_batch
)

compilations = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, *_, **__: compilations.append(event) if event.endswith("backend_compile_duration") else None
)

def batch_fn(step):
    # Rows 0-3 go to the first device with one real row, rows 4-7 to the second with four.
    return {{**make_batch(step, rows=8), "mask": np.array([0., 1., 0., 0., 1., 1., 1., 1.])}}

def run(mesh, place, steps=5):
    optimizer = make_optimizer(0.05, 20, clip=1.0)
    step = make_train_step(squared_error, optimizer, mesh=mesh)
    state = create_state({{"w": np.array([0.3, 0.1, -0.2])}}, optimizer, jax.random.key(0))
    if mesh is not None and place:
        state = replicate(state, mesh)
    for t in range(steps):
        batch = shard_batch(batch_fn(t), mesh) if place and mesh is not None else batch_fn(t)
        before = len(compilations)
        state, metrics = step(state, batch)
        assert t == 0 or len(compilations) == before, "compiled again in step " + str(t)
    return state, metrics

mesh = data_mesh()
assert mesh.devices.size == 2
split = shard_batch(batch_fn(0), mesh)["x"]
assert [shard.data.shape for shard in split.addressable_shards] == [(4, 3), (4, 3)]
try:
    shard_batch({{"x": np.zeros((2, 4)), "y": np.zeros((3, 4))}}, mesh)
except ValueError as error:
    assert "batch['y'] of shape (3, 4): its leading axis of 3 does not divide by the 2 devices" in str(error)
else:
    raise AssertionError("an uneven batch passed")
one, one_metrics = run(None, place=False)
assert compilations
for place in (True, False):
    two, two_metrics = run(mesh, place)
    assert two.params["w"].sharding.is_fully_replicated and len(two.params["w"].sharding.device_set) == 2
    for name, value in one_metrics.items():
        np.testing.assert_allclose(two_metrics[name], value, rtol=1e-12, atol=1e-12)
    pairs = zip(*(jax.tree.leaves((state.params, state.opt_state, state.ema)) for state in (one, two)))
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)

# A state saved from two devices comes back on one, on two, or unplaced and ready for either.
checkpoints = Checkpoints({directory!r}, {{}})
checkpoints.save(two)
optimizer = make_optimizer(0.05, 20, clip=1.0)
fresh = create_state({{"w": np.zeros(3)}}, optimizer, jax.random.key(1))
for template in (fresh, replicate(fresh, mesh)):
    restored = checkpoints.restore(template)
    assert leaves_as_bytes(restored) == leaves_as_bytes(two)
    assert restored.params["w"].sharding == template.params["w"].sharding
    make_train_step(squared_error, optimizer, mesh=mesh)(restored, batch_fn(5))
assert leaves_as_bytes(load_params({directory!r})[0]) == leaves_as_bytes(two.ema)
"""


def test_two_devices_compute_what_one_does(tmp_path):
    script = TWO_DEVICES.format(folder=str(Path(__file__).parent), directory=str(tmp_path / "run"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_one_device_is_a_mesh_like_any(params, loss_fn, batch_fn, bits):
    optimizer = make_optimizer(0.05, 20)
    mesh = data_mesh(jax.devices()[:1])
    alone = create_state(params, optimizer, jax.random.key(0))
    meshed = replicate(create_state(params, optimizer, jax.random.key(0)), mesh)
    for t in range(3):
        alone, _ = make_train_step(loss_fn, optimizer)(alone, batch_fn(t))
        meshed, _ = make_train_step(loss_fn, optimizer, mesh=mesh)(meshed, shard_batch(batch_fn(t), mesh))
    for a, b in zip(jax.tree.leaves(alone.params), jax.tree.leaves(meshed.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_scalar_in_the_batch_is_named():
    with pytest.raises(ValueError, match=r"batch\['scale'\] is a scalar"):
        shard_batch({"x": np.zeros((2, 1)), "scale": 1.0}, data_mesh())
