"""Greedy descent of spins."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys.data import from_lattice, random_lattices
from jaxphys.energies import ising, ising_lattice
from jaxphys.relaxation import relax_spins


def test_no_flip_lowers_the_energy_at_the_end():
    right, down = (part[0] for part in random_lattices(1, 6, 6, seed=0))
    energy, start = ising_lattice(right, down), np.random.default_rng(1).choice([1.0, -1.0], size=(6, 6))
    end = jax.jit(lambda s: relax_spins(energy, s))(start)
    flips = end * (1 - 2 * np.eye(36).reshape(36, 6, 6))
    assert np.all(jax.vmap(energy)(flips) >= energy(end)) and energy(end) < energy(start)
    assert set(np.unique(end)) == {1.0, -1.0}
    glass = from_lattice(right, down)
    other = relax_spins(ising(glass.couplings, glass.senders, glass.receivers), start.ravel())
    np.testing.assert_array_equal(other, end.ravel())


def test_free_spins_stay_and_the_largest_gain_goes_first():
    energy = ising(np.array([1.0, 2.0]), np.array([0, 1]), np.array([1, 2]))
    # the middle spin gains 6 with its flip, and the others nothing thereafter
    np.testing.assert_array_equal(relax_spins(energy, jnp.array([1.0, -1.0, 1.0, -1.0])), [1, 1, 1, -1])
