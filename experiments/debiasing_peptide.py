"""Alanine dipeptide for `experiments.debiasing`: Amber, implicit water, runs that cross barriers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array

from experiments.debiasing_systems import FLOAT, Column, Denoiser, Ensemble, System, ensemble
from jaxphys import energies, metrics, models, sampling
from jaxphys.energies.openmm_systems import PHI, PSI
from jaxphys.roles import EnergyFunction
from jaxphys.sampling.bond_rotations import rotated
from jaxphys.units import BOLTZMANN_IN_EV_PER_KELVIN, KCAL_PER_MOL_IN_EV

COLD, HOT = 300.0, 600.0
BONDS = ((6, 8, tuple(range(9, 22))), (8, 14, tuple(range(15, 22))))
"""The bonds of φ and ψ, with the atoms beyond."""

LEAPFROG, SWEEPS, TURNS = 20, 2, 4
"""A cycle: so many trajectories of so many steps, and so many tries to turn about each of the bonds."""

CALLS = 1 + SWEEPS * LEAPFROG + 1 + TURNS * len(BONDS)
"""Of the energy or its force, that a cycle takes for one walker."""

DRAWS, APART, WARM = 10, 4, 40
"""Of each walker: how many samples, so many cycles apart, after so many cycles that are thrown away."""

ANGLES = (-np.pi + 2 * np.pi * np.arange(73) / 72,) * 2


def alanine_dipeptide() -> System:
    """Alanine dipeptide at 300 K from samples of 600 K, amber14 and OBC1, nothing constrained."""
    molecule = energies.alanine_dipeptide()
    energy_fn = energies.openmm_energy(molecule.system)
    _check_labels(molecule, energy_fn)
    start = jnp.asarray(molecule.positions, FLOAT)
    cold, hot = (BOLTZMANN_IN_EV_PER_KELVIN * kelvin for kelvin in (COLD, HOT))
    return System(
        name="alanine_dipeptide",
        title="alanine dipeptide",
        energy_fn=energy_fn,
        shape=(len(start), 3),
        kt=cold,
        hot=hot,
        centre=True,
        levels=(0.005, 10.0),
        step=0.015,
        biased={
            "local": lambda key, count: pooled(
                crossing_equilibrium(energy_fn, key, start, kt=hot, walkers=-(-count // DRAWS))
            )[:count]
        },
        reference=partial(_reference, energy_fn, start, cold),
        denoiser=partial(_framed_denoiser, start),
        crossing=partial(_crossing, energy_fn, cold),
        columns={
            "KL φ": Column(_phi, metrics.angle_divergence, 10_000),
            "KL ψ": Column(_psi, metrics.angle_divergence, 10_000),
            "torus W2": Column(dihedrals, metrics.torus_wasserstein, 2000),
            "E-W2": Column(lambda e: e.energies, metrics.energy_wasserstein),
            "E-W1": Column(lambda e: e.energies, partial(metrics.energy_wasserstein, p=1)),
        },
        unit="eV",
        basin=axial,
        free_energy_unit=("kcal/mol", KCAL_PER_MOL_IN_EV),
        surface=lambda positions: dihedrals(Ensemble(positions, *2 * [np.zeros(len(positions))])),
        surface_edges=ANGLES,
        surface_labels=("φ (rad)", "ψ (rad)"),
        notes={
            "KL φ, KL ψ": "KL(reference ‖ samples) of histograms of 200 bins, in nats",
            "torus W2": "of φ and ψ together, in radians, 2,000 samples",
            "ΔF": "of 0 < φ < 120°, the axial basin, against the rest",
        },
    )


def _check_labels(molecule: energies.MolecularSystem, energy_fn: EnergyFunction) -> None:
    """Raise ValueError unless OpenMM's own forces at displaced geometries are the slope of the energy."""
    noise = 0.03 * np.random.default_rng(0).normal(size=(4, *molecule.positions.shape))
    positions = (molecule.positions + noise).astype(np.float32)
    _, forces = energies.openmm_labels(molecule.system, positions, platform="Reference")
    energies.check_forces(energy_fn, positions, forces)


def axial(positions: np.ndarray) -> np.ndarray:
    """Which of the samples (k, n, 3) have 0 < φ < 120°: beyond, up to 180°, lies the extended basin."""
    phi = metrics.dihedral(positions, np.array(PHI))
    return (phi > 0) & (phi < 2 * np.pi / 3)


def dihedrals(samples: Ensemble) -> np.ndarray:
    """φ and ψ in radians, (k, 2)."""
    return metrics.dihedral(samples.positions, np.array([PHI, PSI]))


def _phi(samples: Ensemble) -> np.ndarray:
    return metrics.dihedral(samples.positions, np.array(PHI))


