"""Dynamics at constant energy: its drift against known motions, and molecules that come apart."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from experiments.force_field_dynamics import energy_drift, simulate


def test_the_drift_of_a_known_line_and_wave():
    time = np.linspace(0.0, 10.0, 2001)
    wave = 0.006 * np.sin(2 * np.pi * 50 * time)
    drift = energy_drift(time, -4000.0 + 0.003 * time + wave, atoms=3)
    assert np.isclose(drift.fitted, 10.0, rtol=1e-2)  # 30 meV on 3 atoms
    assert np.isclose(drift.largest, 12.0, rtol=1e-2)  # and the wave's 6
    with pytest.raises(ValueError, match="at least 3"):
        energy_drift(time[:2], time[:2], atoms=3)


class Spring(Calculator):
    """½ k (r − 1)² between two atoms, and a force that does not belong to it: `error` times the true one."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  ASE has it so
    stiffness, error = 30.0, 0.0  # eV/Å²

    def calculate(self, atoms=None, properties=(), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        vector = self.atoms.positions[1] - self.atoms.positions[0]
        length = np.linalg.norm(vector)
        pull = self.stiffness * (length - 1) * vector / length
        # along the motion, so that the energy grows
        pull = pull - self.error * (self.atoms.get_velocities()[1] - self.atoms.get_velocities()[0])
        self.results = {
            "energy": 0.5 * self.stiffness * (length - 1) ** 2,
            "forces": np.stack([pull, -pull]),
        }


def test_dynamics_conserves_an_oscillators_energy_and_sees_one_that_is_not():
    """Velocity Verlet: the energy of an oscillator oscillates by (ω dt)²/8 of itself, and does not drift."""
    drifts = []
    for error in (0.0, 1e-3):
        atoms = Atoms("N2", [[0, 0, 0], [0, 0, 1.1]])
        atoms.calc = Spring()
        atoms.calc.error = error
        records = simulate(atoms, 2000, 0.5)
        assert np.isclose(records["time_ps"][-1], 1.0) and len(records["time_ps"]) == 201
        assert np.isclose(records["total_energy_ev"][0], 0.15)
        drifts.append(energy_drift(records["time_ps"], records["total_energy_ev"], 2))
    omega = np.sqrt(2 * Spring.stiffness / atoms.get_masses()[0])
    wave = (omega * 0.5 * units.fs) ** 2 / 4 * 0.15 * 1e3 / 2
    assert 0.5 * wave < drifts[0].largest < 1.5 * wave
    assert abs(drifts[0].fitted) < 0.05 * wave
    assert abs(drifts[1].fitted) > 20 * abs(drifts[0].fitted)


def test_dynamics_says_when_a_bond_breaks():
    atoms = Atoms("N2", [[0, 0, 0], [0, 0, 1.1]], momenta=[[0, 0, 0], [0, 0, 10.0]])
    atoms.calc = Spring()
    atoms.calc.stiffness = 0.0
    with pytest.raises(
        ValueError, match=r"came apart after 0.0\d* ps: the bond of atoms \d and \d went from 1.10"
    ):
        simulate(atoms, 1000, 0.5)
