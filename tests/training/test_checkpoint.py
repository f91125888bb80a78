import dataclasses
import json
import os
import shutil
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.training import (
    CheckpointError,
    Checkpoints,
    create_state,
    load_params,
    make_optimizer,
    make_train_step,
)

CONFIG = {"model": {"width": 8, "layers": (1, 2)}, "learning_rate": 0.1, "name": "test"}


def fresh_state(seed=0, width=3):
    params = {
        "w": jnp.zeros(width),
        "layers": [{"b": jnp.ones(2, jnp.bfloat16)}, {"b": jnp.ones((), jnp.float32)}],
    }
    return create_state(params, make_optimizer(0.1, 100, weight_decay=0.01), jax.random.key(seed))


def trained_state(steps=3):
    def loss(params, batch, key):
        layers = sum(jnp.sum(layer["b"].astype(float) ** 2) for layer in params["layers"])
        return jnp.sum((params["w"] - batch["x"]) ** 2) + layers + jax.random.normal(key), 1.0, {}

    step = make_train_step(loss, make_optimizer(0.1, 100, weight_decay=0.01))
    state = fresh_state()
    for t in range(steps):
        state, _ = step(state, {"x": np.arange(3.0) + t})
    return state


def at_step(state, step):
    return dataclasses.replace(state, step=jnp.array(step, jnp.int32))


def test_a_state_comes_back_to_the_bit_and_without_warnings(tmp_path, bits):
    state = trained_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Checkpoints(tmp_path / "run", CONFIG).save(state)
        restored = Checkpoints(tmp_path / "run", CONFIG).restore(fresh_state(seed=5))
    assert bits(restored) == bits(state)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    assert restored.key == state.key


def test_resume_starts_afresh_where_there_is_no_checkpoint(tmp_path, bits):
    checkpoints = Checkpoints(tmp_path / "run", CONFIG)
    state = fresh_state()
    assert checkpoints.latest_step() is None
    assert checkpoints.resume(state) is state
    assert not (tmp_path / "run").exists()
    checkpoints.save(trained_state())
    assert bits(checkpoints.resume(state)) == bits(trained_state())


def test_only_the_latest_checkpoints_stay(tmp_path):
    checkpoints = Checkpoints(tmp_path, CONFIG, keep=2)
    for step in (1, 5, 10, 20):
        checkpoints.save(at_step(fresh_state(), step))
        checkpoints.save(at_step(fresh_state(), step))  # saved already: nothing to do
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10", "20"]
    assert checkpoints.latest_step() == 20


def test_another_config_is_refused_with_keys_and_values(tmp_path):
    Checkpoints(tmp_path, CONFIG).save(trained_state())
    # A tuple and a list are the same in JSON; so is the order of keys.
    same = {"name": "test", "learning_rate": 0.1, "model": {"layers": [1, 2], "width": 8}}
    Checkpoints(tmp_path, same).restore(fresh_state())
    other = Checkpoints(tmp_path, {**CONFIG, "learning_rate": 0.2, "model": {"width": 8}, "seed": 1})
    with pytest.raises(ValueError) as error:
        other.restore(fresh_state())
    message = str(error.value)
    assert "\n" not in message
    assert "learning_rate is 0.1 there and 0.2 here" in message
    assert "model.layers is [1, 2] there and absent here" in message
    assert "seed is absent there and 1 here" in message
    with pytest.raises(CheckpointError, match="learning_rate"):
        other.save(at_step(fresh_state(), 100))


def test_many_differences_are_counted(tmp_path):
    Checkpoints(tmp_path, {name: 0 for name in "abcde"}).save(fresh_state())
    with pytest.raises(CheckpointError, match=r"a is .*; b is .*; c is .*; and 2 more$"):
        Checkpoints(tmp_path, {name: 1 for name in "abcde"}).restore(fresh_state())


def test_a_run_behind_the_directory_may_not_save(tmp_path):
    checkpoints = Checkpoints(tmp_path, CONFIG)
    checkpoints.save(at_step(fresh_state(), 50))
    with pytest.raises(CheckpointError, match="at step 50, later than step 10: resume"):
        checkpoints.save(at_step(fresh_state(), 10))


@pytest.mark.parametrize("make", [lambda: fresh_state(width=4), lambda: jax.tree.map(narrow, fresh_state())])
def test_a_state_of_other_arrays_is_refused(tmp_path, make):
    checkpoints = Checkpoints(tmp_path, CONFIG)
    checkpoints.save(trained_state())
    with pytest.raises(CheckpointError, match=r"params.w is float64\[3\] there and float\d\d\[\d\] here"):
        checkpoints.restore(make())


def narrow(leaf):
    return leaf.astype(jnp.float32) if leaf.dtype == jnp.float64 else leaf


