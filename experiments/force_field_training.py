"""The training run of `experiments.force_field`: model, loss, and the errors along the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jax.sharding import Mesh

from experiments import stages
from experiments.force_field_data import Examples, make_examples, mean_neighbours
from experiments.force_field_presets import Preset
from experiments.stages import map_batches
from jaxphys import losses
from jaxphys.data import EnergyData
from jaxphys.models import EnergyConfig, EnergyModel, energy_fn

EVALUATION_BATCH = 10
STAGE = "training"

Predictor = Callable[[Any], tuple[np.ndarray, np.ndarray]]  # params -> energies (N,), forces (N, n, 3)


def model_config(preset: Preset, train: EnergyData) -> EnergyConfig:
    """Sizes of the preset; elements, scale and neighbours of the training set. Reference energies stay out.

    Total energies of thousands of eV would cost the float32 network its digits of meV.
    """
    assert train.forces is not None
    spread = float(np.sqrt(np.mean(train.forces**2)))
    config = EnergyConfig(species=train.elements, scale=spread or 1.0, **preset.model)
    sizes = {"neighbours": round(mean_neighbours(train, config.cutoff), 3)} | preset.model
    return EnergyConfig(species=train.elements, scale=spread or 1.0, **sizes)


def initial_params(config: EnergyConfig, examples: Examples, common: Any, seed: int) -> Any:
    """Random parameters of the model, float32 in 64-bit mode too."""
    graph = common if common is not None else jax.tree.map(lambda leaf: leaf[0], examples.graph)
    params = jax.jit(EnergyModel(config).init)(jax.random.key(seed), graph)
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)


def frame_energy(config: EnergyConfig, params: Any, example: Any, common: jraph.GraphsTuple | None) -> Any:
    """Energy function of one example, (n, 3) in Å to () in eV without the atoms' own."""
    return energy_fn(EnergyModel(config), params, example.graph if common is None else common)


def make_loss(preset: Preset, config: EnergyConfig, common: Any) -> Callable[..., Any]:
    """The sum of `losses.energy_and_force_matching` over a batch, in units of the spread of the forces.

    The forces' part is the mean square over components, the energy's that per atom with the preset's weight.
    """

    def one(params: Any, example: Any) -> Any:
        return losses.energy_and_force_matching(
            frame_energy(config, params, example, common),
            example.positions,
            example.energy,
            example.forces,
            energy_weight=preset.energy_weight / config.scale**2,
            force_weight=1 / (3 * config.scale**2),
            mask=example.mask,
            per_atom=True,
        )

    def loss_fn(params: Any, batch: Examples, key: Any) -> tuple[Any, Any, dict[str, Any]]:
        values = jax.vmap(one, in_axes=(None, 0))(params, batch)
        return jnp.sum(values), jnp.asarray(float(len(batch)), values.dtype), {}

    return loss_fn


def make_predictor(config: EnergyConfig, data: EnergyData) -> Predictor:
    """Energies without atoms, (N,) in eV, and forces, (atoms, 3) in eV/Å, of a set by parameters."""
    examples, common = make_examples(data)

    def one(params: Any, example: Any) -> tuple[Any, Any]:
        energy, gradient = jax.value_and_grad(frame_energy(config, params, example, common))(
            example.positions
        )
        return energy, -gradient

    solve = jax.jit(jax.vmap(one, in_axes=(None, 0)))
    rows = np.arange(int(data.n_atoms.max())) < data.n_atoms[:, None]

    def predict(params: Any) -> tuple[np.ndarray, np.ndarray]:
        found = map_batches(lambda batch: solve(params, batch), examples, min(EVALUATION_BATCH, len(data)))
        energy, forces = (np.asarray(part, np.float64) for part in found)
        return energy, forces[rows]

    return predict


def errors(data: EnergyData, energy: np.ndarray, forces: np.ndarray) -> dict[str, float]:
    """Mean absolute errors: energy in eV and eV an atom, force components in eV/Å over all atoms alike."""
    assert data.forces is not None
    off = np.abs(energy - data.energy)
    return {
        "energy_mae": float(np.mean(off)),
        "energy_mae_per_atom": float(np.mean(off / data.n_atoms)),
        "force_mae": float(np.mean(np.abs(forces - data.forces))),
    }


def train(
    preset: Preset,
    config: EnergyConfig,
    data: EnergyData,
    validation: EnergyData,
    *,
    run_config: dict[str, Any],
    folder: Path,
    seed: int,
    mesh: Mesh | None = None,
) -> tuple[Any, float]:
    """Averaged parameters after the preset's run, and its seconds; errors on `validation` go to the log.

    data, validation: with the atoms' energies subtracted.
    """
    examples, common = make_examples(data)
    predict = make_predictor(config, validation)

    def validate(step: int, state: Any) -> dict[str, float]:
        found = errors(validation, *predict(state.ema))
        return {f"validation_{name}": value for name, value in found.items()}

    stage = preset.training
    return stages.run_stage(
        STAGE,
        make_loss(preset, config, common),
        examples,
        initial_params(config, examples, common, seed),
        stage,
        run_config=run_config,
        folder=folder,
        seed=seed,
        ema_decay=preset.ema_decay,
        checkpoint_every=preset.checkpoint_every,
        mesh=mesh,
        warmup=preset.warmup,
        clip=preset.clip,
        callback=validate,
        callback_every=max(stage.steps // preset.evaluations, 1),
    )
