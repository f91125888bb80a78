"""Data parallelism: batches split over the devices of one process, the state on each of them.

A step that is jitted with these shardings computes what one device would: its sums run over the whole batch.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

DATA_AXIS = "data"


def data_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A one-dimensional mesh with the axis "data" over `devices`, by default all."""
    devices = jax.devices() if devices is None else list(devices)
    # make_mesh's default, Explicit, refuses common operations on graphs, jnp.repeat among them.
    return jax.make_mesh((len(devices),), (DATA_AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def replicated_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of a state: whole on every device of `mesh`."""
    return NamedSharding(mesh, P())


def shard_batch(batch: PyTree, mesh: Mesh) -> PyTree:
    """Place `batch` on `mesh`, each leaf's leading axis split over the devices.

    Raises ValueError if a leaf has no leading axis, or one that the number of devices does not divide.
    """
    count = mesh.devices.size
    for path, leaf in jax.tree_util.tree_leaves_with_path(batch):
        shape = np.shape(leaf)
        if not shape:
            raise ValueError(
                f"batch{jax.tree_util.keystr(path)} is a scalar: it has no leading axis to split"
            )
        if shape[0] % count:
            raise ValueError(
                f"batch{jax.tree_util.keystr(path)} of shape {shape}: its leading axis of {shape[0]} does "
                f"not divide by the {count} devices; pad the batch to a multiple of {count}"
            )
    return jax.device_put(batch, NamedSharding(mesh, P(DATA_AXIS)))


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """Place `tree` whole on every device of `mesh`."""
    return jax.device_put(tree, replicated_sharding(mesh))
