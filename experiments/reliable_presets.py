"""What `experiments.reliable_energy` trains on, with which model, by which laws, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from experiments.reliable_molecules import MOLECULES, VALIDATION
from experiments.stages import Stage

ARMS: dict[str, tuple[str, ...]] = {
    "energy": ("energy",),
    "zero-force": ("energy", "zero_force"),
    "bound": ("energy", "bound"),
    "masked": ("energy", "masked_atoms"),
    "full": ("energy", "zero_force", "bound", "masked_atoms"),
    "published": ("energy", "zero_force", "published_bound", "masked_atoms"),
    "forces": ("displaced",),  # the control with force labels
}
"""The laws of each arm."""


@dataclass(frozen=True)
class Weights:
    """Of the laws: energy in eV⁻², zero_force and displaced (its forces) in Å²/eV², bound in eV⁻¹."""

    energy: float = 1.0
    zero_force: float = 1.0
    bound: float = 1.0
    published_bound: float = 1.0
    masked_atoms: float = 0.1
    displaced: float = 1.0


@dataclass(frozen=True)
class Preset:
    """Molecules as SMILES, what is held out, the model, and a stage for each arm.

    test: number of molecules held out; validation: those that settings are chosen on. displaced: geometries a
    molecule with labelled forces; thermal: their displacements σ in Å, in turn.
    The bound: margin, the part of an elastic network, levelling off at depth in eV, that the energy has to
    rise by; noise: the range of σ of Gaussian perturbations in Å; heat: the range of kT in eV of those that
    go downhill, and downhill: in how many steps; both ranges are drawn from evenly in the logarithm;
    searched: the part of perturbations that goes downhill. published_noise: σ in Å of the published law.
    perturbation: σ of the test's perturbation in Å. assembled: molecules a group is pulled out of. path:
    images of a reaction path; reactions: how many are taken of a set.
    """

    smiles: tuple[str, ...]
    stages: Mapping[str, Stage]
    validation: tuple[str, ...] = VALIDATION
    test: int = 64
    displaced: int = 4
    thermal: tuple[float, ...] = (0.05, 0.1)
    margin: float = 0.5
    depth: float = 3.0
    noise: tuple[float, float] = (0.03, 0.3)
    heat: tuple[float, float] = (0.01, 0.2)
    downhill: int = 3
    searched: float = 0.8
    published_noise: float = 0.5
    perturbation: float = 0.1
    assembled: int = 32
    path: int = 13
    reactions: int = 8
    fmax: float = 0.02  # eV/Å, of the relaxations
    max_steps: int = 500
    max_molecules: int | None = None  # of a data set
    max_atoms: int = 23
    weights: Weights = field(default_factory=Weights)
    model: dict[str, Any] = field(default_factory=dict)  # sizes of EnergyConfig
    checkpoint_every: int = 1000
    ema_decay: float = 0.995


SMALL = {
    "channels": 16,
    "lmax": 2,
    "correlation": 2,
    "radial_hidden": (32,),
    "cutoff": 4.0,
    "scale": 0.3,
}


def stages(batch: int, learning_rate: float, **steps: int) -> dict[str, Stage]:
    """The same but for the number of steps, by which all arms take the same time."""
    return {
        arm.replace("_", "-"): Stage(count, batch, learning_rate, excessive=1e6, algorithm="adam")
        for arm, count in steps.items()
    }


PRESETS = {
    # 2 CPU cores, 12 minutes
    "quick": Preset(
        smiles=MOLECULES,
        stages=stages(16, 1.5e-3, energy=10_800, masked=6500)
        | stages(4, 7e-3, zero_force=17_500, bound=10_300, full=8300, published=12_000, forces=23_000),
        thermal=(0.04, 0.08),
        weights=Weights(zero_force=6.0, bound=6.0),
        model=SMALL,
    ),
    # seconds: every part of the experiment, no result to speak of
    "smoke": Preset(
        smiles=("O", "N", "C", "CO", "C#N", "C=O", "CC", "CN"),
        stages=stages(2, 1e-3, energy=4, zero_force=4, bound=4, masked=4, full=4, published=4, forces=4),
        validation=("CC#N",),
        test=2,
        displaced=2,
        assembled=1,
        path=5,
        max_steps=20,
        max_molecules=12,
        max_atoms=10,
        model={"channels": 4, "lmax": 1, "layers": 1, "correlation": 2, "radial_hidden": (8,), "hidden": 8},
        checkpoint_every=2,
        ema_decay=0.9,
    ),
    # an accelerator: a model of usual size, more time
    "paper": Preset(
        smiles=MOLECULES,
        stages=stages(
            64, 1e-3, energy=300_000, zero_force=150_000, bound=150_000, masked=150_000, full=80_000,
            published=120_000, forces=150_000,
        ),
        weights=Weights(zero_force=3.0, bound=3.0),
        model={"channels": 128, "lmax": 3, "correlation": 3, "cutoff": 5.0},
        checkpoint_every=5000,
        ema_decay=0.999,
    ),
}  # fmt: skip
