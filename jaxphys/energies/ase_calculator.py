"""Any energy function as a calculator of ASE, for its optimisers, dynamics and vibrations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes


class EnergyCalculator(Calculator):
    """Energy and forces of `energy_fn(positions) -> ()`, Å in and eV out, for the atoms it was made for.

    jit: compile energy and forces, a hundred times faster for a model; not for functions that work on the
    host, as `energies.dft` with libcint does.
    Raises ASE's CalculationFailed where the energy or a force is not finite.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012  ASE has it so

    def __init__(self, energy_fn: Callable[[Any], Any], *, jit: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        value_and_grad = jax.value_and_grad(energy_fn)
        self._value_and_grad = jax.jit(value_and_grad) if jit else value_and_grad

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """ASE's entry: fills `results` for the atoms."""
        super().calculate(atoms, properties, system_changes)
        current: Any = self.atoms
        energy, gradient = self._value_and_grad(jnp.asarray(current.positions))
        if not (np.isfinite(energy) and np.all(np.isfinite(gradient))):
            raise CalculationFailed(
                f"the energy function gave {float(energy)} eV for {current.get_chemical_formula()}: "
                "not finite, as after an SCF that has not converged"
            )
        self.results = {"energy": float(energy), "forces": -np.asarray(gradient)}
