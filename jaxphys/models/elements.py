"""Which elements a model knows, and the energies of their atoms that it does not learn."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import ArrayLike

from jaxphys.molecule import HEAVIEST_ELEMENT


@runtime_checkable
class KnowsElements(Protocol):
    """A config with `species`, atomic numbers in ascending order, and `reference`, eV for each or nothing."""

    @property
    def species(self) -> tuple[int, ...]: ...

    @property
    def reference(self) -> tuple[float, ...]: ...


def check_elements(config: KnowsElements) -> None:
    """Raise a ValueError unless the species ascend and each has a reference energy, or none has."""
    if not config.species or list(config.species) != sorted(set(config.species)):
        raise ValueError(f"species must be atomic numbers in ascending order, got {config.species}")
    if config.reference and len(config.reference) != len(config.species):
        raise ValueError(
            f"reference must hold an energy for each of {len(config.species)} species, "
            f"got {len(config.reference)}"
        )


def check_species(config: KnowsElements, numbers: ArrayLike) -> None:
    """Raise a ValueError unless the model knows all elements; 0 is padding. On the host."""
    unknown = sorted(set(np.unique(np.asarray(numbers)).tolist()) - {0, *config.species})
    if unknown:
        raise ValueError(f"the model knows the elements {list(config.species)}, not {unknown}")


def reference_energy(config: KnowsElements, numbers: ArrayLike) -> float:
    """Sum of the atoms' reference energies in eV, in float64 on the host; as `check_species` raises."""
    check_species(config, numbers)
    energies = dict(zip(config.species, config.reference or [0.0] * len(config.species), strict=True))
    return float(sum(energies.get(int(number), 0.0) for number in np.asarray(numbers)))


def reference_energies(config: KnowsElements, numbers: Int[Array, " n"]) -> Float[Array, " n"]:
    """Reference energies in eV: zero in padding, NaN for elements that the model does not know."""
    table = np.full(HEAVIEST_ELEMENT + 1, np.nan)
    table[[0, *config.species]] = [0.0, *(config.reference or [0.0] * len(config.species))]
    return jnp.asarray(table)[numbers]
