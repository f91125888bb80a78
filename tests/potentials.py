"""Energy functions with closed forms, in eV and Å, safe where atoms coincide; padded atoms are masked out."""

import jax.numpy as jnp
import numpy as np


def distances(positions, mask=None):
    """Of the pairs i < j, (p,), and which pairs are real."""
    i, j = np.triu_indices(len(positions), 1)
    square = jnp.sum((positions[i] - positions[j]) ** 2, axis=-1)
    real = square > 0 if mask is None else (square > 0) & mask[i] & mask[j]
    return jnp.sqrt(jnp.where(real, square, 1.0)), real


def morse(parameters, positions, mask=None):
    """Σ D (1 − exp(−a (r − r0)))² over pairs; parameters D in eV, a in 1/Å, r0 in Å."""
    depth, width, length = parameters
    r, real = distances(positions, mask)
    return jnp.sum(jnp.where(real, depth * (1 - jnp.exp(-width * (r - length))) ** 2, 0.0))


def lennard_jones(positions, mask=None):
    """Σ 4ε ((σ/r)¹² − (σ/r)⁶) over pairs with ε = 0.2 eV and σ = 2.5 Å."""
    r, real = distances(positions, mask)
    return jnp.sum(jnp.where(real, 0.8 * ((2.5 / r) ** 12 - (2.5 / r) ** 6), 0.0))


def chain(positions):
    """A chain with stiff bonds of 1.5 Å, angles by springs of 2.5 Å, and torsions with barriers of 0.1 eV."""
    bonds, second = positions[1:] - positions[:-1], positions[2:] - positions[:-2]
    stiff = 15 * (jnp.linalg.norm(bonds, axis=-1) - 1.5) ** 2
    angles = 4 * (jnp.linalg.norm(second, axis=-1) - 2.5) ** 2
    normals = jnp.cross(bonds[:-1], bonds[1:])
    normals /= jnp.linalg.norm(normals, axis=-1, keepdims=True)
    cosine = jnp.sum(normals[:-1] * normals[1:], axis=-1)
    # 4 c³ − 3 c is cos 3φ
    torsions = 0.05 * (1 + 4 * cosine**3 - 3 * cosine) + 0.02 * (1 - cosine)
    return jnp.sum(stiff) + jnp.sum(angles) + jnp.sum(torsions)
