"""What `experiments.molecule_generation` trains on, by which losses, for how long, and how it samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from experiments.consistency_molecules import MOLECULES
from experiments.molecule_generation_sampling import Sampler
from jaxphys.losses import denoising_deviation, distance_energy, stiffness

LOSSES: dict[str, Callable[..., Any]] = {
    "mse": denoising_deviation,
    "exponential": partial(distance_energy, stiffness=stiffness.exponential),
    "inverse": partial(distance_energy, stiffness=stiffness.inverse),
    "inverse-square": partial(distance_energy, stiffness=stiffness.inverse_square),
    "constant": partial(distance_energy, stiffness=stiffness.constant),
}
"""Of the positions, by arm: (prediction, target, mask=) to a scalar."""

NAMES = {
    "data": "the data themselves",
    "mse": "mean squared error",
    "exponential": "energy, k ~ exp(−r)",
    "inverse": "energy, k ~ 1/r",
    "inverse-square": "energy, k ~ 1/r²",
    "constant": "control: energy, k constant",
}


@dataclass(frozen=True)
class Preset:
    """Molecules, arms, sizes and times.

    rates: the arms, of LOSSES, and the peak learning rate of each, which is tuned for it alone. steps, batch:
    of every arm alike. smiles, conformers: what is embedded where no data are given, which of_data
    does without; elements: of data, those that are kept. sizes: padded numbers of atoms; larger molecules
    are left out, and a step takes molecules of one.
    noise: median of σ in Å, and width of ln σ, of its normal distribution. weights: of the positions' losses,
    which by themselves are of other sizes than those of the elements; 1 where none is named. samples:
    molecules made of each arm; judged: how many of the valid ones, at most, are relaxed and checked.
    """

    rates: Mapping[str, float]
    steps: int
    batch: int
    smiles: tuple[str, ...] = MOLECULES
    conformers: int = 4
    of_data: bool = False
    elements: tuple[int, ...] = (1, 6, 7, 8, 9)
    sizes: tuple[int, ...] = (11, 14, 17, 23)
    noise: tuple[float, float] = (0.4, 1.3)
    weights: Mapping[str, float] = field(default_factory=dict)
    elements_weight: float = 1.0
    samples: int = 1000
    judged: int = 60
    model: dict[str, Any] = field(default_factory=dict)  # sizes of GeneratorConfig
    sampler: Sampler = field(default_factory=Sampler)
    algorithm: str = "muon"
    checkpoint_every: int = 1000
    ema_decay: float = 0.998


ENERGY_WEIGHTS = {"exponential": 0.3, "inverse": 0.3, "inverse-square": 0.3, "constant": 1.0}
"""Each the best of 0.1, 0.3 and 1 where it was tried, for e^−r and a constant; the squared error has 1, of
0.3, 1 and 3."""

RATES = {"mse": 1e-2, "exponential": 1e-2, "constant": 1e-2}
"""Peak learning rates, each the best of 5e-3, 1e-2 and 2e-2 on QM7."""

PRESETS = {
    # 2 CPU cores, 10 minutes
    "quick": Preset(rates=RATES, steps=4000, batch=16, sizes=(11, 15), weights=ENERGY_WEIGHTS),
    # for --data with QM7: 2 CPU cores, 20 minutes
    "qm7": Preset(
        rates=RATES,
        steps=6000,
        batch=16,
        of_data=True,
        elements=(1, 6, 7, 8),
        sizes=(14, 17, 23),
        weights=ENERGY_WEIGHTS,
        judged=100,
    ),
    # for --data with QM9, on an accelerator: all of the published stiffnesses; rates not tuned yet
    "paper": Preset(
        rates=dict.fromkeys(LOSSES, 1e-3),
        steps=1_000_000,
        batch=512,
        of_data=True,
        sizes=(16, 20, 29),
        weights=ENERGY_WEIGHTS,
        samples=10_000,
        judged=1000,
        model={"channels": 256, "layers": 9},
        sampler=Sampler(steps=250),
        checkpoint_every=10_000,
        ema_decay=0.9999,
    ),
    # seconds: every part of the experiment, no result to speak of
    "smoke": Preset(
        rates={"mse": 1e-3, "exponential": 1e-3},
        steps=2,
        batch=2,
        smiles=("O", "CO", "C=O", "C[C@H](O)N"),
        conformers=1,
        sizes=(6, 12),
        samples=4,
        judged=2,
        model={"channels": 8, "layers": 2},
        sampler=Sampler(steps=2),
        checkpoint_every=2,
        ema_decay=0.9,
    ),
}
