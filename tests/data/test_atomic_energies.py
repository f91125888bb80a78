"""Energies of single atoms: fitted, taken off and put back."""

import dataclasses

import numpy as np
import pytest

from jaxphys.data import (
    EnergyFrame,
    concatenate,
    fit_atomic_energies,
    from_arrays,
    from_frames,
    restore_atomic_energies,
    subtract_atomic_energies,
)
from jaxphys.data.atomic_energies import statistical_atom
from jaxphys.units import HARTREE_IN_EV

# Water, methane, methanol, carbon monoxide; the energies of the atoms explain the whole exactly.
FORMULAS = [[8, 1, 1], [6, 1, 1, 1, 1], [6, 8, 1, 1, 1, 1], [6, 8]]
TRUE = {1: -13.6, 6: -1030.25, 8: -2042.5}


def make(formulas=FORMULAS, noise=0.0, **fields):
    rng = np.random.default_rng(0)
    frames = [
        EnergyFrame(
            np.array(numbers),
            rng.standard_normal((len(numbers), 3)),
            sum(TRUE[z] for z in numbers) + noise * rng.standard_normal(),
        )
        for numbers in formulas
    ]
    return from_frames(frames, level="PBE", reference="total", **fields)


def test_the_fit_is_exact_where_atoms_explain_all():
    fitted = fit_atomic_energies(make())
    assert fitted.keys() == TRUE.keys()
    np.testing.assert_allclose([fitted[z] for z in TRUE], list(TRUE.values()), rtol=1e-12)


def test_the_fit_is_that_of_the_normal_equations():
    data = make(noise=3.0)
    counts = np.array([[numbers.count(z) for z in TRUE] for numbers in FORMULAS], dtype=float)
    expected = np.linalg.solve(counts.T @ counts, counts.T @ data.energy)
    np.testing.assert_allclose(list(fit_atomic_energies(data).values()), expected, rtol=1e-10)


@pytest.mark.parametrize("prior", [None, {1: 0.0, 6: -1000.0, 8: -2000.0}])
def test_of_one_molecule_the_fit_is_the_nearest_to_the_prior(prior):
    """The mean energy is spread along the numbers of atoms, the one direction that the set fixes."""
    water = from_arrays(
        [8, 1, 1], np.zeros((5, 3, 3)), -2079.0 + np.arange(5.0), level="PBE", reference="total"
    )
    fitted = fit_atomic_energies(water, prior=prior)
    start = dict(zip((1, 8), statistical_atom(np.array([1, 8])), strict=True)) if prior is None else prior
    missing = -2077.0 - 2 * start[1] - start[8]
    assert fitted == pytest.approx({1: start[1] + missing * 2 / 5, 8: start[8] + missing / 5}, rel=1e-12)


def test_the_set_s_own_energies_are_the_first_guess():
    one = make([[8, 1, 1]], atomic_energies={1: -13.0})
    fitted = fit_atomic_energies(one)
    oxygen = float(statistical_atom(np.array([8]))[0])
    missing = one.energy[0] - 2 * -13.0 - oxygen
    assert fitted == pytest.approx({1: -13.0 + missing * 2 / 5, 8: oxygen + missing / 5}, rel=1e-12)


def test_subtraction_by_hand():
    data = make(atomic_energies={1: -13.5, 6: -1030.0, 8: -2042.0})
    less = subtract_atomic_energies(data)
    # Of each atom 0.1, 0.25 and 0.5 eV are left.
    np.testing.assert_allclose(less.energy, [-0.7, -0.65, -1.15, -0.75], atol=1e-9)
    assert less.subtracted == data.atomic_energies and less.reference == "total"


def test_the_inverse_is_exact_also_of_parts():
    data = make(FORMULAS * 50, noise=5.0)
    less = subtract_atomic_energies(data, fit_atomic_energies(data))
    assert np.abs(less.energy).max() < 50
    np.testing.assert_array_equal(restore_atomic_energies(less).energy, data.energy)
    parts = [restore_atomic_energies(part) for part in (less[:7], less[7:8], less[8:])]
    np.testing.assert_array_equal(concatenate(parts).energy, data.energy)


def test_statistical_atoms_against_hartree_fock():
    """Energies in Ha of the numerical Hartree–Fock method, Froese Fischer 1977."""
    atoms = {2: -2.86168, 6: -37.68862, 8: -74.80940, 10: -128.54710, 18: -526.81751, 26: -1262.4436}
    found = statistical_atom(np.array(list(atoms))) / HARTREE_IN_EV
    np.testing.assert_allclose(found[1:], list(atoms.values())[1:], rtol=0.006)
    np.testing.assert_allclose(found[0], atoms[2], rtol=0.05)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda data: subtract_atomic_energies(data), "the set knows no atomic energies; give some"),
        (lambda data: subtract_atomic_energies(data, {1: 0.0}), "no atomic energy for atomic number 6, 8"),
        (lambda data: fit_atomic_energies(data, prior={6: 0.0}), "no atomic energy for atomic number 1, 8"),
        (lambda data: restore_atomic_energies(data), "no atomic energies were subtracted"),
        (
            lambda data: subtract_atomic_energies(dataclasses.replace(data, subtracted=TRUE), TRUE),
            "were subtracted before; restore them first",
        ),
    ],
)
def test_errors(action, message):
    with pytest.raises(ValueError, match=message):
        action(make())
