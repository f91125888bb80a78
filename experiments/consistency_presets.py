"""What `experiments.consistency` trains on, by which laws, for how long, and how it samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments.consistency_levels import B3LYP, GFN2
from experiments.consistency_molecules import MOLECULES, VALIDATION, smallest
from experiments.consistency_sampling import Sampler
from experiments.stages import Stage
from jaxphys.data.conformers import ForceFieldMethod

FIRST = "multitask-first"
"""The stage that the arms fork from."""

LOW = "low-level"
"""The stage between that and the control, in which the energies become those of the force field."""

ARMS: dict[str, tuple[str, ...]] = {
    "multitask": ("structure", "energy"),
    "optimality": ("structure", "energy", "optimality"),
    "score": ("structure", "energy", "score"),
    "both": ("structure", "energy", "optimality", "score"),
    "both-forces": ("structure", "forces", "optimality", "score"),
    "proximal": ("structure", "energy", "proximal"),
    "control": ("structure", "low_energy", "proximal"),
}
"""The laws of each arm."""

BEFORE: dict[str, tuple[str, ...]] = {
    FIRST: ("structure", "energy"),
    LOW: ("structure", "low_energy"),
}
"""The laws of the stages before the arms."""


@dataclass(frozen=True)
class Weights:
    """Of the laws. structure multiplies the denoising loss in units of the network's output; energy, in eV⁻²,
    squared differences of energies between two geometries of a molecule, and offset those of the energies
    themselves; forces in Å²/eV²; optimality in eV⁻¹; score and proximal have no unit."""

    structure: float = 1.0
    energy: float = 1.0
    offset: float = 0.1
    forces: float = 0.3
    optimality: float = 5.0
    score: float = 5.0
    proximal: float = 10.0


@dataclass(frozen=True)
class Preset:
    """Molecules as SMILES, their labels, the laws' ranges of noise, the model, and a stage for each arm.

    level: of the good energies, a key of LEVELS; low_level: the force field whose minima are the structures.
    arms: those of ARMS to train, "multitask" among them. test: number of molecules held out; validation:
    those that settings are chosen on. conformers: minima of the force field, at most, a molecule; displaced:
    geometries of each with energies, itself among them; thermal: the range of their displacements in Å.
    noise: the range of σ in Å of the denoising loss, drawn evenly in the logarithm; torsion_noise: a
    narrower one, where torsions are decided, that six draws in ten come from.
    optimality_noise, score_noise, proximal_noise: where each law holds, σ in Å; perturbation: the largest σ
    of η in Å; searched: the part of η that goes downhill, at most so many Å²/eV, downhill, times the force,
    and no farther; score_kt, proximal_kt: in eV; stiffest: of the bonds, in eV/Å², by which the proximal
    law's noise levels are weighted. samples: a molecule in the evaluation; relaxed: steps of the control that
    relaxes samples on the energy model.
    """

    smiles: tuple[str, ...]
    stages: Mapping[str, Stage]
    validation: tuple[str, ...] = VALIDATION
    level: str = GFN2.name
    low_level: ForceFieldMethod = "UFF"
    arms: tuple[str, ...] = tuple(ARMS)
    test: int = 64
    conformers: int = 8
    displaced: int = 12
    thermal: tuple[float, float] = (0.01, 0.12)
    noise: tuple[float, float] = (0.02, 8.0)
    torsion_noise: tuple[float, float] = (0.1, 2.0)
    optimality_noise: tuple[float, float] = (0.02, 0.3)
    score_noise: tuple[float, float] = (0.01, 0.03)
    proximal_noise: tuple[float, float] = (0.02, 0.8)
    perturbation: float = 0.05
    downhill: float = 0.02
    searched: float = 0.8
    score_kt: float = 0.1
    proximal_kt: float = 0.01
    stiffest: float = 40.0
    samples: int = 2
    relaxed: int = 20
    weights: Weights = field(default_factory=Weights)
    model: dict[str, Any] = field(default_factory=dict)  # sizes of DenoiserConfig
    sampler: Sampler = field(default_factory=Sampler)
    checkpoint_every: int = 2000
    ema_decay: float = 0.998


def stages(batch: int, first: int, rate: float, arms_rate: float, **steps: int) -> dict[str, Stage]:
    """The first stage, and the arms with numbers of steps by which all take the same time."""
    names = {LOW if arm == "low" else arm.replace("_", "-"): count for arm, count in steps.items()}
    return {FIRST: Stage(first, batch, rate, excessive=1e4)} | {
        arm: Stage(count, batch, arms_rate, excessive=1e4) for arm, count in names.items()
    }


QUICK = stages(
    16, 7000, 1e-2, 4e-3, multitask=2600, optimality=1780, score=2200, both=1910, both_forces=920,
    proximal=2200, low=1200, control=2130,
)  # fmt: skip

PRESETS = {
    # 2 CPU cores, 20 minutes
    "quick": Preset(
        smiles=MOLECULES,
        stages=QUICK,
    ),
    # seconds: every part of the experiment, no result to speak of
    "smoke": Preset(
        smiles=("O", "CO", "C=O", "CC", "CN", "C#N", "CCO", "C=C"),
        stages=stages(
            4, 4, 1e-3, 1e-3, multitask=2, optimality=2, score=2, both=2, both_forces=2, proximal=2,
            low=2, control=2,
        ),
        validation=("CC#N",),
        test=2,
        conformers=1,
        displaced=3,
        relaxed=2,
        model={"channels": 8, "layers": 2, "hidden": 8},
        sampler=Sampler(steps=2, restarts=1, restart_steps=2),
        checkpoint_every=2,
        ema_decay=0.9,
    ),
    # 2 CPU cores, about an hour, most of it labels
    "b3lyp": Preset(
        smiles=smallest(MOLECULES, 5),
        stages=QUICK,
        validation=smallest(VALIDATION, 5),
        level=B3LYP.name,
        low_level="MMFF",
        arms=("multitask", "both", "proximal", "control"),
        test=20,
        conformers=1,
        displaced=6,
        samples=1,
    ),
    # an accelerator: a larger model, more time
    "paper": Preset(
        smiles=MOLECULES,
        stages=stages(
            256, 300_000, 3e-3, 1e-3, multitask=200_000, optimality=150_000, score=150_000, both=120_000,
            both_forces=110_000, proximal=150_000, low=50_000, control=150_000,
        ),
        conformers=20,
        displaced=24,
        model={"channels": 128, "layers": 6, "hidden": 128},
        checkpoint_every=5000,
        ema_decay=0.9995,
    ),
}  # fmt: skip
