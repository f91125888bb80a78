"""Becke's molecular quadrature as a function of the nuclear positions, in pure JAX.

What the elements alone decide, a `GridTemplate`, is made once on the host; `becke_grid` puts it on nuclei:

    template = grid_template(numbers, level=3)
    points, weights = jax.jit(becke_grid)(template, positions)

Points and weights are PySCF's, atom by atom instead of sorted by place. They are differentiable with respect
to the positions, once and in reverse mode: not with `jax.jvp`, and without second derivatives (JAX 0.10.1
mixes up the residuals of a `custom_vjp` in two nested loops there, and fails).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from pyscf import dft, gto

Leaf = Any  # an array; while JAX maps over a pytree, whatever JAX puts in its place

POINTS_PER_BLOCK = 1024
"""Points that are treated together, a multiple of 16. The largest temporary array is (atoms, points)."""

HEAVIEST = 103
"""The last element for which PySCF has the parameter of the radial grid."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class GridTemplate:
    """Atomic grids of one molecule, free of its geometry, atom by atom.

    Padded atoms take no part in the partition; padded points belong to the first atom and have no volume.
    """

    offsets: Leaf  # (g, 3) Bohr, from the owner's nucleus
    volumes: Leaf  # (g,) Bohr³, radial times angular weight
    owner: Leaf  # (g,) index of the atom
    size_adjustment: Leaf  # (a, a) Treutler and Ahlrichs' a_ij, antisymmetric
    atom_mask: Leaf  # (a,) which atoms are real


def grid_template(numbers: Any, level: int) -> GridTemplate:
    """The atomic grids of PySCF's default: M4 radial, Lebedev angular grids, NWChem's pruning; on the host.

    numbers: (a,) atomic numbers, 0 for padding; level: 0 (coarse) to 9, PySCF's levels. Size adjustment:
    a_ij = ¼ (√(R_j/R_i) − √(R_i/R_j)), between −½ and ½, of Bragg's radii R. Sources: Becke, JCP 88, 2547
    (1988), appendix; Treutler and Ahlrichs, JCP 102, 346 (1995); Lebedev and Laikov, Dokl. Math. 59, 477
    (1999).
    """
    numbers = np.asarray(numbers)
    if level not in range(10):
        raise ValueError(f"level must be an integer from 0 to 9, got {level!r}")
    if numbers.ndim != 1 or numbers.min(initial=0) < 0 or numbers.max(initial=0) > HEAVIEST:
        raise ValueError(f"numbers must be (a,) atomic numbers from 0 to {HEAVIEST}, got {numbers!r}")
    atoms = np.flatnonzero(numbers)
    grids = [_atomic_grid(int(numbers[atom]), int(level)) for atom in atoms]
    roots = np.sqrt(dft.radi.BRAGG_RADII[numbers])
    ratios = roots[:, None] / roots
    return GridTemplate(
        offsets=np.concatenate([np.zeros((0, 3)), *(offsets for offsets, _ in grids)]),
        volumes=np.concatenate([np.zeros(0), *(volumes for _, volumes in grids)]),
        owner=np.repeat(atoms, [len(volumes) for _, volumes in grids]).astype(np.int32),
        size_adjustment=np.clip(0.25 * (ratios.T - ratios), -0.5, 0.5),
        atom_mask=numbers > 0,
    )


