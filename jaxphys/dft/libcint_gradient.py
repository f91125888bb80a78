"""Forces of density-fitted Kohn–Sham theory on a CPU, with integrals from libcint."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float
from pyscf import gto, lib
from pyscf.grad import rhf
from threadpoolctl import threadpool_limits

from jaxphys.dft.becke import GridTemplate, becke_grid, pad_template
from jaxphys.dft.coulomb_gradient import coulomb_gradient, sum_by_atom
from jaxphys.dft.functionals import Functional
from jaxphys.dft.grid_gradient import grid_gradient
from jaxphys.dft.shell_loops import round_up
from jaxphys.dft.system import require_x64

NUCLEI_AT_A_TIME = 16
"""Nuclei whose attraction integrals are held at the same time."""

POINTS_AT_A_TIME = 2**14
"""Points of one task in the derivative of the grid."""


@dataclass(frozen=True)
class Occupied:
    """The occupied orbitals of one spin, or of both where they are equal."""

    coefficients: Float[np.ndarray, "n o"]
    energies: Float[np.ndarray, " o"]  # Ha


def libcint_gradient(
    mole: gto.Mole,
    auxmole: gto.Mole,
    method: Functional,
    orbitals: Sequence[Occupied],
    *,
    points: Float[np.ndarray, "g 3"],
    weights: Float[np.ndarray, " g"],
    response: GridTemplate | None = None,
    fitting: Float[np.ndarray, "m p"] | None = None,
) -> Float[np.ndarray, "a 3"]:
    """dE/dR, (a, 3) in Ha/Bohr, of converged orbitals: one entry for a closed shell, spin up and down else.

    points (g, 3) in Bohr and weights (g,) in Bohr³ are the quadrature. It stays where it is in space, as in
    PySCF by default, and the forces do not sum to zero exactly; with the template of a Becke grid it moves
    with the atoms (then points and weights must be that grid's, in its order), and they do. Coulomb and exact
    exchange are fitted with auxmole, whose response is included; `fitting`, from `density_fitting` with the
    same functions, saves time where it is at hand. Not for core potentials.
    """
    require_x64()
    if mole.has_ecp():
        raise ValueError(
            "libcint_gradient has no derivatives of core potentials (ECP); "
            "use a basis with all electrons, or PySCF's gradients"
        )
    if response is not None and len(response.volumes) != len(weights):
        raise ValueError(f"the template has {len(response.volumes)} points, the quadrature {len(weights)}")
    coefficients = [np.ascontiguousarray(spin.coefficients, dtype=np.float64) for spin in orbitals]
    occupation = 2.0 if len(orbitals) == 1 else 1.0
    # the parts have threads of their own
    with threadpool_limits(limits=1, user_api="blas"):
        gradient = rhf.grad_nuc(mole) + _one_electron(mole, orbitals, occupation)
        gradient += coulomb_gradient(
            mole, auxmole, coefficients, exchange=method.exact_exchange, fitting=fitting
        )
        if method.range_separation is not None:
            omega, short, long = method.range_separation
            gradient += coulomb_gradient(
                mole, auxmole, coefficients, coulomb=0.0, exchange=long - short, omega=omega
            )
        on_grid = grid_gradient(mole, method, coefficients, points=points, weights=weights)
    gradient += on_grid.nuclei
    if response is not None:
        gradient += _grid_response(response, mole.atom_coords(), on_grid.points, on_grid.weights)
    return gradient


def _one_electron(mole: gto.Mole, orbitals: Sequence[Occupied], occupation: float) -> np.ndarray:
    """Derivatives of the core Hamiltonian's energy, and of the orbitals' normalisation (Pulay), (a, 3)."""
    density = occupation * sum(spin.coefficients @ spin.coefficients.T for spin in orbitals)
    weighted = occupation * sum(
        (spin.coefficients * spin.energies) @ spin.coefficients.T for spin in orbitals
    )
    by_orbital = _rows(mole.intor("int1e_ipkin", comp=3), density)
    by_orbital -= _rows(mole.intor("int1e_ipovlp", comp=3), weighted)
    by_nucleus = np.zeros((mole.natm, 3))
    for start in range(0, mole.natm, NUCLEI_AT_A_TIME):
        some = slice(start, start + NUCLEI_AT_A_TIME)
        # ⟨∇i|1/|r − R||j⟩ of each nucleus, (3, a, n, n)
        attraction = mole.intor("int1e_grids_ip", grids=mole.atom_coords()[some])
        each = -mole.atom_charges()[some, None] * _rows(attraction, density)
        by_orbital += each.sum(axis=1)
        by_nucleus[some] = each.sum(axis=2).T
    return 2.0 * (by_nucleus - sum_by_atom(mole, by_orbital))


def _rows(integrals: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Σ_j of integrals (..., i, j) times the density matrix, for each i."""
    return np.einsum("...ij,ij->...i", integrals, density)


def _grid_response(
    template: GridTemplate, positions: np.ndarray, by_points: np.ndarray, by_weights: np.ndarray
) -> np.ndarray:
    """The derivative of a sum over the grid by the nuclei, (a, 3), from those by its points and weights."""
    atoms, points = round_up(len(positions), 8), round_up(len(by_weights), POINTS_AT_A_TIME)
    template = pad_template(template, atoms, points)
    filling = [(0, points - len(by_weights)), (0, 0)]
    cotangents = np.pad(by_points, filling), np.pad(by_weights, filling[0])
    padded = np.pad(positions, [(0, atoms - len(positions)), (0, 0)])

    def pull(start: int) -> np.ndarray:
        some = slice(start, start + POINTS_AT_A_TIME)
        own = {name: getattr(template, name)[some] for name in ("offsets", "volumes", "owner")}
        part = dataclasses.replace(template, **own)
        with jax.enable_x64(True):  # set by a context manager, it does not reach other threads
            return np.asarray(_pull_grid(part, padded, tuple(array[some] for array in cotangents)))

    with ThreadPoolExecutor(lib.num_threads()) as pool:
        return np.sum(list(pool.map(pull, range(0, points, POINTS_AT_A_TIME))), axis=0)[: len(positions)]


@jax.jit
def _pull_grid(
    template: GridTemplate, positions: jax.Array, cotangents: tuple[jax.Array, jax.Array]
) -> jax.Array:
    return jax.vjp(functools.partial(becke_grid, template), positions)[1](cotangents)[0]
