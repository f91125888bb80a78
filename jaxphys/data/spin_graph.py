"""Systems of spins as graphs, for models."""

from __future__ import annotations

import jraph
import numpy as np

from jaxphys.data.reference_spins import reference_spins
from jaxphys.data.spin_glass import SpinGlass


def spin_graph(
    glass: SpinGlass, *, n_node: int | None = None, n_edge: int | None = None, strongest: bool = True
) -> jraph.GraphsTuple:
    """The graph that `models.SpinModel` takes: each bond both ways, with the reference spins of the bonds.

    nodes["reference"]: (n_node,) ±1, see `reference_spins`; edges["couplings"]: (n_edge,) J. n_node, n_edge:
    sizes to pad to, by default none; padding edges need a padding node. Padding nodes
    have the reference 1 and no bonds, padding edges the coupling 0.
    strongest: as for `reference_spins`. Raises ValueError for sizes that are too small.
    """
    reference = reference_spins(
        glass.couplings, glass.senders, glass.receivers, glass.spins, strongest=strongest
    )
    edges = 2 * len(glass.couplings)
    n_node, n_edge = n_node or glass.spins, n_edge or edges
    if n_node < glass.spins or n_edge < edges or (n_edge > edges and n_node == glass.spins):
        raise ValueError(
            f"{glass.spins} spins with {edges} edges do not fit into {n_node} nodes and {n_edge}: "
            "padding edges need a padding node"
        )
    senders, receivers, couplings = (
        np.full(n_edge, n_node - 1, np.int32),
        np.full(n_edge, n_node - 1, np.int32),
        np.zeros(n_edge, np.float32),
    )
    senders[:edges] = np.concatenate([glass.senders, glass.receivers])
    receivers[:edges] = np.concatenate([glass.receivers, glass.senders])
    couplings[:edges] = np.tile(glass.couplings, 2)
    padded = np.ones(n_node, np.float32)
    padded[: glass.spins] = reference
    return jraph.GraphsTuple(
        nodes={"reference": padded},
        edges={"couplings": couplings},
        senders=senders,
        receivers=receivers,
        globals=None,
        n_node=np.array([glass.spins, n_node - glass.spins], np.int32),
        n_edge=np.array([edges, n_edge - edges], np.int32),
    )
