"""Levels of theory that `experiments.consistency` takes its good energies from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from jaxphys.data import (
    Descent,
    EnergyData,
    Method,
    dft_descents,
    dft_energies,
    xtb_descents,
    xtb_energies,
)
from jaxphys.data.frames import Failure
from jaxphys.molecule import Molecule

Cache = str | os.PathLike | None


class Energies(Protocol):
    """Energies in eV and forces in eV/Å of molecules as they stand; ValueError where one has none."""

    def __call__(self, molecules: Sequence[Molecule], *, cache: Cache, processes: int) -> EnergyData: ...


class Descents(Protocol):
    """The minimum next to each molecule, to fmax in eV/Å; a failure in the place of one that has none."""

    def __call__(
        self, molecules: Sequence[Molecule], *, cache: Cache, processes: int, fmax: float
    ) -> list[Descent | Failure]: ...


@dataclass(frozen=True)
class Level:
    """A level of theory. folder: of its labels, beside the run folders; each label is computed once."""

    name: str
    energies: Energies
    descents: Descents
    folder: str


GFN2 = Level("GFN2-xTB", xtb_energies, xtb_descents, "xtb")

# The basis: in 6-31G*, which has no p functions on hydrogen, a label takes nearly the same time. The grid:
# level 1 is off by 1e-3 eV between geometries of a molecule, level 2 by 1e-4.
_METHOD = Method("def2-SVP", "b3lyp5", None, 2)

B3LYP = Level(
    "B3LYP5/def2-SVP",
    partial(dft_energies, method=_METHOD),
    partial(dft_descents, method=_METHOD),
    "dft",
)

LEVELS = {level.name: level for level in (GFN2, B3LYP)}