@lru_cache(maxsize=256)
def _atomic_grid(number: int, level: int) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (p, 3) in Bohr and volumes (p,) in Bohr³ of one element, read-only."""
    mole = gto.M(atom=[(number, (0.0, 0.0, 0.0))], basis=[[0, (1.0, 1.0)]], spin=None, verbose=0)
    grids = dft.gen_grid.Grids(mole)
    table = grids.gen_atomic_grids(mole, grids.atom_grid, grids.radi_method, level, grids.prune)
    (atomic_grid,) = table.values()
    for array in atomic_grid:
        array.flags.writeable = False
    return atomic_grid


def pad_template(template: GridTemplate, atoms: int, points: int) -> GridTemplate:
    """The same grids in larger arrays; sums over the grid do not change."""
    more_atoms, more_points = atoms - len(template.atom_mask), points - len(template.volumes)
    if more_atoms < 0 or more_points < 0:
        raise ValueError(
            f"{len(template.atom_mask)} atoms and {len(template.volumes)} points do not fit into "
            f"{atoms} and {points}"
        )
    rows = [(0, more_points), (0, 0)]
    return GridTemplate(
        offsets=np.pad(template.offsets, rows),
        volumes=np.pad(template.volumes, rows[0]),
        owner=np.pad(template.owner, rows[0]),
        size_adjustment=np.pad(template.size_adjustment, [(0, more_atoms)] * 2),
        atom_mask=np.pad(template.atom_mask, (0, more_atoms)),
    )


def becke_grid(
    template: GridTemplate, positions: Float[Array, "a 3"]
) -> tuple[Float[Array, "g 3"], Float[Array, " g"]]:
    """Points (g, 3) in Bohr and weights (g,) in Bohr³ of a molecule with nuclei at positions (a, 3) in Bohr.

    A weight is the point's volume times P_owner / Σ_i P_i. Source: Becke, JCP 88, 2547 (1988), eq. 22.
    """
    inverse, shift = _pairs(positions, jnp.asarray(template.atom_mask), jnp.asarray(template.size_adjustment))

    @jax.checkpoint  # so that the reverse pass holds the temporaries of one block only
    def block(arrays: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        offsets, volumes, owner = arrays
        # a sum with one term instead of a gather, whose derivative, a scatter, is slow
        owned = (owner == jnp.arange(len(positions))[:, None]).astype(positions.dtype)
        points = owned.T @ positions + offsets
        cells = _cells(_distances(points, positions), inverse, shift)
        total = jnp.sum(cells, axis=0)
        return points, volumes * jnp.sum(owned * cells, axis=0) / jnp.where(total > 0, total, 1.0)

    blocks = jax.tree.map(_split, (template.offsets, template.volumes, template.owner))
    points, weights = jax.lax.map(block, blocks)
    count = len(template.volumes)
    return points.reshape(-1, 3)[:count], weights.reshape(-1)[:count]


def _split(array: Any) -> Array:
    """The array in blocks, (b, q, ...), with zeros at the end."""
    array = jnp.asarray(array)
    missing = -len(array) % POINTS_PER_BLOCK
    padded = jnp.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1))
    return padded.reshape(-1, POINTS_PER_BLOCK, *array.shape[1:])


def _pairs(
    positions: Float[Array, "a 3"], mask: Bool[Array, " a"], adjustment: Float[Array, "a a"]
) -> tuple[Float[Array, "a a"], Float[Array, "a a"]]:
    """Inverse distances of the nuclei (1/Bohr) and size adjustments, such that no case needs a branch later.

    With an inverse of zero, ν is the adjustment: −1 gives the factor one to an atom facing itself or padding,
    +1 gives zero to padding.
    """
    squares = jnp.sum((positions[:, None] - positions) ** 2, axis=-1)
    regular = mask[:, None] & mask & (squares > 0)  # not on the diagonal
    inverse = jnp.where(regular, jax.lax.rsqrt(jnp.where(regular, squares, 1.0)), 0.0)
    return inverse, jnp.where(regular, adjustment, jnp.where(mask[:, None], -1.0, 1.0))


def _distances(points: Float[Array, "q 3"], positions: Float[Array, "a 3"]) -> Float[Array, "a q"]:
    """Distances in Bohr; the derivative of a distance of zero is zero."""
    squares = sum((points[:, axis] - positions[:, axis, None]) ** 2 for axis in range(3))
    apart = squares > 0
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, squares, 1.0)), 0.0)


@jax.custom_vjp
def _cells(
    distances: Float[Array, "a q"], inverse: Float[Array, "a a"], shift: Float[Array, "a a"]
) -> Float[Array, "a q"]:
    """Cell functions P_i = Π_j s(ν_ij) of the points' distances (Bohr) to the nuclei; s = ½ (1 − f(f(f(ν)))).

    ν = μ + a (1 − μ²), μ_ij = (r_i − r_j) / R_ij, f(x) = ½ (3x − x³), a the shift. Source: Becke (1988),
    eqs. 11, 13, 19–21 and A2. One atom j at a time, so that everything is elementwise on (a, q).
    """

    def multiply(cells: Array, atom: tuple[Array, Array, Array]) -> tuple[Array, None]:
        *_, twice = _steps(distances, *atom)
        return cells * (0.5 * twice), None

    return jax.lax.scan(multiply, jnp.ones_like(distances), (distances, inverse.T, shift.T))[0]


def _steps(
    distances: Float[Array, "a q"],
    distance: Float[Array, " q"],
    inverse: Float[Array, " a"],
    shift: Float[Array, " a"],
) -> tuple[Array, Array, Array, Array, Array]:
    """dν/dμ, 1 − ν, 1 − f(ν), 1 − f(f(ν)) and 2 s, each (a, q), for all i and one j.

    In u = 1 − x the polynomial f is u² (3 − u) / 2: only products, so that a small s keeps its accuracy.
    """
    mu = (distances - distance) * inverse[:, None]
    tilt = shift[:, None] * mu
    zero = 1.0 - mu - shift[:, None] + tilt * mu
    one = zero * zero * (1.5 - 0.5 * zero)
    two = one * one * (1.5 - 0.5 * one)
    return 1.0 - 2.0 * tilt, zero, one, two, two * two * (1.5 - 0.5 * two)


def _cells_forward(distances: Array, inverse: Array, shift: Array) -> tuple[Array, tuple[Array, ...]]:
    cells = _cells(distances, inverse, shift)
    return cells, (distances, inverse, shift, cells)


def _cells_backward(saved: tuple[Array, ...], cotangent: Array) -> tuple[Array, Array, None]:
    """Σ_j (c_i / s_ij − c_j / s_ji) s'(ν_ij) dν_ij with c the cotangents of ln P, a pair's two cells at once.

    That leaves no sum over i in the loop. It holds since μ and the shift are antisymmetric and the inverse
    distances symmetric, where it counts; the shift is taken as a constant.
    """
    distances, inverse, shift, cells = saved
    weighted = cotangent * cells

    def add(total: Array, atom: tuple[Array, ...]) -> tuple[Array, Array]:
        *pair, weighted_j = atom
        tilt, zero, one, two, twice = _steps(distances, *pair)
        other = 2.0 - twice  # 2 s_ji
        product = twice * other
        slope = tilt * zero * (2.0 - zero) * one * (2.0 - one) * two * (2.0 - two)
        slope *= -27.0 / 8.0 * (weighted * other - weighted_j * twice)
        slope /= jnp.where(product == 0, 1.0, product)  # where that is zero, so is the slope
        # in two steps: XLA's sum along contiguous rows is slow on CPUs
        by_inverse = jnp.sum((slope * (distances - pair[0])).reshape(len(shift), -1, 16), axis=1)
        return total + slope * pair[1][:, None], 0.5 * jnp.sum(by_inverse, axis=1)

    atoms = (distances, inverse.T, shift.T, weighted)
    by_distance, by_inverse = jax.lax.scan(add, jnp.zeros_like(distances), atoms)
    return by_distance, by_inverse.T, None


_cells.defvjp(_cells_forward, _cells_backward)
