"""Products of spherical-harmonic features, taken as products of functions on the sphere.

Coefficients A_lm stand for the function Σ_lm A_lm Y_lm of a direction. A product of such functions is
pointwise on a grid of directions, and its coefficients are again those of an equivariant map: a sum over all
couplings of natural parity. A Lebedev rule that integrates the products' degree makes this exact, at the
price of two small matrix products (Luo et al., Gaunt tensor products, arXiv 2401.10216).
"""

from __future__ import annotations

import functools

import e3nn_jax as e3nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.integrate import lebedev_rule


def harmonics(directions: Float[Array, "*e 3"], lmax: int) -> Float[Array, "*e m"]:
    """Real spherical harmonics, (…, (lmax+1)²), in e3nn's order; the squares of each l sum to 2l+1."""
    irreps = e3nn.s2_irreps(lmax)
    vectors = e3nn.IrrepsArray("1o", directions)
    return e3nn.spherical_harmonics(irreps, vectors, normalize=False, normalization="component").array


@functools.lru_cache
def sphere_grid(lmax: int, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Harmonics up to lmax on a Lebedev grid, (points, (lmax+1)²), and the points' weights, of sum one.

    degree: the highest that the rule integrates exactly.
    """
    points, weights = lebedev_rule(max(3, degree + 1 - degree % 2))  # the smallest that there is is of 3
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        values = np.asarray(harmonics(jnp.asarray(points.T), lmax))
    return values, weights / (4 * np.pi)
