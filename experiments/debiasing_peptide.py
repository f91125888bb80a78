"""Alanine dipeptide for `experiments.debiasing`: Amber with implicit water, exchange of temperatures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Array
from rdkit import Chem

from experiments.debiasing_systems import FLOAT, Column, Denoiser, Ensemble, System, ensemble
from jaxphys import data, energies, metrics, models, sampling
from jaxphys.energies.openmm_systems import PHI, PSI
from jaxphys.roles import EnergyFunction
from jaxphys.units import BOLTZMANN_IN_EV_PER_KELVIN, KCAL_PER_MOL_IN_EV

COLD, HOT = 300.0, 600.0
RATIO = 2 ** (1 / 3)
"""Between neighbouring temperatures, of which the highest is 952 K: four in ten exchanges succeed."""

LEAPFROG, KEPT, APART, WARM = 20, 100, 3, 80
"""Steps of a trajectory; of each ladder: how many samples, so many sweeps apart, after so many lost."""

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
        biased={"local": lambda key, count: _at(energy_fn, key, start, hot, count)[:count]},
        reference=partial(_reference, energy_fn, start, cold),
        denoiser=partial(_bonded_denoiser, bonded_graph(molecule)),
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
        surface=lambda positions: dihedrals(Ensemble(positions, np.zeros(len(positions)))),
        surface_edges=ANGLES,
        surface_labels=("φ (rad)", "ψ (rad)"),
        notes={
            "KL φ, KL ψ": "divergence of the samples' histogram of 200 bins from the reference's, in nats",
            "torus W2": "of φ and ψ together, in radians, 2,000 samples",
            "ΔF": "of 0 < φ < 120°, the axial basin, against the rest, 95 % interval",
        },
    )


def _check_labels(molecule: energies.MolecularSystem, energy_fn: EnergyFunction) -> None:
    """Raise ValueError unless OpenMM's own forces at displaced geometries are the slope of the energy."""
    noise = 0.03 * np.random.default_rng(0).normal(size=(4, *molecule.positions.shape))
    positions = (molecule.positions + noise).astype(np.float32)
    _, forces = energies.openmm_labels(molecule.system, positions, platform="Reference")
    energies.check_forces(energy_fn, positions, forces)


def bonded_graph(molecule: energies.MolecularSystem) -> jraph.GraphsTuple:
    """The graph that a `Denoiser` sees, with the hand of the molecule; bonds to oxygen are double."""
    mol = Chem.RWMol()
    for number in molecule.numbers:
        atom = Chem.Atom(int(number))
        atom.SetNoImplicit(True)
        mol.AddAtom(atom)
    for bond in molecule.topology.bonds():
        ends = bond[0].index, bond[1].index
        double = any(molecule.numbers[end] == 8 for end in ends)
        mol.AddBond(*ends, Chem.BondType.DOUBLE if double else Chem.BondType.SINGLE)
    Chem.SanitizeMol(mol)
    return data.bond_graph(mol.GetMol(), np.asarray(molecule.positions, np.float32))


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


def _cosine_of_phi(positions: Array) -> Array:
    """cos φ of one molecule, for JAX, () : what the check of a reference looks at beside the energy."""
    a, b, c, d = (positions[atom] for atom in PHI)
    one, axis, other = b - a, c - b, d - c
    left, right = jnp.cross(one, axis), jnp.cross(axis, other)
    return jnp.sum(left * right) / jnp.sqrt(jnp.sum(left**2) * jnp.sum(right**2))


def _bonded_denoiser(
    graph: jraph.GraphsTuple, sizes: Mapping[str, Any], clean: Array
) -> tuple[Any, Denoiser]:
    config = models.DenoiserConfig(species=(1, 6, 7, 8), spread=float(jnp.std(clean)), **sizes)
    model = models.Denoiser(config)

    def denoise(params: Any, positions: Any, sigma: Any) -> Any:
        return models.denoise_fn(model, params, graph)(positions, sigma)

    return lambda key: model.init(key, graph, jnp.ones((), FLOAT)), denoise


def _tempered(
    energy_fn: EnergyFunction, key: Any, start: Array, kt: float, ladders: int
) -> sampling.Tempered:
    """Runs of ladders from this temperature to 952 K, that begin displaced by 0.01 Å."""
    of_start, of_run = jax.random.split(key)
    highest = BOLTZMANN_IN_EV_PER_KELVIN * COLD * RATIO**5
    kts = kt * RATIO ** jnp.arange(round(np.log(highest / kt) / np.log(RATIO)) + 1)
    starts = start + 0.01 * jax.random.normal(of_start, (ladders, *start.shape), FLOAT)
    return sampling.parallel_tempering(
        energy_fn,
        of_run,
        starts,
        kts=kts,
        sweeps=KEPT * APART,
        burn_in=WARM,
        keep_every=APART,
        leapfrog=LEAPFROG,
        centre=True,
    )


def _at(energy_fn: EnergyFunction, key: Any, start: Array, kt: float, count: int) -> Array:
    """Samples of the lowest temperature of such runs, (draws · ladders, n, 3), at least so many."""
    ladders = max(4, -(-count // KEPT))
    found = _tempered(energy_fn, key, start, kt, ladders).positions[:, :, 0]
    return jnp.reshape(found, (-1, *start.shape))


def _reference(energy_fn: EnergyFunction, start: Array, kt: float, key: Any, count: int) -> Ensemble:
    """Two runs, one from the axial basin, which agree on energy and φ and fulfil the virial."""
    of_start, *of_runs = jax.random.split(key, 3)
    other = _axial_start(energy_fn, of_start, start)
    ladders = max(4, -(-count // (2 * KEPT)))
    runs = [
        _tempered(energy_fn, own, own_start, kt, ladders).positions[:, :, 0]
        for own, own_start in zip(of_runs, (start, other), strict=True)
    ]
    sampling.check_reference(
        energy_fn,
        *runs,
        kt=kt,
        degrees_of_freedom=3 * (len(start) - 1),
        observables={"cos φ": _cosine_of_phi},
    )
    return ensemble(
        energy_fn, jnp.concatenate([jnp.reshape(run, (-1, *start.shape)) for run in runs])[:count]
    )


def _axial_start(energy_fn: EnergyFunction, key: Any, start: Array) -> Array:
    """A structure of the axial basin, from the hot ensemble."""
    found = _at(energy_fn, key, start, BOLTZMANN_IN_EV_PER_KELVIN * HOT, 8 * KEPT)
    inside = np.flatnonzero(axial(np.asarray(found)))
    if not len(inside):
        raise sampling.NotMixed(f"none of {len(found)} samples of {HOT:.0f} K lies in the axial basin")
    return found[int(inside[-1])]
