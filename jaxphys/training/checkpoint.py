"""Checkpoints: a run's state and its configuration on disk, by orbax.

A checkpoint is written under a temporary name and renamed when complete, so a kill at any moment leaves the
previous one in place. It contains the run's configuration, so that no state is restored into another run.
"""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from orbax.checkpoint import v1 as ocp

from jaxphys.training.state import TrainState

_DIFFERENCES_NAMED = 3


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, foreign, or made by another run."""


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run, in the folder `directory`.

    config: what the run depends on, a dict that JSON can hold; a run with another config cannot be resumed.
    every: number of steps between two checkpoints.
    keep: number of latest checkpoints that stay on disk.

    Raises ValueError for an `every` or `keep` below 1, or a config that is not JSON.
    """

    directory: str | Path
    config: dict[str, Any]
    every: int = 1000
    keep: int = 2

    def __post_init__(self) -> None:
        if self.every < 1 or self.keep < 1:
            raise ValueError(f"every and keep must be at least 1, received {self.every} and {self.keep}")
        _as_json(self.config)

    def latest_step(self) -> int | None:
        """The step of the newest complete checkpoint, None if there is none."""
        return _latest_step(Path(self.directory))

    def validate(self, step: int) -> None:
        """Raise CheckpointError if a run at `step` may not save here: other config, or later checkpoints."""
        latest = self.latest_step()
        if latest is None:
            return
        _require_same_config(_step_path(self.directory, latest), self.config)
        if latest > step:
            raise CheckpointError(
                f"{self.directory} holds a checkpoint at step {latest}, later than step {step}: "
                f"resume from it, or start in an empty directory"
            )

    def save(self, state: TrainState) -> None:
        """Write `state` under its step and remove old checkpoints; nothing to do if that step is there.

        Raises CheckpointError as `validate` does.
        """
        step = int(state.step)
        self.validate(step)
        if self.latest_step() == step:
            return
        training = ocp.training
        with training.Checkpointer(
            Path(self.directory).resolve(),
            preservation_policy=training.preservation_policies.LatestN(self.keep),
            cleanup_tmp_directories=True,
        ) as checkpointer:
            checkpointer.save(step, state, force=True, custom_metadata={"config": _as_json(self.config)})

    def restore(self, state: TrainState) -> TrainState:
        """The newest state on disk, bit for bit, placed on the devices where `state` is.

        state: from `create_state`, of the same structure, shapes and dtypes; its values are not used.
        Raises CheckpointError if there is no checkpoint, if it is damaged or of another config, or if its
        arrays are not those of `state`.
        """
        path = _step_path(self.directory, _existing_step(Path(self.directory)))
        _require_same_config(path, self.config)
        _require_same_arrays(path, _stored_arrays(path), state)
        with _reading(path):
            loaded = ocp.load(path, jax.tree.map(_host_array, state))
        return jax.tree.map(_place_like, loaded, state)

    def resume(self, state: TrainState) -> TrainState:
        """`restore(state)`, or `state` itself if there is no checkpoint yet."""
        return state if self.latest_step() is None else self.restore(state)


def load_params(directory: str | Path) -> tuple[PyTree, dict[str, Any], int]:
    """The averaged parameters of the newest checkpoint, the run's config, and the step.

    The structure comes from the disk: dicts and lists come back as they were, tuples as lists, other
    containers as dicts by field name.
    Raises CheckpointError if `directory` holds no readable checkpoint of a TrainState, or if its numbers are
    64-bit while jax's 64-bit mode is off.
    """
    step = _existing_step(Path(directory))
    path = _step_path(directory, step)
    config = _stored_config(path)
    abstract = {
        name: jax.tree.map(_host_array if name == "ema" else lambda _: ocp.PLACEHOLDER, part)
        for name, part in _stored_arrays(path).items()
    }
    with _reading(path):
        ema = ocp.load(path, abstract)["ema"]
    wide = [
        leaf.dtype for leaf in jax.tree.leaves(ema) if jax.dtypes.canonicalize_dtype(leaf.dtype) != leaf.dtype
    ]
    if wide:
        raise CheckpointError(
            f"{path} holds {wide[0]} parameters: set jax.config.update('jax_enable_x64', True)"
        )
    return jax.tree.map(jnp.array, ema), config, step


