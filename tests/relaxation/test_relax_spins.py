"""Greedy descent of spins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_unit_of_couplings_is_none_of_its_business(scale):
    right, down = (part[0].astype(np.float32) for part in random_lattices(1, 6, 6, seed=0))
    start = np.random.default_rng(1).choice([1.0, -1.0], size=(6, 6)).astype(np.float32)
    ends = [relax_spins(ising_lattice(s * right, s * down), start) for s in (1.0, np.float32(scale))]
    np.testing.assert_array_equal(*ends)


def test_other_spins_are_refused():
    with pytest.raises(ValueError, match=r"spins must be \+1 or -1, got 0.0 at 1"):
        relax_spins(ising(np.array([1.0]), np.array([0]), np.array([1])), np.array([1.0, 0.0]))
