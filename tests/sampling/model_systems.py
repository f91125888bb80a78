"""Energies whose Boltzmann averages are known, in reduced units."""

import jax.numpy as jnp
import numpy as np

STIFFNESS = np.array([1.0, 2.0, 4.0])


def oscillators(positions):
    """Σ k x² / 2 with k of 1, 2, 4 along the axes: mean energy kT/2 for each coordinate."""
    return 0.5 * jnp.sum(STIFFNESS * positions**2)


def springs(positions):
    """(x_i − x_j)² / 2 over pairs: free to move as a whole, and without a minimum apart from that."""
    i, j = np.triu_indices(len(positions), 1)
    return 0.5 * jnp.sum((positions[i] - positions[j]) ** 2)


def unlike_wells(positions):
    """6 (x² − 1)² + x in one dimension, of one particle: the left well is deeper, with a barrier of 6."""
    x = positions[0, 0]
    return 6 * (x**2 - 1) ** 2 + x


def double_well_4(positions):
    """DW4: Σ 0.9 (d − 4)⁴ − 4 (d − 4)² over the pairs of four particles in the plane."""
    i, j = np.triu_indices(4, 1)
    d = jnp.sqrt(jnp.sum((positions[i] - positions[j]) ** 2, axis=-1)) - 4
    return jnp.sum(0.9 * d**4 - 4 * d**2)


def long_distances(positions):
    """How many of the six pair distances of DW4 are above 4, (...,), of positions (..., 4, 2)."""
    i, j = np.triu_indices(4, 1)
    distances = np.linalg.norm(positions[..., i, :] - positions[..., j, :], axis=-1)
    return np.sum(distances > 4, axis=-1)


def left_weight(kt):
    """Exact probability of x < 0 for `unlike_wells`, and ln ∫ exp(−E/kT) dx."""
    x = np.linspace(-4, 4, 80001)
    density = np.exp(-(6 * (x**2 - 1) ** 2 + x) / kt)
    return density[x < 0].sum() / density.sum(), np.log(density.sum() * (x[1] - x[0]))


def standard_error(per_walker):
    """Of the mean over independent walkers."""
    return np.std(per_walker, ddof=1) / np.sqrt(len(per_walker))
