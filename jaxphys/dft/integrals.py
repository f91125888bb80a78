"""One- and two-electron integrals from libcint, through PySCF on the host."""

from __future__ import annotations

import numpy as np
from pyscf import df, gto
from pyscf.scf import hf

LINEAR_DEPENDENCE = 1e-8
"""Eigenvalues of the overlap below this are left out of the variational space."""


def one_electron(mole: gto.Mole) -> dict[str, np.ndarray]:
    """Core Hamiltonian and dipole integrals (atomic units, origin 0), each (..., n, n)."""
    return {
        "core": hf.get_hcore(mole),
        "dipole_integrals": mole.intor_symmetric("int1e_r", comp=3),
    }


def density_fitting(mole: gto.Mole, auxiliary: gto.Mole, *, omega: float = 0.0) -> np.ndarray:
    """Whitened three-centre integrals B, (n_aux, n(n+1)/2), i ≥ j packed by rows: (ij|kl) ≈ B_ijᵀ B_kl.

    omega: 1/Bohr, of the long-range interaction erf(ωr)/r; 0 is the whole 1/r.
    """
    with mole.with_range_coulomb(omega), auxiliary.with_range_coulomb(omega):
        return df.incore.cholesky_eri(mole, auxmol=auxiliary)


def unpack_exchange(packed: np.ndarray, n: int) -> np.ndarray:
    """B with full orbital pairs, (n, n_aux, n): this order makes exchange two plain matrix products."""
    full = np.empty((n, packed.shape[0], n))
    for i in range(n):
        start = i * (i + 1) // 2
        full[i, :, : i + 1] = packed[:, start : start + i + 1]
    for i in range(n):
        full[:i, :, i] = full[i, :, :i].T
    return full


def orthonormaliser(overlap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Canonical X with Xᵀ S X = 1, (n, n), and the mask (n,) of its columns that span the space.

    Columns of nearly dependent combinations are zero and come last.
    """
    values, vectors = np.linalg.eigh(overlap)
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = values > LINEAR_DEPENDENCE
    return np.where(kept, vectors / np.sqrt(np.where(kept, values, 1.0)), 0.0), kept


def minao_density(mole: gto.Mole, overlap: np.ndarray) -> np.ndarray:
    """Superposition of atomic densities (PySCF's "minao" guess), (n, n)."""
    values, vectors = np.linalg.eigh(overlap)
    null = vectors[:, values <= LINEAR_DEPENDENCE]
    if null.size:
        # PySCF solves with the overlap: where functions coincide it is singular, and the guess would be noise
        filled = overlap + null @ null.T
        mole = mole.copy()
        mole.intor_symmetric = lambda *_: filled
    return np.asarray(hf.init_guess_by_minao(mole))