def test_an_unfinished_save_leaves_the_previous_checkpoint(tmp_path, bits):
    checkpoints = Checkpoints(tmp_path, CONFIG)
    state = trained_state()
    checkpoints.save(state)
    # What a kill leaves behind: orbax's temporary name, with part of the files.
    unfinished = tmp_path / "7.orbax-checkpoint-tmp-123"
    shutil.copytree(tmp_path / "3", unfinished)
    (unfinished / "_CHECKPOINT_METADATA").unlink()
    assert checkpoints.latest_step() == 3
    assert bits(checkpoints.restore(fresh_state())) == bits(state)
    assert load_params(tmp_path)[2] == 3
    checkpoints.save(at_step(state, 7))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "7"]


def test_a_kill_in_the_middle_of_a_save_leaves_the_previous_checkpoint(tmp_path):
    """The process dies without a chance to clean up, with all array files written and not yet renamed."""
    script = f"""
import os, dataclasses, jax, jax.numpy as jnp, optax
from jaxphys.training import Checkpoints, create_state
state = create_state({{"w": jnp.arange(3.0)}}, optax.adam(0.1), jax.random.key(0))
checkpoints = Checkpoints({str(tmp_path)!r}, {{}})
checkpoints.save(state)
rename = os.rename
def die_before_the_last_rename(source, target):
    os._exit(9) if str(target).endswith("/1") else rename(source, target)
os.rename = os.replace = die_before_the_last_rename
checkpoints.save(dataclasses.replace(state, step=state.step + 1))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 9, done.stderr
    assert any("tmp" in path.name for path in tmp_path.iterdir())
    params, _, step = load_params(tmp_path)
    assert step == 0
    np.testing.assert_array_equal(params["w"], np.arange(3.0))
    assert done.stdout == ""


def test_orbax_prints_nothing(tmp_path):
    script = f"""
import jax, jax.numpy as jnp, optax
from jaxphys.training import Checkpoints, create_state, load_params
state = create_state({{"w": jnp.arange(3.0)}}, optax.adam(0.1), jax.random.key(0))
checkpoints = Checkpoints({str(tmp_path)!r}, {{}})
checkpoints.save(state)
checkpoints.restore(state)
load_params({str(tmp_path)!r})
"""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, env=environment
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_load_params_gives_the_average_the_config_and_the_step(tmp_path, bits):
    state = trained_state()
    Checkpoints(tmp_path, CONFIG).save(state)
    params, config, step = load_params(tmp_path)
    assert bits(params) == bits(state.ema)
    assert config == json.loads(json.dumps(CONFIG))
    assert step == 3


def test_load_params_refuses_to_halve_the_precision(tmp_path):
    Checkpoints(tmp_path, CONFIG).save(trained_state())
    with jax.enable_x64(False), pytest.raises(CheckpointError, match=r"float64 .*jax_enable_x64"):
        load_params(tmp_path)


def make_missing(path):
    return path / "nowhere", "not a directory"


def make_empty(path):
    return path, "no complete one"


def make_foreign(path):
    (path / "12").mkdir()
    (path / "12" / "weights.bin").write_text("0")
    return path, "damaged, or no checkpoint"


def make_file(path):
    (path / "run").write_text("")
    return path / "run", "not a directory"


def make_damaged(path):
    Checkpoints(path, CONFIG).save(trained_state())
    for file in (path / "3").rglob("*"):
        if file.is_file() and file.parent.name == "d":
            file.unlink()
    return path, "damaged, or no checkpoint"


def make_without_arrays(path):
    Checkpoints(path, CONFIG).save(trained_state())
    shutil.rmtree(path / "3" / "state")
    return path, "damaged, or no checkpoint"


# orbax drops its other reads when the first one fails, and asyncio complains about them.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "make", [make_missing, make_empty, make_foreign, make_file, make_damaged, make_without_arrays]
)
def test_a_directory_without_a_usable_checkpoint_is_told_in_one_line(tmp_path, make):
    directory, reason = make(tmp_path)
    for read in (load_params, lambda path: Checkpoints(path, CONFIG).restore(fresh_state())):
        with pytest.raises(CheckpointError) as error:
            read(directory)
        message = str(error.value)
        assert reason in message
        assert str(directory) in message
        assert "\n" not in message


def test_arguments_are_checked_when_the_run_begins(tmp_path):
    with pytest.raises(ValueError, match="at least 1, received 0 and 2"):
        Checkpoints(tmp_path, CONFIG, every=0)
    with pytest.raises(ValueError, match=r"config must be .* not JSON serializable"):
        Checkpoints(tmp_path, {"array": jnp.zeros(2)})
    with pytest.raises(ValueError, match=r"config must be .*nan"):
        Checkpoints(tmp_path, {"rate": float("nan")})
