"""What `experiments.spins` trains on, by which losses, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from experiments.spins_data import Gauge
from experiments.stages import Stage


class Arm(NamedTuple):
    """A loss, the gauge of labels and reference, and a name for tables."""

    law: str
    gauge: Gauge
    name: str


ARMS = {
    "cross-entropy": Arm("cross-entropy", "corner", "cross-entropy"),
    "margin": Arm("margin", "corner", "margin"),
    "local": Arm("local", "corner", "local energy"),
    "true": Arm("true", "corner", "true energy"),
    "cross-entropy-strongest": Arm("cross-entropy", "strongest", "cross-entropy, strongest gauge"),
    "margin-strongest": Arm("margin", "strongest", "margin, strongest gauge"),
    "local-strongest": Arm("local", "strongest", "local energy, strongest gauge"),
    "true-strongest": Arm("true", "strongest", "true energy, strongest gauge, T = 0.5 (ours)"),
    "no-gauge": Arm("no-gauge", "corner", "ablation: cross-entropy, labels of either sign"),
    "label-limit": Arm("label-limit", "corner", "control: local energy, h₀ → ∞"),
    "shuffled": Arm("shuffled", "corner", "control: true energy, others' couplings"),
}


@dataclass(frozen=True)
class Preset:
    """Lattices, the laws' settings, the model, and a stage for each arm.

    train: random lattices to train on, of size × size spins. test: number of test lattices by size.
    temperature: T of the energy losses in units of J, but for arms of which temperatures has another; h0: of
    the local one; limit: the h₀ of the control, whose temperature grows alike. sweeps: of simulated
    annealing, each a baseline. drawn: the size of the lattice in the picture, one of test's.
    """

    train: int
    size: int
    test: Mapping[int, int]
    stages: Mapping[str, Stage]
    temperature: float = 0.1
    temperatures: Mapping[str, float] = field(default_factory=lambda: {"true-strongest": 0.5})
    h0: float = 1.0
    limit: float = 1000.0
    sweeps: tuple[int, ...] = (10, 100, 1000)
    drawn: int = 16
    model: dict[str, Any] = field(default_factory=dict)  # sizes of SpinConfig
    checkpoint_every: int = 1000
    ema_decay: float = 0.99


def stages(steps: int, batch: int, rates: Mapping[str, float]) -> dict[str, Stage]:
    """The same steps for all arms, each with its own learning rate."""
    return {arm: Stage(steps, batch, rate, excessive=1e6, algorithm="adam") for arm, rate in rates.items()}


RATES = {
    "cross-entropy": 3e-4,
    "margin": 1e-3,
    "local": 3e-4,
    "true": 3e-3,
    "cross-entropy-strongest": 3e-4,
    "margin-strongest": 3e-3,
    "local-strongest": 3e-4,
    "true-strongest": 3e-3,
    "no-gauge": 3e-4,
    "label-limit": 3e-4,
    "shuffled": 3e-3,
}
"""Peak learning rates, each the best of three to five on other lattices; controls as their laws."""

RATES_OF_PLENTY = {"cross-entropy": 1e-2, "cross-entropy-strongest": 3e-2, "no-gauge": 1e-2}
"""Those that are best with twenty times as many lattices, where they are others."""

PRESETS = {
    # 2 CPU cores, 6 minutes: fewer labels than the network can learn by heart
    "quick": Preset(
        train=1000,
        size=8,
        test={8: 500, 10: 500, 12: 300, 16: 100},
        stages=stages(1000, 64, RATES),
    ),
    # the same with twenty times as many labels
    "plenty": Preset(
        train=20_000,
        size=8,
        test={8: 500, 10: 500, 12: 300, 16: 100},
        stages=stages(1000, 64, RATES | RATES_OF_PLENTY),
    ),
    # seconds: every part of the experiment, no result to speak of
    "smoke": Preset(
        train=32,
        size=4,
        test={4: 8, 5: 4},
        stages=stages(2, 8, RATES),
        sweeps=(2, 10),
        drawn=5,
        model={"channels": 4, "layers": 2},
        checkpoint_every=2,
        ema_decay=0.9,
    ),
    # an accelerator: a larger model on the published size, more time; the labels alone take 40 minutes
    "paper": Preset(
        train=10_000,
        size=16,
        test={8: 500, 10: 500, 12: 500, 16: 500},
        stages=stages(100_000, 256, dict.fromkeys(RATES, 1e-3)),
        model={"channels": 128, "layers": 16},
        checkpoint_every=5000,
        ema_decay=0.999,
    ),
}
