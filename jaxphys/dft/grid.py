"""Quadrature on Becke's atomic grids, and orbital values on its points."""

from __future__ import annotations

import numpy as np
from pyscf import dft, gto, lib

from jaxphys.dft.system import Sizes, grow

POINTS_PER_BLOCK = 1024
"""Points that are treated together: few enough for the cache, enough for efficient matrix products."""


def quadrature(
    mole: gto.Mole, level: int, *, gradient: bool, padded: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (b, q) of PySCF's default grid and orbitals on it, (b, 1, n, q), in b blocks of q points.

    With gradient also the orbitals' ∂/∂x, ∂/∂y, ∂/∂z, (b, 4, n, q), in Bohr. The number of points depends on
    the elements only; the last block is filled up with points of no weight. padded: blocks and orbitals of
    `Sizes.bucket`.
    """
    points, weights = becke_grid(mole, level)
    missing = -len(points) % POINTS_PER_BLOCK
    blocks = np.pad(points, [(0, missing), (0, 0)]).reshape(-1, POINTS_PER_BLOCK, 3)
    weights = np.pad(weights, (0, missing)).reshape(-1, POINTS_PER_BLOCK)
    name, kinds = ("GTOval_sph_deriv1", 4) if gradient else ("GTOval_sph", 1)
    own = Sizes(0, mole.nao, 0, len(blocks), 0, 0)
    shape = own.bucket() if padded else own
    values = _aligned((shape.blocks, kinds, shape.orbitals, POINTS_PER_BLOCK))
    with lib.with_omp_threads(1):  # waking threads for every block takes longer than the block
        for block, out in zip(blocks, values, strict=False):
            found = mole.eval_gto(name, block, out=None if padded else out)
            if padded:
                out[:, : mole.nao] = found.reshape(kinds, POINTS_PER_BLOCK, mole.nao).mT
                out[:, mole.nao :] = 0.0
    values[len(blocks) :] = 0.0
    return grow(weights, (shape.blocks, POINTS_PER_BLOCK)), values


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """An empty array that JAX takes over on a CPU without copying it."""
    size = int(np.prod(shape))
    memory = np.empty(size + 8)
    start = (-memory.ctypes.data % 64) // 8
    return memory[start : start + size].reshape(shape)


def becke_grid(mole: gto.Mole, level: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (g, 3) in Bohr and weights (g,) of PySCF's default grid."""
    grids = dft.gen_grid.Grids(mole)
    grids.level = int(level)
    grids.build(with_non0tab=False)
    return grids.coords, grids.weights
