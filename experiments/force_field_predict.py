"""A trained force field at work: on files of molecules, and as a calculator of ASE."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from experiments.force_field_data import frame_graph
from experiments.force_field_training import STAGE
from jaxphys.data import read_xyz
from jaxphys.models import EnergyConfig, EnergyModel, check_species, energy_fn
from jaxphys.molecule import graph_sizes
from jaxphys.training import load_params


@dataclasses.dataclass(frozen=True)
class ForceField:
    """A trained model. atomic_energies: eV by atomic number, which the network's energies lack."""

    config: EnergyConfig
    params: Any
    atomic_energies: Mapping[int, float]

    def energy_and_forces(
        self, numbers: np.ndarray, positions: np.ndarray, charge: int = 0
    ) -> tuple[float, np.ndarray]:
        """Energy in eV and forces (n, 3) in eV/Å at positions (n, 3) in Å, in float64 throughout.

        Molecules of one size bucket share one compiled program. Raises ValueError for unknown elements.
        """
        check_species(self.config, numbers)
        n_node, _ = graph_sizes(len(numbers))
        with jax.enable_x64(True):
            graph = frame_graph(numbers, np.asarray(positions), charge, n_node)
            padded = np.zeros((n_node, 3))
            padded[: len(numbers)] = positions
            energy, gradient = _solve(self.config, self.params, graph, jnp.asarray(padded))
            atoms = sum(self.atomic_energies[int(z)] for z in numbers)
            return float(energy) + atoms, -np.asarray(gradient)[: len(numbers)]


@functools.partial(jax.jit, static_argnums=0)
def _solve(config: EnergyConfig, params: Any, graph: Any, positions: Any) -> tuple[Any, Any]:
    return jax.value_and_grad(energy_fn(EnergyModel(config), params, graph))(positions)


class ForceFieldCalculator(Calculator):
    """A `ForceField` as a calculator of ASE, for any molecules; a charge is taken from `atoms.info`.

    Raises ASE's CalculationFailed where the energy or a force is not finite, ValueError for periodic atoms
    and unknown elements.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  ASE has it so

    def __init__(self, force_field: ForceField, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.force_field = force_field

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        """ASE's entry: fills `results` for the atoms."""
        super().calculate(atoms, properties, system_changes)
        current: Any = self.atoms
        if current.pbc.any():
            raise ValueError("the force field is for molecules: set atoms.pbc = False")
        energy, forces = self.force_field.energy_and_forces(
            current.numbers, current.positions, int(current.info.get("charge", 0))
        )
        if not (np.isfinite(energy) and np.all(np.isfinite(forces))):
            raise CalculationFailed(f"the model gave {energy} eV for {current.get_chemical_formula()}")
        self.results = {"energy": energy, "forces": forces}


def calculator(run: str | Path) -> ForceFieldCalculator:
    """The force field of a run folder as a calculator of ASE."""
    return ForceFieldCalculator(load_force_field(Path(run)))


def load_force_field(run: Path) -> ForceField:
    """The averaged parameters of a run folder, or of its folder of checkpoints.

    Raises ValueError if there are none, or they are of another experiment.
    """
    stage = run / STAGE if (run / STAGE).is_dir() else run
    params, config, _ = load_params(stage)
    if config.get("experiment") != "force_field":
        raise ValueError(
            f"{stage} is no checkpoint of experiments.force_field, its config says {config}"[:300]
        )
    model: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in config["model"].items()
    }
    energies = {int(z): float(energy) for z, energy in config["atomic_energies"].items()}
    return ForceField(EnergyConfig(**model), params, energies)


def predict_files(checkpoint: Path, files: list[Path], *, out: Path | None) -> None:
    """Energies (eV) and forces (eV/Å) of every molecule of the XYZ files, to FILE.predicted.xyz."""
    force_field = load_force_field(checkpoint)
    molecules = {path: read_xyz(path) for path in files}
    for path, frames in molecules.items():
        for index, frame in enumerate(frames):
            try:
                check_species(force_field.config, frame.numbers)
            except ValueError as error:
                raise ValueError(f"{path}, frame {index}: {error}") from None
    for path, frames in molecules.items():
        target = (out or path.parent) / f"{path.stem}.predicted.xyz"
        target.parent.mkdir(parents=True, exist_ok=True)
        predicted = []
        for frame in frames:
            energy, forces = force_field.energy_and_forces(frame.numbers, frame.positions, frame.charge)
            atoms = Atoms(frame.numbers, frame.positions, info={"charge": frame.charge})
            if frame.name:
                atoms.info["name"] = frame.name
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
            predicted.append(atoms)
            size = np.sqrt(np.mean(forces**2))
            print(
                f"{path.name}, frame {len(predicted) - 1}: {energy:.4f} eV, forces of {size:.3f} eV/Å (rms)"
            )
        write(target, predicted, format="extxyz")
        print(f"written: {target}")
