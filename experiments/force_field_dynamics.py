"""Stability of a trained force field: how far the energy drifts in molecular dynamics that conserves it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed
from ase.io import Trajectory
from ase.md.velocitydistribution import Stationary, ZeroRotation
from ase.md.verlet import VelocityVerlet
from ase.neighborlist import natural_cutoffs, neighbor_list
from tqdm import tqdm

from experiments.force_field_predict import ForceFieldCalculator, load_force_field
from jaxphys import report
from jaxphys.data import read_xyz
from jaxphys.units import BOLTZMANN_IN_EV_PER_KELVIN

START = "start.xyz"
TIMESTEP = 0.5  # fs: the fastest vibration, that of O–H, takes 9
BAR = 1.0  # meV an atom
RECORD_EVERY = 10  # steps
SAVE_EVERY = 100  # steps
BONDED = 1.2  # atoms closer than so many times their covalent radii
LARGEST_STRETCH = 0.5  # Å, of a bond: the criterion of Fu et al., TMLR 2023 (arXiv 2210.07237)


@dataclasses.dataclass(frozen=True)
class Drift:
    """Of a total energy over a run. fitted: end minus start of its least-squares line, meV an atom.

    largest: largest deviation from the first value, meV an atom.
    """

    fitted: float
    largest: float


def energy_drift(time: np.ndarray, energy: np.ndarray, atoms: int) -> Drift:
    """Drift of total energies in eV, (records,), at times in any unit, (records,), of a number of atoms.

    Raises ValueError for less than three records.
    """
    if len(energy) < 3:
        raise ValueError(f"a drift needs at least 3 energies, got {len(energy)}; run for longer")
    slope = np.polynomial.Polynomial.fit(time, energy, 1).convert().coef[1]
    scale = 1e3 / atoms
    return Drift(
        fitted=float(scale * slope * (time[-1] - time[0])),
        largest=float(scale * np.max(np.abs(energy - energy[0]))),
    )


def run_dynamics(
    checkpoint: Path,
    *,
    picoseconds: float,
    temperature: float = 300.0,
    timestep: float = TIMESTEP,
    start: Path | None = None,
    seed: int = 0,
    out: Path | None = None,
) -> Drift:
    """Velocity Verlet at constant energy from a run's lowest training frame, or the molecule of a file.

    picoseconds: duration. temperature: K, of the first velocities. timestep: fs. Leaves dynamics.json,
    dynamics.png and the trajectory dynamics.traj in `out`, by default the run folder, and prints the drift.
    Raises ValueError for arguments of no use and for a molecule that comes apart.
    """
    steps = round(1e3 * picoseconds / timestep) if timestep > 0 else 0
    if steps < 2 * RECORD_EVERY:
        raise ValueError(f"{picoseconds:g} ps in steps of {timestep:g} fs are {steps}; at least "
                         f"{2 * RECORD_EVERY} are needed")  # fmt: skip
    if not temperature >= 0:
        raise ValueError(f"temperature must not be negative, in K, got {temperature:g}")
    force_field = load_force_field(checkpoint)
    out = out or checkpoint
    out.mkdir(parents=True, exist_ok=True)
    atoms = _first_atoms(start or checkpoint / START, temperature, seed)
    atoms.calc = ForceFieldCalculator(force_field)
    with Trajectory(out / "dynamics.traj", "w", atoms) as trajectory:
        records = simulate(atoms, steps, timestep, trajectory=trajectory)
    drift = energy_drift(records["time_ps"], records["total_energy_ev"], len(atoms))
    _leave(out, records, drift, atoms, temperature=temperature, timestep=timestep, seed=seed)
    return drift


def simulate(atoms: Atoms, steps: int, timestep: float, *, trajectory: Any = None) -> dict[str, np.ndarray]:
    """Velocity Verlet at constant energy: time (ps), total energy (eV), temperature (K), each (records,).

    Raises ValueError for a bond that has changed by more than 0.5 Å, or an energy that is not finite.
    """
    dynamics = VelocityVerlet(atoms, timestep=timestep * units.fs)
    first, second = neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=BONDED))
    lengths = np.linalg.norm(atoms.positions[first] - atoms.positions[second], axis=1)
    records: list[tuple[float, float, float]] = []

    def record() -> None:
        time = dynamics.nsteps * timestep / 1e3
        records.append((time, atoms.get_total_energy(), atoms.get_temperature()))
        now = np.linalg.norm(atoms.positions[first] - atoms.positions[second], axis=1)
        if len(now) and not np.max(np.abs(now - lengths)) < LARGEST_STRETCH:
            worst = int(np.argmax(np.abs(now - lengths)))
            raise ValueError(
                f"the molecule came apart after {time:.3f} ps: the bond of atoms {first[worst]} and "
                f"{second[worst]} went from {lengths[worst]:.2f} to {now[worst]:.2f} Å"
            )

    dynamics.attach(record, interval=RECORD_EVERY)
    if trajectory is not None:
        dynamics.attach(trajectory.write, interval=SAVE_EVERY)
    with tqdm(total=steps, desc="dynamics", unit="step", mininterval=10.0) as bar:
        dynamics.attach(lambda: bar.update(dynamics.nsteps - bar.n), interval=SAVE_EVERY)
        try:
            dynamics.run(steps)
        except CalculationFailed as error:
            raise ValueError(f"the molecule came apart: {error}") from None
    columns = np.array(records).T
    return dict(zip(("time_ps", "total_energy_ev", "temperature_k"), columns, strict=True))


def _first_atoms(path: Path, temperature: float, seed: int) -> Atoms:
    molecule = read_xyz(path)[0]
    atoms = Atoms(molecule.numbers, molecule.positions, info={"charge": molecule.charge})
    spread = np.sqrt(BOLTZMANN_IN_EV_PER_KELVIN * temperature * atoms.get_masses())[:, None]
    atoms.set_momenta(spread * np.random.default_rng(seed).standard_normal((len(atoms), 3)))
    Stationary(atoms)
    ZeroRotation(atoms)
    return atoms


def _leave(out: Path, records: dict[str, np.ndarray], drift: Drift, atoms: Atoms, **conditions: Any) -> None:
    time, energy, temperature = records.values()
    verdict = "within" if abs(drift.fitted) <= BAR else "beyond"
    print(
        f"{atoms.get_chemical_formula()}: {time[-1]:g} ps at constant energy in steps of "
        f"{conditions['timestep']:g} fs, velocities of {conditions['temperature']:g} K to begin with\n"
        f"  drift of the total energy   {drift.fitted:+.4f} meV/atom by linear fit, {verdict} {BAR:g}\n"
        f"  largest deviation           {drift.largest:.4f} meV/atom\n"
        f"  temperature                 {temperature.mean():.0f} K, {temperature.max():.0f} at most; "
        f"no bond changed by more than {LARGEST_STRETCH:g} Å"
    )
    report.save_json(out / "dynamics.json", {**conditions, **dataclasses.asdict(drift), **records})
    report.plot_curves(
        out / "dynamics.png",
        {"total energy": (time, 1e3 * (energy - energy[0]) / len(atoms))},
        xlabel="time (ps)",
        ylabel="deviation (meV/atom)",
        title="Total energy at constant energy",
        log=False,
    )
