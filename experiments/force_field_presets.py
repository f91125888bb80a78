"""What `experiments.force_field` trains on, with which model, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from experiments.stages import Stage
from jaxphys.data import Method


@dataclass(frozen=True)
class Preset:
    """Number of frames, model, training run, and the molecule that is labelled where no data are given.

    train, validation: frames of the data set; None leaves 80 % and 10 %, or what the set's own split says.
    energy_weight: of ((E − E_label) / atoms)² beside the mean square of a force component, in Å⁻².
    clip: largest norm of a gradient that passes unscaled. evaluations: points of the learning curve.
    smiles: the molecule of the preset's own data, None if it must be given some.
    """

    training: Stage
    train: int | None = None
    validation: int | None = None
    energy_weight: float = 0.1
    clip: float = 10.0
    warmup: float = 0.02
    ema_decay: float = 0.99
    evaluations: int = 20
    checkpoint_every: int = 2000
    model: dict[str, Any] = field(default_factory=dict)  # sizes of EnergyConfig
    smiles: str | None = None
    geometries: int = 0
    temperature: float = 500.0  # K, of the geometries
    method: Method = field(default_factory=lambda: Method(basis="sto-3g", xc="pbe", grid_level=1))


UNLIMITED = 1e9  # the loss is in units of the forces' own spread: clipping is enough

PRESETS = {
    # 2 CPU cores, 5 minutes, 2 of them for the labels: ethanol at a small level of theory, no download
    "quick": Preset(
        training=Stage(steps=8000, batch=5, learning_rate=5e-3, excessive=UNLIMITED, algorithm="adam"),
        train=240,
        validation=30,
        model={"channels": 32},
        smiles="CCO",
        geometries=300,
    ),
    # 2 CPU cores, 7 minutes: one small molecule of rMD17
    "rmd17": Preset(
        training=Stage(steps=20_000, batch=5, learning_rate=5e-3, excessive=UNLIMITED, algorithm="adam"),
        model={"channels": 32},
    ),
    # an accelerator, not measured yet: a model of the size in the literature
    "paper": Preset(
        training=Stage(steps=400_000, batch=5, learning_rate=3e-3, excessive=UNLIMITED, algorithm="adam"),
        model={"channels": 128},
        ema_decay=0.999,
        evaluations=50,
        checkpoint_every=10_000,
    ),
    # seconds: every part of the experiment, no result to speak of
    "smoke": Preset(
        training=Stage(steps=20, batch=2, learning_rate=5e-3, excessive=UNLIMITED, algorithm="adam"),
        train=6,
        validation=2,
        model={"channels": 4, "lmax": 1, "correlation": 2, "layers": 1, "hidden": 8, "radial_hidden": (8,)},
        ema_decay=0.9,
        evaluations=2,
        checkpoint_every=10,
        smiles="O",
        geometries=12,
    ),
}
