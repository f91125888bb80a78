"""The bridge to ASE, for functions of one's own: compiled or not, the same figures and errors."""

import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import CalculationFailed

from jaxphys.energies import EnergyCalculator


@pytest.mark.parametrize("jit", [False, True])
def test_energy_and_forces_by_hand(jit):
    traced = []

    def spring(positions):
        traced.append(type(positions))
        return 2.0 * (jnp.linalg.norm(positions[1] - positions[0]) - 1.0) ** 2

    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 1.5]], calculator=EnergyCalculator(spring, jit=jit))
    for length in (1.5, 0.8, 2.0):
        atoms.positions[1, 2] = length
        assert atoms.get_potential_energy() == pytest.approx(2 * (length - 1) ** 2, rel=1e-6)
        np.testing.assert_allclose(atoms.get_forces()[:, 2], np.array([4, -4]) * (length - 1), rtol=1e-6)
    # compiled once, or run anew for each geometry
    assert len(traced) == (1 if jit else 3)


def test_what_is_not_finite_fails():
    atoms = Atoms("H", [[0, 0, 0]], calculator=EnergyCalculator(lambda r: jnp.log(r.sum() - 1.0), jit=True))
    with pytest.raises(CalculationFailed, match="nan eV for H"):
        atoms.get_potential_energy()
