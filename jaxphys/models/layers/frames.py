"""Edge-aligned frames: rotations that turn an edge onto the polar axis of the spherical harmonics.

In such a frame every E(3)-equivariant map of two atoms' features is a map that keeps |m|, so tensor
products with the edge's spherical harmonics become small matrix products (Passaro and Zitnick, eSCN,
arXiv 2302.03655; QHNetV2 for Hamiltonians). Real harmonics, l up to lmax, m from −l to l, in e3nn's
convention fed with (y, z, x), so that the polar axis is z and l = 1 is (y, z, x).
"""

from __future__ import annotations

import e3nn_jax as e3nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def edge_rotations(vectors: Float[Array, "e 3"], lmax: int) -> list[Float[Array, "e _ _"]]:
    """Wigner matrices D_l, (e, 2l+1, 2l+1), l = 0…lmax, that rotate harmonics into each edge's frame.

    vectors: edges in any length unit; a zero vector (padding) gets some frame. The turn about the edge is
    arbitrary, so only functions that do not depend on it may be built on the result.
    """
    first = _frame(vectors)
    matrices = [jnp.ones((len(vectors), 1, 1), first.dtype), first]
    for l in range(2, lmax + 1):
        coupling = _coupling(l).astype(first.dtype)
        product = jnp.einsum("iam,eij,eab,jbn->emn", coupling, matrices[-1], first, coupling)
        matrices.append(product)
    return matrices[: lmax + 1]


def _frame(vectors: Float[Array, "e 3"]) -> Float[Array, "e 3 3"]:
    """Rotation matrices in (y, z, x) components, whose second row is the edge's direction."""
    vectors = vectors[:, jnp.array([1, 2, 0])]
    square = jnp.sum(vectors**2, axis=-1, keepdims=True)
    pole = jnp.array([0.0, 1.0, 0.0], vectors.dtype)
    direction = jnp.where(square > 0, vectors / jnp.sqrt(jnp.where(square > 0, square, 1.0)), pole)
    # the axis least along the edge: never parallel to it
    helper = jnp.eye(3, dtype=vectors.dtype)[jnp.argmin(jnp.abs(direction), axis=-1)]
    side = jnp.cross(helper, direction)
    side = side / jnp.linalg.norm(side, axis=-1, keepdims=True)
    return jnp.stack([side, direction, jnp.cross(side, direction)], axis=1)


def _coupling(l: int) -> np.ndarray:
    """Orthonormal coupling of l−1 and 1 to l, (2l−1, 3, 2l+1)."""
    coefficients = np.asarray(e3nn.clebsch_gordan(l - 1, 1, l), dtype=np.float64)
    return coefficients * np.sqrt((2 * l + 1) / np.sum(coefficients**2))


def rotate(features: Float[Array, "e m c"], matrices: list[Array], *, inverse: bool = False) -> Array:
    """Features (e, (lmax+1)², c), all m of l after all of l−1, turned into the frames, or back."""
    pattern = "eji,ejc->eic" if inverse else "eij,ejc->eic"
    parts = [
        jnp.einsum(pattern, matrix, features[:, l * l : (l + 1) ** 2]) for l, matrix in enumerate(matrices)
    ]
    return jnp.concatenate(parts, axis=1)
