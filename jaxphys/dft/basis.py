"""Molecules in a Gaussian basis: PySCF's `Mole`, built with errors that people can act on."""

from __future__ import annotations

import functools
import re
import warnings

import numpy as np
import scipy.linalg
from pyscf import df, gto
from pyscf.lib.exceptions import BasisNotFoundError

from jaxphys.molecule import check_molecule


def build_mole(
    numbers: np.ndarray, positions: np.ndarray, *, charge: int, basis: str, spin: int | None = None
) -> gto.Mole:
    """PySCF molecule in spherical Gaussians, with the basis set's own core potentials.

    numbers: (n_atoms,) atomic numbers; positions: (n_atoms, 3) in Å; spin: unpaired electrons, None for a
    closed shell. Raises ValueError for an unknown basis, an element the basis lacks, or a number of electrons
    that the spin does not fit.
    """
    check_molecule(numbers, positions, charge)
    charge = int(charge)
    _check_spin(int(np.sum(numbers)), charge, spin)
    symbols = [gto.mole._symbol(int(z)) for z in numbers]
    _check_basis(basis, sorted(set(symbols)))
    atoms = [(symbol, tuple(xyz)) for symbol, xyz in zip(symbols, np.asarray(positions), strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PySCF warns where a light element needs no core potential
        potentials = _core_potentials(basis, symbols)
        return gto.M(atom=atoms, charge=charge, spin=spin or 0, basis=basis, ecp=potentials, verbose=0)


def _check_spin(protons: int, charge: int, spin: int | None) -> None:
    electrons = protons - charge
    if spin is None and (electrons <= 0 or electrons % 2):
        raise ValueError(
            f"a closed shell needs an even, positive number of electrons, but this molecule has {electrons} "
            f"(charge {charge}); give the charge that makes it even, e.g. "
            f"charge={charge + 1 if electrons > 2 else protons - 2}, or its unpaired electrons, e.g. spin=1"
        )
    if spin is not None and (spin != int(spin) or spin < 0 or spin > electrons or (electrons - spin) % 2):
        raise ValueError(
            f"spin is the number of unpaired electrons: with {electrons} electrons it must be one of "
            f"{', '.join(str(s) for s in range(electrons % 2, min(electrons, 7) + 1, 2))}…, got {spin!r}"
        )


def occupation_of(mole: gto.Mole, mask: np.ndarray, spin: int | None) -> np.ndarray:
    """Electrons in each orbital, (n,), or of each spin (2, n) for an open shell."""
    unpaired = spin or 0
    counts = [(mole.nelectron + unpaired) // 2, (mole.nelectron - unpaired) // 2]
    if counts[0] > mask.sum():
        raise ValueError(
            f"{mole.nelectron} electrons do not fit into the {mask.sum()} independent orbitals of basis "
            f"{mole.basis!r}; take a larger basis or a higher charge"
        )
    order = np.arange(len(mask))
    if spin is None:
        return np.where(order < counts[0], 2.0, 0.0)
    return np.stack([np.where(order < count, 1.0, 0.0) for count in counts])


def build_auxiliary(mole: gto.Mole, xc: str, auxbasis: str | None) -> gto.Mole:
    """Auxiliary basis for density fitting: the one named, else the fitted default, else an automatic one."""
    if auxbasis is None:
        return df.addons.make_auxmol(mole, df.make_auxbasis(mole, xc=xc))
    symbols = sorted({mole.atom_pure_symbol(i) for i in range(mole.natm)})
    _check_basis(auxbasis, symbols, what="auxiliary basis")
    return df.addons.make_auxmol(mole, auxbasis)


def _check_basis(basis: str, symbols: list[str], what: str = "basis") -> None:
    missing = []
    for symbol in symbols:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PySCF advises on another package before it fails
            try:
                gto.basis.load(basis, symbol)
            except (BasisNotFoundError, KeyError, ValueError, TypeError, OSError):
                missing.append(symbol)
    if missing:
        these = "this element" if len(missing) == 1 else "these elements"
        cure = f"name one that has {these}, e.g. 'def2-svp'" if what == "basis" else "leave auxbasis=None"
        raise ValueError(f"{what} {basis!r} is not in PySCF for {', '.join(missing)}; {cure}")


def _core_potentials(basis: str, symbols: list[str]) -> dict[str, list]:
    """Effective core potentials that belong to the basis, by element; leaving them out is silently wrong."""
    potentials = {}
    for symbol in set(symbols):
        try:
            potential = gto.basis.load_ecp(basis, symbol)
        except (BasisNotFoundError, KeyError, ValueError, TypeError, OSError, RuntimeError):
            potential = None
        if potential:
            potentials[symbol] = potential
        else:
            _check_core(basis, symbol)
    return potentials


@functools.cache
def _check_core(basis: str, symbol: str) -> None:
    """Refuse a basis made for a core potential that PySCF does not keep under the basis's name.

    Such a basis lacks the 1s orbital: one electron at the bare nucleus must come near its energy −Z²/2. The
    orbital bases with all electrons reach 0.93 of it and more, those for a potential 0.7 and less.
    """
    atom = gto.M(atom=[(symbol, (0.0, 0.0, 0.0))], basis=basis, spin=None, verbose=0)
    core = atom.intor("int1e_kin") + atom.intor("int1e_nuc")
    lowest = scipy.linalg.eigh(core, atom.intor("int1e_ovlp"), eigvals_only=True)[0]
    if lowest > 0.85 * -0.5 * atom.atom_charge(0) ** 2:
        raise ValueError(
            f"basis {basis!r} has no core orbitals for {symbol}, and PySCF no core potential of that name; "
            "name a basis with all electrons or with its potential, e.g. 'def2-svp'"
        )


def shell_momenta(number: int, basis: str) -> tuple[int, ...]:
    """Angular momentum of one element's contracted shells in PySCF's order, e.g. (0, 0, 1) for H in SVP."""
    symbol = gto.mole._symbol(int(number))
    _check_basis(basis, [symbol])
    atom = gto.M(atom=[(symbol, (0.0, 0.0, 0.0))], basis=basis, spin=None, verbose=0)
    return tuple(int(atom.bas_angular(i)) for i in range(atom.nbas) for _ in range(atom.bas_nctr(i)))


def normalise(name: str) -> str:
    """Basis or functional name without case, blanks and underscores, as PySCF compares them."""
    return re.sub(r"[\s_]", "", name).lower()
