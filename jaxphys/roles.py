"""What a law takes, one Protocol a role: a model, a closed form or `energies.dft`, whatever has the shape."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Float


@runtime_checkable
class EnergyFunction(Protocol):
    """Potential energy of one molecule in eV, (), from positions (n, 3) in Å; differentiable by JAX.

    Padded atoms, where there are any, must not change the energy: a mask tells a law which they are, not the
    energy function.
    """

    def __call__(self, positions: Float[Any, "n 3"], /) -> Float[Array, ""]: ...