def _latest_step(directory: Path) -> int | None:
    # orbax creates the directory that it looks into.
    if not directory.exists():
        return None
    with _reading(directory), ocp.training.Checkpointer(directory.resolve()) as checkpointer:
        return None if checkpointer.latest is None else checkpointer.latest.step


def _existing_step(directory: Path) -> int:
    if not directory.is_dir():
        raise CheckpointError(f"no checkpoint: {directory} is not a directory")
    step = _latest_step(directory)
    if step is None:
        raise CheckpointError(f"no checkpoint: {directory} holds no complete one")
    return step


def _step_path(directory: str | Path, step: int) -> Path:
    return Path(directory).resolve() / str(step)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Whatever fails inside is told as one line about the checkpoint at `path`."""
    try:
        yield
    except Exception as error:  # orbax and its storage layer raise types of many kinds
        reason = (str(error).splitlines() or [""])[0]
        raise CheckpointError(
            f"{path} is damaged, or no checkpoint of a jaxphys run ({type(error).__name__}: {reason})"
        ) from error


def _as_json(config: dict[str, Any]) -> dict[str, Any]:
    """`config` as it will be read back: tuples become lists, keys become strings."""
    try:
        return json.loads(json.dumps(config, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"config must be a dict of what JSON can hold: {error}, in {config}") from error


def _stored_config(path: Path) -> dict[str, Any]:
    with _reading(path):
        return ocp.metadata(path).custom_metadata["config"]


def _stored_arrays(path: Path) -> dict[str, Any]:
    """The state on disk, by field, with a description of each array in its place."""
    with _reading(path):
        stored = ocp.metadata(path).metadata
        if stored is None:  # orbax's answer to a description that it cannot read
            raise FileNotFoundError("no readable arrays")
    return stored


def _require_same_config(path: Path, config: dict[str, Any]) -> None:
    stored, given = _leaves(_stored_config(path)), _leaves(_as_json(config))
    absent = "absent"
    differences = [
        f"{key} is {stored.get(key, absent)} there and {given.get(key, absent)} here"
        for key in {**given, **stored}
        if stored.get(key, absent) != given.get(key, absent)
    ]
    if not differences:
        return
    more = len(differences) - _DIFFERENCES_NAMED
    raise CheckpointError(
        f"{path} is of a run with another config: {'; '.join(differences[:_DIFFERENCES_NAMED])}"
        + (f"; and {more} more" if more > 0 else "")
    )


def _leaves(config: Any, prefix: str = "") -> dict[str, str]:
    """The values of a nested config as JSON texts, by dotted keys."""
    if not isinstance(config, dict) or not config:
        return {prefix: json.dumps(config)}
    return {
        key: text
        for name, value in config.items()
        for key, text in _leaves(value, f"{prefix}.{name}" if prefix else name).items()
    }


def _require_same_arrays(path: Path, stored: PyTree, state: TrainState) -> None:
    """Compare before loading: orbax would cast to another dtype without a word."""
    there, here = _array_types(stored), _array_types(jax.tree.map(_host_array, state))
    for name in {**here, **there}:
        if there.get(name) != here.get(name):
            raise CheckpointError(
                f"{path} does not fit the given state: {name} is {there.get(name, 'absent')} there "
                f"and {here.get(name, 'absent')} here"
            )


def _array_types(tree: PyTree) -> dict[str, str]:
    """`dtype[shape]` of each leaf, by its path."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): f"{np.dtype(leaf.dtype)}{list(leaf.shape)}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _host_array(leaf: Any) -> np.ndarray:
    """An empty array on the host in the shape of `leaf`; a PRNG key is stored as its integers."""
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.eval_shape(jax.random.key_data, leaf)
    return np.empty(leaf.shape, leaf.dtype)


def _place_like(value: np.ndarray, leaf: jax.Array) -> jax.Array:
    """`value` as a jax array, a key if `leaf` is one, on the devices of `leaf`."""
    # A copy: the step donates the state, and memory that numpy owns cannot be donated.
    array = jnp.array(value, copy=True)
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        array = jax.random.wrap_key_data(array, impl=jax.random.key_impl(leaf))
    # An array that is bound to no device stays so: a step over a mesh can still take it.
    return jax.device_put(array, leaf.sharding) if leaf.committed else array
