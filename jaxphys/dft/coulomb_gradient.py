"""Nuclear derivatives of density-fitted Coulomb and exchange energies, with integrals from libcint."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import scipy.linalg
from jaxtyping import Float
from pyscf import gto, lib
from pyscf.df.incore import LINEAR_DEP_THR
from pyscf.gto.moleintor import getints3c, make_cintopt

BLOCK_BYTES = 2**25
"""Size of the derivatives of integrals that a thread holds at a time."""

NEGLIGIBLE_EXPONENT = 40.0
"""Pairs of primitives are left out where their product is below exp(−this); libcint takes no less."""

Result = TypeVar("Result")


def coulomb_gradient(
    mole: gto.Mole,
    auxmole: gto.Mole,
    coefficients: Sequence[Float[np.ndarray, "n _"]],
    *,
    coulomb: float = 1.0,
    exchange: float = 0.0,
    omega: float = 0.0,
    fitting: Float[np.ndarray, "m p"] | None = None,
) -> Float[np.ndarray, "a 3"]:
    """Derivative in Ha/Bohr, at fixed orbitals, of coulomb · ½ tr(J P) − exchange · ½ Σ_spin tr(K P).

    coefficients: occupied orbitals (n, o) of a closed shell, or of spin up and down. omega: range in 1/Bohr
    of the interaction erf(ωr)/r; 0 is the whole 1/r. fitting: what `density_fitting` gave for the same, if it
    is at hand: that saves a tenth of the time.

    Both energies are quadratic in (Q|ij). With c = M⁻¹ (Q|ij) P_ij and C_ab = M⁻¹ (Q|ab), a and b occupied,
    the derivative is Σ Γ_Qij (Q|ij)' + Σ Γ_PQ (P|Q)', where, for an occupation of f,

        Γ_Qij = c_Q P_ij − f C_Qab C_ia C_jb          Γ_PQ = −½ c_P c_Q + ½ f C_Pab C_Qab.
    """
    occupation = 2.0 if len(coefficients) == 1 else 1.0
    density = occupation * sum(c @ c.T for c in coefficients)
    integrals = _Integrals.of(mole, auxmole, omega)
    occupied = [c for c in coefficients if exchange and c.shape[1]]
    projected = _project(integrals, density, occupied, fitting)
    with auxmole.with_range_coulomb(omega):
        metric = auxmole.intor("int2c2e", hermi=1)
        slopes = auxmole.intor("int2c2e_ip1", comp=3, hermi=2)
    charges, *fits = _solve(metric, projected, whitened=fitting is not None)
    densities = _Densities(density, occupied, charges, fits, coulomb, occupation * exchange)
    by_orbital, by_auxiliary = _contract(integrals, densities, slopes)
    # a derivative by the centre of a function has the opposite sign, and every term has a mirror image
    return 2.0 * (sum_by_atom(auxmole, by_auxiliary) - sum_by_atom(mole, by_orbital))


def sum_by_atom(mole: gto.Mole, rows: Float[np.ndarray, "3 n"]) -> Float[np.ndarray, "a 3"]:
    """Sums over the orbitals of each atom."""
    return np.array([rows[:, start:stop].sum(axis=1) for *_, start, stop in mole.aoslice_by_atom()])


@dataclass(frozen=True)
class _Integrals:
    """What libcint has to know of the orbitals and, after them, the auxiliary functions."""

    atm: np.ndarray
    bas: np.ndarray
    env: np.ndarray
    shells: int
    orbitals: int
    ends: np.ndarray  # of the auxiliary shells, the first auxiliary function being 0

    @staticmethod
    def of(mole: gto.Mole, auxmole: gto.Mole, omega: float) -> _Integrals:
        atm, bas, env = gto.conc_env(
            mole._atm, mole._bas, mole._env, auxmole._atm, auxmole._bas, auxmole._env
        )
        env[gto.PTR_RANGE_OMEGA] = omega
        env[gto.PTR_EXPCUTOFF] = NEGLIGIBLE_EXPONENT
        return _Integrals(atm, bas, env, mole.nbas, int(mole.nao), auxmole.ao_loc)

    def blocks(self) -> list[tuple[int, int]]:
        """Ranges of auxiliary shells, of similar size."""
        limit = max(1, BLOCK_BYTES // (24 * self.orbitals**2))
        count = -(-int(self.ends[-1]) // limit)
        cuts = np.searchsorted(self.ends, np.linspace(0, self.ends[-1], count + 1))
        return [(int(i), int(j)) for i, j in itertools.pairwise(cuts) if j > i]

    def columns(self, block: tuple[int, int]) -> slice:
        return slice(*self.ends[list(block)])

    def optimiser(self, name: str) -> Any:
        return make_cintopt(self.atm, self.bas[: self.shells], self.env, name)

    def evaluate(
        self, name: str, block: tuple[int, int], components: int, symmetry: str, optimiser: Any
    ) -> np.ndarray:
        """Integrals (…|Q), as libcint stores them: indices (component, i, j, Q) or (pair, Q), i fastest."""
        n = self.shells
        where = (0, n, 0, n, n + block[0], n + block[1])
        return getints3c(
            name, self.atm, self.bas, self.env, where, components, aosym=symmetry, cintopt=optimiser
        )


def _in_threads(function: Callable[[tuple[int, int]], Result], blocks: list[tuple[int, int]]) -> list[Result]:
    """The function of each block, one block on each core."""
    with ThreadPoolExecutor(lib.num_threads(), initializer=lib.num_threads, initargs=(1,)) as pool:
        return list(pool.map(function, blocks))


def _project(
    integrals: _Integrals,
    density: Float[np.ndarray, "n n"],
    coefficients: Sequence[np.ndarray],
    fitting: np.ndarray | None,
) -> list[np.ndarray]:
    """(Q|ij) P_ij, (m,), and for each spin (Q|ab) of occupied pairs a ≥ b, packed by rows, (m, pairs).

    With `fitting`, of its rows instead of (Q|ij).
    """
    rows, columns = np.tril_indices(integrals.orbitals)
    pairs = density[rows, columns] * np.where(rows == columns, 1.0, 2.0)
    optimiser = integrals.optimiser("int3c2e_sph")

    def block(shells: tuple[int, int]) -> list[np.ndarray]:
        if fitting is None:
            packed = integrals.evaluate("int3c2e_sph", shells, 1, "s2ij", optimiser).T
        else:
            packed = fitting[integrals.columns(shells)]
        full = lib.unpack_tril(packed if len(coefficients) else packed[:0])
        return [packed @ pairs, *(_occupied_pairs(full, c) for c in coefficients)]

    return [np.concatenate(parts) for parts in zip(*_in_threads(block, integrals.blocks()), strict=True)]


def _occupied_pairs(full: Float[np.ndarray, "m n n"], coefficients: Float[np.ndarray, "n o"]) -> np.ndarray:
    count, n, _ = full.shape
    half = (full.reshape(-1, n) @ coefficients).reshape(count, n, -1)
    return lib.pack_tril(np.matmul(coefficients.T, half))


def _solve(metric: Float[np.ndarray, "m m"], columns: list[np.ndarray], whitened: bool) -> list[np.ndarray]:
    """M⁻¹ times each, or T times what Tᵀ, M⁻¹ = T Tᵀ, has been applied to already (`density_fitting`).

    Where auxiliary functions depend on each other, within the space that they span.
    """
    try:
        lower = scipy.linalg.cholesky(metric, lower=True)
    except scipy.linalg.LinAlgError:
        values, vectors = scipy.linalg.eigh(metric)
        kept = vectors[:, values > LINEAR_DEP_THR] / np.sqrt(values[values > LINEAR_DEP_THR])
        return [kept @ (column if whitened else kept.T @ column) for column in columns]
    if whitened:
        return [scipy.linalg.solve_triangular(lower, column, lower=True, trans="T") for column in columns]
    return [scipy.linalg.cho_solve((lower, True), column) for column in columns]


@dataclass(frozen=True)
class _Densities:
    """What the derivatives of integrals are contracted with, Γ_Qij and Γ_PQ."""

    density: Float[np.ndarray, "n n"]
    coefficients: Sequence[np.ndarray]  # (n, o) of each spin
    charges: Float[np.ndarray, " m"]
    fits: Sequence[np.ndarray]  # (m, pairs) of each spin
    coulomb: float
    exchange: float  # times the occupation

    def three_centre(self, own: slice) -> Float[np.ndarray, "q n n"]:
        """Γ_Qij of some Q."""
        total = (self.coulomb * self.charges[own, None, None]) * self.density
        for fit, c in zip(self.fits, self.coefficients, strict=True):
            total += np.matmul(c, np.matmul(lib.unpack_tril(-self.exchange * fit[own]), c.T))
        return total

    def two_centre(self, own: slice) -> Float[np.ndarray, "q m"]:
        """Γ_PQ of some P."""
        total = (-0.5 * self.coulomb * self.charges[own, None]) * self.charges
        for fit, c in zip(self.fits, self.coefficients, strict=True):
            rows, columns = np.tril_indices(c.shape[1])
            total += (0.5 * self.exchange * np.where(rows == columns, 1.0, 2.0) * fit[own]) @ fit.T
        return total


def _contract(
    integrals: _Integrals, densities: _Densities, metric_slopes: Float[np.ndarray, "3 m m"]
) -> tuple[Float[np.ndarray, "3 n"], Float[np.ndarray, "3 m"]]:
    """Σ_jQ Γ_Qij (∇i j|Q), (3, n), and Σ_ij Γ_Qij (∇i j|Q) − Σ_P Γ_QP (∇Q|P), (3, m).

    The first term of the latter is −½ Σ_ij Γ_Qij (ij|∇Q): moving all three centres changes nothing.
    """
    optimiser = integrals.optimiser("int3c2e_ip1_sph")

    def block(shells: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        slopes = integrals.evaluate("int3c2e_ip1_sph", shells, 3, "s1", optimiser).transpose(0, 3, 2, 1)
        own = integrals.columns(shells)
        weights = densities.three_centre(own)
        sums = np.stack([np.einsum("qji,qji->qi", weights, slope) for slope in slopes])
        metric = np.einsum("xpq,pq->xp", metric_slopes[:, own], densities.two_centre(own))
        return sums.sum(axis=1), sums.sum(axis=2) - metric

    by_orbital, by_auxiliary = zip(*_in_threads(block, integrals.blocks()), strict=True)
    return np.sum(by_orbital, axis=0), np.concatenate(by_auxiliary, axis=1)