def _psi(samples: Ensemble) -> np.ndarray:
    return metrics.dihedral(samples.positions, np.array(PSI))


def _sine(atoms: tuple[int, int, int, int], positions: Array) -> Array:
    """The sine of a dihedral of one molecule, (): that of φ tells the axial basin from the rest."""
    a, b, c, d = (positions[atom] for atom in atoms)
    axis = c - b
    left, right = jnp.cross(b - a, axis), jnp.cross(axis, d - c)
    size = jnp.sqrt(jnp.sum(left**2) * jnp.sum(right**2) * jnp.sum(axis**2))
    return jnp.sum(jnp.cross(left, right) * axis) / size


def _framed_denoiser(
    native: Array, sizes: Mapping[str, Any], clean: Array
) -> tuple[Callable[[Any], Any], Denoiser]:
    frame = models.frame_of(native, clean)
    model = models.FramedDenoiser(models.FramedConfig(**sizes))

    def denoise(params: Any, positions: Any, sigma: Any) -> Any:
        return model.apply(params, models.framed_graph(positions, frame), sigma)

    return lambda key: model.init(key, models.framed_graph(clean[0], frame), jnp.ones((), FLOAT)), denoise


def crossing_equilibrium(
    energy_fn: EnergyFunction, key: Any, start: Array, *, kt: float, walkers: int
) -> Array:
    """Samples (draws, walkers, n, 3) that begin at one structure, displaced by 0.01 Å.

    Trajectories do all but the barriers of φ, which at 300 K they cross once in hundreds of sweeps, and turns
    about the bonds do those.
    """
    of_start, of_step, of_cycles = jax.random.split(key, 3)
    positions = start + 0.01 * jax.random.normal(of_start, (walkers, *start.shape), FLOAT)
    few = positions[: min(walkers, 250)]
    step = sampling.tune_step_size(energy_fn, of_step, few, kt=kt, leapfrog=LEAPFROG, centre=True).step_size
    kept = []
    for number in range(WARM + DRAWS * APART):
        key = jax.random.fold_in(of_cycles, number)
        positions = _cycle(Partial(energy_fn), key, positions, kt, step)
        if number >= WARM and (number - WARM + 1) % APART == 0:
            kept.append(positions)
    return jnp.stack(kept)


@jax.jit
def _cycle(energy_fn: Any, key: Any, positions: Array, kt: Any, step: Any) -> Array:
    of_turns, of_sweeps = jax.random.split(key)
    turned = sampling.rotate_bonds(energy_fn, of_turns, positions, kt=kt, bonds=TURNS * BONDS).positions
    settings: dict[str, Any] = {"sweeps": SWEEPS, "keep_every": SWEEPS, "leapfrog": LEAPFROG, "centre": True}
    moved = sampling.hmc(energy_fn, of_sweeps, turned, kt=kt, step_size=step, **settings)
    return moved.positions[-1]


def _crossing(
    energy_fn: EnergyFunction, kt: float, key: Any, start: Array, *, step: float, calls: int
) -> tuple[Array, int]:
    """The samples after as many cycles as there are calls for in all, and the calls."""
    cost = len(start) * CALLS
    cycles = max(1, round(calls / cost))
    positions = jnp.asarray(start, FLOAT)
    for number in range(cycles):
        positions = _cycle(Partial(energy_fn), jax.random.fold_in(key, number), positions, kt, step)
    return positions, cycles * cost


def pooled(samples: Array) -> Array:
    """All draws of all walkers, (draws · walkers, n, 3)."""
    return jnp.reshape(samples, (-1, *samples.shape[2:]))


def _reference(energy_fn: EnergyFunction, start: Array, kt: float, key: Any, count: int) -> Ensemble:
    """Two runs, one from the axial basin, which agree on energy, φ and ψ and fulfil the virial."""
    walkers = -(-count // (2 * DRAWS))
    # from −80° to 60°
    starts = start, rotated(start, np.radians(140), BONDS[0])
    runs = [
        crossing_equilibrium(energy_fn, own, own_start, kt=kt, walkers=walkers)
        for own, own_start in zip(jax.random.split(key), starts, strict=True)
    ]
    sampling.check_reference(
        energy_fn,
        *runs,
        kt=kt,
        degrees_of_freedom=3 * (len(start) - 1),
        observables={"sin φ": partial(_sine, PHI), "sin ψ": partial(_sine, PSI)},
    )
    samples = jnp.concatenate([pooled(run) for run in runs])
    owners = np.concatenate([np.arange(len(samples) // 2) % walkers + side * walkers for side in (0, 1)])
    return ensemble(energy_fn, samples[:count], owners[:count])
