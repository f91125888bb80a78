"""A trained Hamiltonian model applied to a user's own molecules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.hamiltonian_data import make_examples
from experiments.hamiltonian_training import predict
from jaxphys import dft
from jaxphys.data import Method, read_xyz
from jaxphys.losses import self_consistency
from jaxphys.models import HamiltonianConfig
from jaxphys.molecule import Molecule
from jaxphys.training import load_params
from jaxphys.units import ATOMIC_DIPOLE_IN_DEBYE, HARTREE_IN_EV


def predict_files(checkpoint: Path, files: list[Path], *, out: Path | None) -> None:
    """Predict every molecule of the XYZ files, print a summary and write one .npz a molecule."""
    params, config, method, usual = load_model(checkpoint)
    molecules = [(path, read_xyz(path)) for path in files]
    for path, frames in molecules:
        for frame in frames:
            _check(frame, config, path)
    for path, frames in molecules:
        for index, frame in enumerate(frames):
            result = predict_molecule(config, params, method, frame)
            folder = out or path.parent
            folder.mkdir(parents=True, exist_ok=True)
            target = folder / (f"{path.stem}.npz" if len(frames) == 1 else f"{path.stem}-{index}.npz")
            np.savez(target, **result)
            print(_describe(f"{path.name}, frame {index}", result, usual, target))


def load_model(checkpoint: Path) -> tuple[Any, HamiltonianConfig, Method, float | None]:
    """Parameters, sizes and level of theory of a run folder or one of its stages."""
    stage = checkpoint / "variational" if (checkpoint / "variational").is_dir() else checkpoint
    params, config, _ = load_params(stage)
    if config.get("experiment") != "hamiltonian":
        raise ValueError(
            f"{stage} is no checkpoint of experiments.hamiltonian, its config says {config}"[:300]
        )
    model = dict(config["model"])
    model["shells"] = tuple((z, tuple(shells)) for z, shells in model["shells"])
    results = stage.parent / "results.json"
    usual = None
    if results.exists():
        tested = json.loads(results.read_text()).get("test", {}).get(stage.name)
        usual = tested["mean"]["residual"] if tested else None
    return params, HamiltonianConfig(**model), Method(**config["method"]), usual


def _check(molecule: Molecule, config: HamiltonianConfig, path: Path) -> None:
    known = {z for z, _ in config.shells}
    unknown = sorted(set(molecule.numbers.tolist()) - known)
    if unknown:
        raise ValueError(
            f"{path}: the model was trained on elements {sorted(known)} and does not know {unknown}"
        )
    if molecule.charge:
        raise ValueError(
            f"{path}: the model was trained on neutral molecules, not on charge {molecule.charge}"
        )


def predict_molecule(
    config: HamiltonianConfig, params: Any, method: Method, molecule: Molecule
) -> dict[str, Any]:
    """Predicted matrices, levels, energy and residual (Ha) and dipole (e·Bohr) of one molecule."""
    examples = make_examples([molecule], method, config)

    @jax.jit
    def solve(params: Any, example: Any) -> dict[str, Any]:
        fock = predict(config, params, example)
        system = example.system
        density = dft.density(system, fock)
        energies, coefficients = dft.orbitals(system, fock)
        return {
            "fock": fock,
            "overlap": system.overlap,
            "density": density,
            "coefficients": coefficients,
            "orbital_energies": energies,
            "total_energy": dft.energy(system, density),
            "dipole": dft.dipole(system, density),
            "residual": self_consistency(system, fock) ** 0.5,
            "occupied": (system.occupation > 0).sum(),
        }

    result = jax.tree.map(np.asarray, solve(params, jax.tree.map(lambda leaf: leaf[0], examples)))
    n = int(np.sum(np.diagonal(result["overlap"]) > 0))
    cut = {"fock": 2, "overlap": 2, "density": 2, "coefficients": 2, "orbital_energies": 1}
    return {name: value[(slice(n),) * cut[name]] if name in cut else value for name, value in result.items()}


def _describe(title: str, result: dict[str, Any], usual: float | None, target: Path) -> str:
    energies = result["orbital_energies"] * HARTREE_IN_EV
    occupied = int(result["occupied"])
    dipole = np.linalg.norm(result["dipole"]) * ATOMIC_DIPOLE_IN_DEBYE
    residual = float(result["residual"]) * 1e6
    lines = [
        title,
        f"  total energy  {float(result['total_energy']):.6f} Eh, of the predicted density",
        f"  HOMO, LUMO    {energies[occupied - 1]:.3f}, {energies[occupied]:.3f} eV",
        f"  dipole        {dipole:.3f} D",
        f"  residual      {residual:.0f} µEh = ‖F[P̂] − Ĥ‖ per element: {_trust(residual, usual)}",
        f"  written       {target}",
    ]
    return "\n".join(lines)


def _trust(residual: float, usual: float | None) -> str:
    if usual is None:
        return "the run left no residual of its own to compare with"
    ratio = residual / (usual * 1e6)
    verdict = "trust it" if ratio < 2 else "use it with care" if ratio < 5 else "do not trust it"
    return f"{ratio:.1f} times the mean on the run's own test molecules, {verdict}"
