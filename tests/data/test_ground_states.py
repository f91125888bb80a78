"""Exact ground states against all states, symmetries, and spins of spanning trees."""

import itertools

import numpy as np
import pytest

from jaxphys.data import (
    align_spins,
    ground_states,
    lattice_energies,
    lattice_reference,
    random_lattices,
    reference_spins,
)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 6), (6, 1), (3, 3), (4, 3), (2, 5), (4, 4)])
def test_no_state_lies_below_the_ground_state(rows, columns):
    right, down = random_lattices(4, rows, columns, seed=1)
    spins, energies = ground_states(right, down)
    np.testing.assert_allclose(lattice_energies(spins, right, down), energies, rtol=1e-12)
    states = np.array(list(itertools.product((1, -1), repeat=rows * columns))).reshape(-1, rows, columns)
    for k in range(4):
        every = lattice_energies(states, *(np.broadcast_to(part[k], states.shape) for part in (right, down)))
        np.testing.assert_allclose(energies[k], every.min(), atol=1e-12)
    assert (spins[:, 0, 0] == 1).all() and set(np.unique(spins)) <= {1, -1}


def test_a_ferromagnet_and_its_gauge_transforms_have_no_broken_bond():
    signs = np.random.default_rng(0).choice([1, -1], size=(3, 12, 9))
    right, down = np.zeros((2, 3, 12, 9))
    right[:, :, :-1] = signs[:, :, :-1] * signs[:, :, 1:]
    down[:, :-1] = signs[:, :-1] * signs[:, 1:]
    spins, energies = ground_states(right, down)
    np.testing.assert_array_equal(spins, signs * signs[:, :1, :1])
    np.testing.assert_allclose(energies, -(12 * 8 + 11 * 9))


def test_turned_lattices_have_the_same_energies():
    right, down = random_lattices(3, 7, 10, seed=2)
    np.testing.assert_allclose(
        ground_states(right, down)[1], ground_states(right[:, ::-1], np.roll(down[:, ::-1], -1, axis=1))[1]
    )
    np.testing.assert_allclose(
        ground_states(right, down)[1], ground_states(down.swapaxes(1, 2), right.swapaxes(1, 2))[1]
    )


def test_lattices_are_those_of_the_seed():
    one, same, other = (random_lattices(2, 3, 4, seed=seed) for seed in ((1, 2), (1, 2), (2, 1)))
    np.testing.assert_array_equal(one, same)
    assert np.all(one[0][:, :, :-1] != other[0][:, :, :-1]) and np.abs(one).max() <= 1


@pytest.mark.parametrize(
    ("right", "down", "message"),
    [
        (np.zeros((1, 2, 3)), np.zeros((1, 3, 2)), "of one shape"),
        (np.full((1, 2, 2), np.nan), np.zeros((1, 2, 2)), "must be finite, got NaN"),
        (np.ones((1, 2, 2)), np.zeros((1, 2, 2)), "boundaries are open"),
        (np.zeros((1, 21, 21)), np.zeros((1, 21, 21)), "up to a width of 20 spins, got lattices of 21×21"),
    ],
)
def test_what_is_no_lattice_is_refused(right, down, message):
    with pytest.raises(ValueError, match=message):
        ground_states(right, down)


def kruskal(couplings, senders, receivers, spins):
    """The strongest bonds that close no loop, one after the other."""
    part, tree = list(range(spins)), []
    for bond in np.argsort(-np.abs(couplings)):
        one, other = part[senders[bond]], part[receivers[bond]]
        if one != other:
            tree.append(bond)
            part = [one if p == other else p for p in part]
    return tree


def test_the_strongest_bonds_that_close_no_loop_are_satisfied():
    rng = np.random.default_rng(3)
    senders, receivers = np.array(list(itertools.combinations(range(9), 2)), dtype=int).T
    kept = rng.random(len(senders)) < 0.4
    senders, receivers = senders[kept], receivers[kept]
    couplings = rng.normal(size=len(senders))
    spins = reference_spins(couplings, senders, receivers, 11)
    tree = kruskal(couplings, senders, receivers, 11)
    assert np.all(couplings[tree] * spins[senders[tree]] * spins[receivers[tree]] > 0)
    assert spins[0] == spins[9] == spins[10] == 1


@pytest.mark.parametrize("strongest", [True, False])
def test_references_follow_a_gauge_transformation(strongest):
    right, down = random_lattices(5, 6, 4, seed=4)
    signs = np.random.default_rng(5).choice([1, -1], size=right.shape)
    turned_right, turned_down = right.copy(), down.copy()
    turned_right[:, :, :-1] *= signs[:, :, :-1] * signs[:, :, 1:]
    turned_down[:, :-1] *= signs[:, :-1] * signs[:, 1:]
    before = lattice_reference(right, down, strongest=strongest)
    after = lattice_reference(turned_right, turned_down, strongest=strongest)
    np.testing.assert_array_equal(after, before * signs * signs[:, :1, :1])


def test_bonds_of_zero_and_single_spins_have_a_reference():
    assert lattice_reference(np.zeros((2, 3, 3)), np.zeros((2, 3, 3))).tolist() == np.ones((2, 3, 3)).tolist()
    none = np.zeros(0, dtype=int)
    assert reference_spins(np.zeros(0), none, none, 3).tolist() == [1, 1, 1]


def test_of_a_state_and_its_flip_the_nearer_one_is_taken():
    reference = np.ones((3, 4), dtype=int)
    spins = np.array([[1, -1, -1, -1], [1, 1, 1, -1], [-1, -1, 1, 1]])
    np.testing.assert_array_equal(align_spins(spins, reference), spins * [[-1], [1], [-1]])
