"""A pair potential with learned parameters: a Coulomb-like term and a Lennard-Jones-like well."""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

COULOMB = 14.399645  # e²/(4πε₀) in eV Å
STEEPEST = 30.0  # of (β4/d)^β3, beyond which the wall goes on as a straight line: 840 depths high
CLOSEST = 0.3  # Å, within which 1/d goes on as a straight line


class PairParameters(NamedTuple):
    """charges: β0, charge product in e², negative where they repel. coulomb: β1 in eV Å. depth: β2 in eV.
    exponent: β3. distance: β4 in Å, where the well has its minimum."""

    charges: Float[Array, "*e"]
    coulomb: Float[Array, "*e"]
    depth: Float[Array, "*e"]
    exponent: Float[Array, "*e"]
    distance: Float[Array, "*e"]


def pair_potential(distance: Float[Array, "*e"], beta: PairParameters) -> Float[Array, "*e"]:
    """E = −β1 β0/d + β2 [(β4/d)^(2β3) − 2 (β4/d)^β3], eV; distance in Å.

    Where (β4/d)^β3 exceeds 30, and for −β1 β0/d below 0.3 Å, the tangent replaces the curve: value and force
    are finite everywhere, and continuous.
    Source: Yi et al., UAI 2023 (PMLR 216:2433), the pair terms of E_bond; the tangents are ours.
    """
    inner = beta.distance * STEEPEST ** (-1 / beta.exponent)
    outside = jnp.maximum(distance, inner)
    power = jnp.where(distance > inner, (beta.distance / outside) ** beta.exponent, STEEPEST)
    slope = -2 * beta.exponent * STEEPEST * (STEEPEST - 1) / inner
    well = power**2 - 2 * power + slope * jnp.minimum(distance - inner, 0.0)
    reach = jnp.maximum(distance, CLOSEST)
    inverse = 1 / reach - jnp.minimum(distance - CLOSEST, 0.0) / CLOSEST**2
    return -beta.coulomb * beta.charges * inverse + beta.depth * well


def switch(distance: Float[Array, "*e"], cutoff: float) -> Float[Array, "*e"]:
    """1 up to half the cutoff, then down to 0 at the cutoff with two vanishing derivatives at either end."""
    x = jnp.clip(2 * distance / cutoff - 1, 0.0, 1.0)
    return (1 - x) ** 3 * (1 + 3 * x + 6 * x**2)


class PairHead(nn.Module):
    """The parameters of each pair from both atoms' features, (n, c) and (n, d, c); symmetric in the two.

    In the ranges |β0| < 1 e², 0 < β1 < 28.8 eV Å, β2 > 0, 3 < β3 < 9 and 0.4 Å < β4 < 4 Å, within which the
    potential is stable; an untrained head begins in the middle of bonds, shallow and without charges.
    """

    hidden: int

    @nn.compact
    def __call__(self, own: Float[Array, "n c"], theirs: Float[Array, "n d c"]) -> PairParameters:
        layer = nn.Dense(self.hidden, name="atoms")
        both = layer(own)[:, None] + layer(theirs)
        raw = nn.Dense(5, name="beta", kernel_init=nn.initializers.normal(0.01))(nn.silu(both))
        charges, coulomb, depth, exponent, distance = jnp.moveaxis(raw, -1, 0)
        return PairParameters(
            charges=jnp.tanh(charges),
            coulomb=2 * COULOMB * nn.sigmoid(coulomb),
            depth=nn.softplus(depth - 4.0),
            exponent=3.0 + 6.0 * nn.sigmoid(exponent),
            distance=0.4 + 3.6 * nn.sigmoid(distance - 1.6),
        )
