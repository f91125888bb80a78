"""What `experiments.hamiltonian` trains on, with which model, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from experiments.stages import Stage
from jaxphys.data import Method


@dataclass(frozen=True)
class Preset:
    """Molecules as SMILES with the number of thermal geometries of each, level of theory, model, stages."""

    labelled: tuple[str, ...]
    labelled_geometries: int
    unlabelled: tuple[str, ...]
    unlabelled_geometries: int
    test_geometries: int
    larger: tuple[str, ...]  # tested on, never trained on
    labels: Stage
    control: Stage
    residual: Stage
    variational: Stage
    larger_geometries: int = 4
    temperature: float = 300.0  # K
    method: Method = field(default_factory=Method)
    model: dict[str, Any] = field(default_factory=dict)  # sizes of HamiltonianConfig
    checkpoint_every: int = 1000
    ema_decay: float = 0.995


PAPER_LABELLED = ("O", "N", "C", "CO", "CN", "CC", "C=O", "C#N", "C=C", "C#C", "NC=O", "OC=O", "CC=O", "CCO")
PAPER_UNLABELLED = ("CCCO", "CC(=O)N", "c1ccccc1", "c1ccoc1", "CC(C)O", "OCCO", "CCOC", "NCC(=O)O")

PRESETS = {
    # 2 CPU cores, 9 minutes: label four small molecules, learn two larger ones without labels
    "quick": Preset(
        labelled=("O", "N", "C", "CO"),
        labelled_geometries=20,
        unlabelled=("CC", "CN"),
        unlabelled_geometries=60,
        test_geometries=8,
        larger=("CCC", "CCN", "CCO"),
        labels=Stage(steps=1000, batch=8, learning_rate=3e-3),
        control=Stage(steps=5200, batch=8, learning_rate=3e-3),
        residual=Stage(steps=4200, batch=2, learning_rate=2e-3, excessive=1e6),
        variational=Stage(steps=5000, batch=2, learning_rate=3e-3),
    ),
    # a minute: every part of the experiment, no result to speak of
    "smoke": Preset(
        labelled=("O", "[H][H]"),
        labelled_geometries=4,
        unlabelled=("N",),
        unlabelled_geometries=4,
        test_geometries=2,
        larger=("C",),
        larger_geometries=2,
        labels=Stage(steps=20, batch=2, learning_rate=2e-3),
        control=Stage(steps=10, batch=2, learning_rate=1e-3),
        residual=Stage(steps=10, batch=2, learning_rate=1e-3, excessive=1e7),
        variational=Stage(steps=10, batch=2, learning_rate=1e-3),
        model={"channels": 8, "layers": 1, "hidden": 16},
        checkpoint_every=5,
        ema_decay=0.9,
    ),
    # an accelerator: hybrid functional, molecules of QM9 size, a model of the size in the literature
    "paper": Preset(
        labelled=PAPER_LABELLED,
        labelled_geometries=100,
        unlabelled=PAPER_UNLABELLED,
        unlabelled_geometries=500,
        test_geometries=20,
        larger=("C[C@H](N)C(=O)O", "Cc1ccccc1O", "CC(=O)Nc1ccccc1"),
        labels=Stage(steps=100_000, batch=16, learning_rate=1e-3),
        control=Stage(steps=200_000, batch=16, learning_rate=1e-3),
        residual=Stage(steps=60_000, batch=8, learning_rate=5e-4, excessive=1e5),
        variational=Stage(steps=100_000, batch=8, learning_rate=5e-4),
        method=Method(xc="b3lyp5", grid_level=1),
        model={"channels": 128, "lmax": 4, "layers": 5, "hidden": 256, "radial": 32},
    ),
}
