"""Energies of single atoms, taken off a set's energies and put back. In eV."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from jaxphys.data.energy_data import EnergyData
from jaxphys.units import HARTREE_IN_EV


def fit_atomic_energies(data: EnergyData, *, prior: Mapping[int, float] | None = None) -> dict[int, float]:
    """The energy of each element, in eV, that explains the set's energies best by least squares.

    A set may leave them open: conformations of one molecule fix one number only. Of all best fits this is
    the one nearest to `prior`, in eV by atomic number; by default the set's own atomic energies, for lack of
    them `statistical_atom` for total energies, and 0 for others.
    Raises ValueError if `prior` misses an element.
    """
    elements = data.elements
    if prior is None:
        own = data.atomic_energies or {}
        total = data.reference == "total" and data.subtracted is None
        fallback = statistical_atom(np.array(elements)) if total else np.zeros(len(elements))
        prior = {z: own.get(z, float(e)) for z, e in zip(elements, fallback, strict=True)}
    _check_complete(elements, prior)
    start = np.array([prior[z] for z in elements])
    counts = _counts(data, elements).astype(np.float64)
    shift = np.linalg.lstsq(counts, data.energy - _atoms_alone(data, prior), rcond=None)[0]
    return dict(zip(elements, (start + shift).tolist(), strict=True))


def subtract_atomic_energies(data: EnergyData, energies: Mapping[int, float] | None = None) -> EnergyData:
    """The set with the energies of its atoms taken off; `restore_atomic_energies` is the inverse.

    energies: eV by atomic number, by default the set's own atomic energies. The inverse is exact to the
    last bit where the energy is within a factor of 2 of what is taken off, as total energies are; else to
    rounding.
    Raises ValueError if an element is missing, the set has none of its own, or some were subtracted before.
    """
    if data.subtracted is not None:
        raise ValueError(
            f"atomic energies {dict(data.subtracted)} were subtracted before; restore them first"
        )
    energies = data.atomic_energies if energies is None else energies
    if energies is None:
        raise ValueError("the set knows no atomic energies; give some, e.g. those of fit_atomic_energies")
    _check_complete(data.elements, energies)
    energies = {int(z): float(energy) for z, energy in sorted(energies.items())}
    return dataclasses.replace(data, energy=data.energy - _atoms_alone(data, energies), subtracted=energies)


def restore_atomic_energies(data: EnergyData) -> EnergyData:
    """The set with the energies of its atoms put back. Raises ValueError if none were subtracted."""
    if data.subtracted is None:
        raise ValueError("no atomic energies were subtracted from this set")
    return dataclasses.replace(
        data, energy=data.energy + _atoms_alone(data, data.subtracted), subtracted=None
    )


def statistical_atom(numbers: Int[np.ndarray, n]) -> Float[np.ndarray, n]:
    """Total energy in eV of neutral atoms without relativity, −0.76874 Z^(7/3) + Z²/2 − 0.26990 Z^(5/3) Ha.

    Within 1 % of Hartree–Fock from boron to krypton, 5 % from helium on, 8 % too low for H: Thomas and Fermi,
    Scott's correction, exchange and the gradient term; Englert and Schwinger 1985, Phys. Rev. A 32, 26.
    """
    z = np.asarray(numbers, dtype=np.float64)
    return HARTREE_IN_EV * (-0.768745 * z ** (7 / 3) + z**2 / 2 - 0.269900 * z ** (5 / 3))


def _counts(data: EnergyData, elements: tuple[int, ...]) -> Int[np.ndarray, "frames elements"]:
    """Atoms of each element in each frame."""
    column = np.searchsorted(elements, data.numbers)
    cells = data.frame_of_atom * len(elements) + column
    return np.bincount(cells, minlength=len(data) * len(elements)).reshape(len(data), len(elements))


def _atoms_alone(data: EnergyData, energies: Mapping[int, float]) -> Float[np.ndarray, frames]:
    total = np.zeros(len(data))
    # One element after the other: a frame's sum must not depend on the set it stands in.
    for z, count in zip(data.elements, _counts(data, data.elements).T, strict=True):
        total = total + count * energies[z]
    return total


def _check_complete(elements: tuple[int, ...], energies: Mapping[int, float]) -> None:
    missing = [z for z in elements if z not in energies]
    if missing:
        raise ValueError(f"no atomic energy for atomic number {', '.join(map(str, missing))}")
