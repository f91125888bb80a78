"""What a law takes, one Protocol a role: a model, a closed form or `energies.dft`, whatever has the shape."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Float


@runtime_checkable
class EnergyFunction(Protocol):
    """Potential energy of one molecule in eV, (), from positions (n, 3) in Å; differentiable by JAX.

    Padded atoms, where there are any, must not change the energy: a mask tells a law which they are, not the
    energy function.
    """

    def __call__(self, positions: Float[Any, "n 3"], /) -> Float[Array, ""]: ...


@runtime_checkable
class DenoiseFunction(Protocol):
    """Estimate of the clean positions of one molecule, (n, 3) in Å, from noisy ones and the noise level.

    positions: R_σ = R + σ ε, (n, 3) in Å, not shrunk: the variance-exploding form, which
    `diffusion.as_variance_exploding` makes of any other; sigma: σ in Å, (). The best answer is E[R | R_σ].
    Padded atoms, where there are any, must not change what it gives for the real ones.
    """

    def __call__(
        self, positions: Float[Any, "n 3"], sigma: Float[Any, ""] | float, /
    ) -> Float[Array, "n 3"]: ...


@runtime_checkable
class SpinEnergy(Protocol):
    """Energy of one system of spins, (), from its spins in [−1, 1], an array of any one shape; reduced units.

    It must be linear in each spin, as products of different spins are; then E(m) of means m is the mean
    energy of independent spins, and −∂E/∂s_i the field on spin i.
    """

    def __call__(self, spins: Float[Any, "*shape"], /) -> Float[Array, ""]: ...


class TypedAtoms(NamedTuple):
    """Atoms that may be of several elements at once: positions (n, 3) in Å, and types (n, k), of clean ones
    a positive scale in the element's place and zero in the others. Padded atoms are zero in both."""

    positions: Float[Any, "n 3"]
    types: Float[Any, "n k"]


@runtime_checkable
class TypedDenoiseFunction(Protocol):
    """Estimate of the clean atoms, positions and types, from noisy ones and the noise level.

    atoms: X + σ ε in both parts, in Å, without unit in the types; sigma: σ, (). The best answer is
    E[X | X_σ].
    """

    def __call__(self, atoms: TypedAtoms, sigma: Float[Any, ""] | float, /) -> TypedAtoms: ...
