"""OpenMM, where it is installed, and its quantities as plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float


def openmm() -> ModuleType:
    """The module, with its `app` and `unit`. Raises ModuleNotFoundError that says how to install it."""
    try:
        import openmm
        import openmm.app
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "molecular mechanics needs OpenMM, which is not installed: pip install 'jaxphys[ensembles]'",
            name=error.name,
        ) from None
    return openmm


def table(rows: Sequence[Sequence[Any]], columns: int) -> Float[np.ndarray, "rows {columns}"]:
    """Quantities and indices as numbers in OpenMM's own units: nm, kJ/mol, e, rad."""
    unit = openmm().unit

    def plain(value: Any) -> Any:
        return value.value_in_unit_system(unit.md_unit_system) if unit.is_quantity(value) else value

    return np.array([[plain(value) for value in row] for row in rows], dtype=np.float64).reshape(-1, columns)


def check_no_cutoff(force: Any) -> None:
    """Raise a ValueError if the force, of pairs of particles, has a cutoff."""
    if force.getNonbondedMethod() != force.NoCutoff:
        raise ValueError(
            f"{force.getName()} has a cutoff; only NoCutoff is translated: "
            "createSystem(..., nonbondedMethod=openmm.app.NoCutoff)"
        )
