"""Quadrature on Becke's atomic grids, and orbital values on its points."""

from __future__ import annotations

import numpy as np
from pyscf import dft, gto

POINTS_PER_BLOCK = 1024
"""Points that are treated together: few enough for the cache, enough for efficient matrix products."""


def quadrature(mole: gto.Mole, level: int, *, gradient: bool) -> dict[str, np.ndarray]:
    """Weights (b, q) of PySCF's default grid and orbitals on it, (b, 1, q, n), in b blocks of q points.

    With gradient also the orbitals' ∂/∂x, ∂/∂y, ∂/∂z, (b, 4, q, n), in Bohr. The number of points depends on
    the elements only; the last block is filled up with points of no weight.
    """
    points, weights = becke_grid(mole, level)
    values = mole.eval_gto("GTOval_sph_deriv1" if gradient else "GTOval_sph", points)
    values = values.reshape(-1, len(points), mole.nao)
    missing = -len(points) % POINTS_PER_BLOCK
    values = np.pad(values, [(0, 0), (0, missing), (0, 0)])
    values = values.reshape(len(values), -1, POINTS_PER_BLOCK, mole.nao)
    return {
        "grid_weights": np.pad(weights, (0, missing)).reshape(-1, POINTS_PER_BLOCK),
        "orbital_values": np.ascontiguousarray(values.swapaxes(0, 1)),
    }


def becke_grid(mole: gto.Mole, level: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (g, 3) in Bohr and weights (g,) of PySCF's default grid."""
    grids = dft.gen_grid.Grids(mole)
    grids.level = int(level)
    grids.build(with_non0tab=False)
    return grids.coords, grids.weights
