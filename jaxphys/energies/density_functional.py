"""Density functional theory as an energy function of the nuclear positions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import jaxphys.dft as theory
from jaxphys.units import BOHR_IN_ANGSTROM, HARTREE_IN_EV

_solve = jax.jit(theory.scf, static_argnames="tolerance")

COARSE_LEVEL = 1
"""Grid of the first SCF cycles on the host, where the method's own is finer."""


def dft(
    numbers: Any,
    *,
    charge: int = 0,
    spin: int | None = None,
    basis: str = "def2-svp",
    xc: str = "b3lyp5",
    auxbasis: str | None = None,
    grid_level: int = 3,
    integrals: str = "auto",
    tolerance: float = 1e-8,
) -> Callable[[Float[Any, "a 3"]], Float[Array, ""]]:
    """The ground state's energy in eV as a function of positions (a, 3) in Å; `jax.grad` gives exact forces.

    Arguments as for `jaxphys.dft.kohn_sham`. integrals: "jax" works under `jax.jit` and `jax.vmap`; "libcint"
    runs on the host, outside of both, and is faster on a CPU, where "auto" takes it; molecules of similar
    size share one compiled program. tolerance: of the orbital gradient in Ha, as for `jaxphys.dft.scf`: the
    forces' error is of its size, the energy's of its square. An SCF that does not converge gives NaN.
    """
    method: dict[str, Any] = {"charge": charge, "spin": spin, "basis": basis, "xc": xc, "auxbasis": auxbasis}
    method["grid_level"] = grid_level
    if integrals == "auto":
        integrals = "libcint" if jax.default_backend() == "cpu" else "jax"
    if integrals == "jax":
        return _traced(theory.setup(numbers, **method), tolerance)
    if integrals == "libcint":
        return _on_host(np.asarray(numbers), method, tolerance)
    raise ValueError(f"integrals must be 'auto', 'jax' or 'libcint', got {integrals!r}")


def _traced(setup: theory.Setup, tolerance: float) -> Callable[[Any], Array]:
    @jax.custom_vjp
    def energy(positions: Any) -> Array:
        return forward(positions)[0]

    def forward(positions: Any) -> tuple[Array, Any]:
        solution = theory.scf(theory.assemble(setup, positions), tolerance=tolerance)
        return _electronvolt(solution), (positions, solution)

    def backward(saved: Any, cotangent: Array) -> tuple[Array]:
        positions, solution = saved
        forces = theory.assembled_forces(setup, positions, solution)
        return (-cotangent * forces * (HARTREE_IN_EV / BOHR_IN_ANGSTROM),)

    energy.defvjp(forward, backward)
    return energy


def _on_host(numbers: np.ndarray, method: dict[str, Any], tolerance: float) -> Callable[[Any], Array]:
    coarse = COARSE_LEVEL if method["grid_level"] > COARSE_LEVEL else None
    make = functools.partial(theory.kohn_sham, integrals="libcint", coarse_level=coarse, padded=True)

    def solve(positions: Any) -> theory.SCFResult:
        if isinstance(positions, jax.core.Tracer):
            raise TypeError(
                "integrals='libcint' runs on the host: call it outside of jit and vmap, or take 'jax'"
            )
        system = make(numbers, positions, **method)
        own = slice(int(np.sum(np.diagonal(system.overlap) > 0)))
        solution = jax.tree.map(np.asarray, _solve(jax.device_put(system), tolerance=tolerance))
        return replace(
            solution,
            orbital_energies=solution.orbital_energies[..., own],
            coefficients=solution.coefficients[..., own, own],
        )

    @jax.custom_vjp
    def energy(positions: Any) -> Array:
        return _electronvolt(solve(positions))

    def forward(positions: Any) -> tuple[Array, Array]:
        solution = solve(positions)
        if not solution.converged:
            return _electronvolt(solution), jnp.full(jnp.shape(positions), jnp.nan)
        forces = theory.forces(numbers, positions, solution, **method)
        return _electronvolt(solution), jnp.asarray(-forces * (HARTREE_IN_EV / BOHR_IN_ANGSTROM))

    energy.defvjp(forward, lambda gradient, cotangent: (cotangent * gradient,))
    return energy


def _electronvolt(solution: theory.SCFResult) -> Array:
    return jnp.where(solution.converged, solution.energy * HARTREE_IN_EV, jnp.nan)
