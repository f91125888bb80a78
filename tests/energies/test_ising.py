"""The Ising energy: by hand, of a matrix, of a lattice; input that is refused."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys import energies
from jaxphys.data import from_lattice, lattice_energies, random_lattices


def test_two_spins_by_hand():
    energy = energies.ising(np.array([0.5]), np.array([0]), np.array([1]))
    assert energy(jnp.array([1.0, 1.0])) == -0.5 and energy(jnp.array([1.0, -0.5])) == 0.25


def test_lattice_bonds_and_matrix_have_one_energy():
    right, down = (part[0] for part in random_lattices(1, 3, 5, seed=0))
    spins = np.random.default_rng(1).choice([1.0, -1.0], size=(3, 5))
    glass = from_lattice(right, down)
    matrix = np.zeros((15, 15))
    matrix[glass.senders, glass.receivers] = matrix[glass.receivers, glass.senders] = glass.couplings
    expected = -spins.ravel() @ matrix @ spins.ravel() / 2
    np.testing.assert_allclose(energies.ising_lattice(right, down)(spins), expected)
    np.testing.assert_allclose(energies.ising(*energies.bonds_of_matrix(matrix))(spins.ravel()), expected)
    np.testing.assert_allclose(lattice_energies(spins[None], right[None], down[None]), [expected])


def test_the_energy_of_means_is_the_mean_energy_of_independent_spins():
    glass = from_lattice(*(part[0] for part in random_lattices(1, 2, 2, seed=2)))
    energy = energies.ising(glass.couplings, glass.senders, glass.receivers)
    means = np.array([0.3, -0.8, 0.1, 0.6])
    states = np.array(np.meshgrid(*[[1.0, -1.0]] * 4)).reshape(4, -1).T
    chances = np.prod((1 + states * means) / 2, axis=1)
    expected = sum(chance * energy(state) for chance, state in zip(chances, states, strict=True))
    np.testing.assert_allclose(energy(means), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros((2, 3)), "must be a square matrix, got shape"),
        ([[0.0, 1.0], [0.5, 0.0]], r"must be symmetric, J\[0, 1\] = 1 but J\[1, 0\] = 0.5"),
        ([[0.0, np.nan], [np.nan, 0.0]], r"must be finite, got J\[0, 1\] = nan"),
        ([[1.0, 0.0], [0.0, 0.0]], r"does not couple to itself, got J\[0, 0\] = 1"),
    ],
)
def test_matrices_that_are_no_couplings_are_refused(matrix, message):
    with pytest.raises(ValueError, match=message):
        energies.bonds_of_matrix(np.array(matrix))


def test_spins_are_plus_or_minus_one():
    np.testing.assert_array_equal(energies.check_spins([1, -1]), [1, -1])
    with pytest.raises(ValueError, match=r"spins must be \+1 or -1, got 0 at 2"):
        energies.check_spins([1, -1, 0])
    with pytest.raises(ValueError, match="got nan at"):
        energies.check_spins([[1.0, np.nan]])
