"""How much of everything `experiments.debiasing` takes, for each system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from experiments.stages import Stage


@dataclass(frozen=True)
class Arm:
    """A trained denoiser. label: of its targets, "denoising", "potential" or "blend". data: what it sees,
    "biased"; "annealed", the walkers that were carried to the target; or "reference", the control.
    """

    title: str
    label: str
    data: str = "biased"


ARMS = {
    "denoising": Arm("denoising score (DSM)", "denoising"),
    "potential": Arm("potential score (PSM)", "potential"),
    "blend": Arm("blend of both", "blend"),
    "annealed": Arm("blend, annealed data", "blend", "annealed"),
    "unbiased": Arm("control: DSM, unbiased data", "denoising", "reference"),
    "unbiased-potential": Arm("control: PSM, unbiased data", "potential", "reference"),
    "unbiased-blend": Arm("control: blend, unbiased data", "blend", "reference"),
}


@dataclass(frozen=True)
class Preset:
    """train: samples that each arm sees; stage: of each arm; fewer: steps of arms whose result does not wait
    for more of them. arms: those of ARMS, by regime of bias.

    model: sizes of the network. levels: of the sampler. samples: made by each arm. reference: samples of the
    reference, at least twice as many. sweeps, leapfrog: of each rung of the annealing; heat: sweeps at the
    high temperature before it, where the bias is one of weights. moves: sweeps at the end, which the row "n
    calls each" adds to samples of the arm `moved`. reweighted: arms whose samples are weighted by the density
    of the flow, of flow_levels.
    """

    train: int
    stage: Stage
    arms: Mapping[str, tuple[str, ...]]
    model: Mapping[str, int]
    fewer: Mapping[str, int] = field(default_factory=dict)
    levels: int = 100
    samples: int = 10_000
    reference: int = 20_000
    sweeps: int = 4
    leapfrog: int = 10
    ess_fraction: float = 0.5
    heat: int = 40
    moves: int = 0
    moved: str = ""
    reweighted: tuple[str, ...] = ()
    flow_levels: int = 100
    ema_decay: float = 0.998
    checkpoint_every: int = 2000


PLANE = ("denoising", "potential", "blend", "annealed")
CONTROLS = ("unbiased", "unbiased-potential", "unbiased-blend")

PRESETS: dict[str, dict[str, Preset]] = {
    "quick": {
        "mueller_brown": Preset(
            train=20_000,
            stage=Stage(4000, 512, 5e-3),
            arms={"local": PLANE + CONTROLS, "weights": PLANE},
            model={"width": 128},
            reweighted=("denoising", "blend"),
        ),
        "lj13": Preset(
            train=10_000,
            stage=Stage(4000, 64, 5e-3),
            fewer={"denoising": 2000, "potential": 2000},
            arms={"local": ("denoising", "potential", "annealed", "unbiased-blend")},
            model={"channels": 32, "layers": 3},
            levels=80,
            samples=5000,
            reference=10_000,
            moves=10,
            moved="annealed",
        ),
        "alanine_dipeptide": Preset(
            train=10_000,
            # Adam, as Muon's own products take twice the time of the gradient of this network
            stage=Stage(6000, 512, 2e-3, algorithm="adam"),
            arms={"local": ("denoising", "potential", "annealed")},
            model={"channels": 384, "layers": 3},
            samples=10_000,
            reference=20_000,
            leapfrog=20,
            moves=5,
            moved="annealed",
        ),
    },
    # seconds: every part of the experiment, no result to speak of
    "smoke": {
        "mueller_brown": Preset(
            train=400,
            stage=Stage(20, 32, 5e-3),
            arms={"local": ("potential", "annealed"), "weights": ("blend",)},
            model={"width": 8},
            levels=5,
            samples=200,
            reference=400,
            sweeps=1,
            leapfrog=3,
            heat=3,
            reweighted=("blend",),
            flow_levels=5,
        ),
        "lj13": Preset(
            train=64,
            stage=Stage(6, 8, 5e-3),
            arms={"local": ("denoising", "annealed")},
            model={"channels": 4, "layers": 1},
            levels=4,
            samples=40,
            reference=200,
            sweeps=1,
            leapfrog=4,
            moves=1,
            moved="annealed",
        ),
        "alanine_dipeptide": Preset(
            train=40,
            stage=Stage(6, 8, 2e-3, algorithm="adam"),
            arms={"local": ("annealed",)},
            model={"channels": 8, "layers": 1},
            levels=4,
            samples=40,
            reference=400,
            sweeps=1,
            leapfrog=4,
            moves=1,
            moved="annealed",
        ),
    },
}
