"""What `experiments.stability` simulates, trains and compares, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from experiments.stages import Stage
from jaxphys.units import BOLTZMANN_IN_EV_PER_KELVIN

KT = BOLTZMANN_IN_EV_PER_KELVIN * 298.15
"""eV, at which everything is asked."""


class Arm(NamedTuple):
    """Weights of the three losses, the labels, a name for tables.

    labels: "own", or "others": each mutant has another's, by which nothing can be learned of mutations.
    """

    name: str
    pairs: float = 10.0
    square: float = 0.0
    score: float = 1.0
    labels: str = "own"


ARMS = {
    "pairs": Arm("cross-pair and score"),
    "square": Arm("ablation: squared mean and score", pairs=0.0, square=10.0),
    "alone": Arm("ablation: cross-pair without score", score=0.0),
    "shuffled": Arm("control: cross-pair and score, others' labels", labels="others"),
}


@dataclass(frozen=True)
class Preset:
    """The reference, the mutants, the model, and its training.

    ladders: of replica exchange, half of them started folded and half unfolded; temperatures: in units of
    kT, none below, where chains are slow to fold; sweeps after burn_in, each of leapfrog steps, every
    keep_every-th kept; step: in Å, at kT.
    overall, sites, site, each: a mutant's contacts are stronger by a normal part of all, by one of each of
    some sites, and by one of their own; train, test: mutants with labels to learn from and held out.
    beyond: kcal/mol, labels of larger |ΔG| are refused; effective: least effective number of samples of one.
    levels: σ in Å, greatest and least; rollout: number of steps, the last level, and how many have gradients;
    settled: σ in Å below which a structure that is folded stays so.
    systems, replicas: of each step of fine-tuning, beside so many structures of the wild type.
    draws: samples of each mutant in the evaluation, in so many steps; compared: of how many systems, the wild
    type among them, other observables are compared.
    """

    pretraining: Stage
    tuning: Stage
    arms: tuple[str, ...] = tuple(ARMS)
    ladders: int = 24
    temperatures: tuple[float, ...] = (1.0, 1.05, 1.1, 1.16)
    sweeps: int = 4500
    burn_in: int = 1500
    leapfrog: int = 40
    keep_every: int = 10
    step: float = 0.05
    overall: float = 0.14
    sites: int = 3
    site: float = 0.3
    each: float = 0.2
    train: int = 150
    test: int = 50
    beyond: float = 2.0
    effective: float = 300.0
    levels: tuple[float, float] = (40.0, 0.1)
    rollout: tuple[int, float, int] = (12, 0.4, 6)
    settled: float = 1.0
    systems: int = 24
    replicas: int = 2
    structures: int = 64
    draws: int = 200
    steps: int = 20
    compared: int = 11
    model: Mapping[str, Any] = field(default_factory=dict)  # sizes of ChainConfig
    ema_decay: float = 0.998
    tuning_ema_decay: float = 0.97
    checkpoint_every: int = 500


PRESETS = {
    # 2 CPU cores, 12 minutes, of which the reference takes 2.5
    "quick": Preset(
        pretraining=Stage(1500, 128, 2e-3, excessive=1e6, algorithm="adam"),
        tuning=Stage(150, 24, 5e-4, excessive=1e6, algorithm="adam"),
    ),
    # a few hours of 2 cores, minutes of an accelerator
    "larger": Preset(
        pretraining=Stage(20_000, 256, 2e-3, excessive=1e6, algorithm="adam"),
        tuning=Stage(1000, 48, 1e-3, excessive=1e6, algorithm="adam"),
        ladders=32,
        sweeps=10_000,
        train=400,
        test=100,
        effective=1000.0,
        systems=48,
        rollout=(20, 0.2, 10),
        draws=1000,
        steps=40,
        model={"channels": 192, "layers": 5},
        ema_decay=0.999,
        tuning_ema_decay=0.99,
        checkpoint_every=2000,
    ),
    # seconds: every part of the experiment, no result to speak of
    "smoke": Preset(
        pretraining=Stage(4, 8, 2e-3, excessive=1e6, algorithm="adam"),
        tuning=Stage(2, 3, 1e-3, excessive=1e6, algorithm="adam"),
        arms=("pairs", "shuffled"),
        ladders=4,
        temperatures=(1.0, 1.15),
        sweeps=40,
        burn_in=10,
        leapfrog=5,
        keep_every=5,
        train=6,
        test=4,
        beyond=20.0,
        effective=1.0,
        overall=0.02,
        site=0.05,
        each=0.02,
        rollout=(2, 1.0, 2),
        systems=3,
        structures=4,
        draws=8,
        steps=3,
        compared=2,
        model={"channels": 8, "layers": 1},
        ema_decay=0.9,
        tuning_ema_decay=0.9,
        checkpoint_every=2,
    ),
}
