"""Gō proteins: closed forms of each term, hands, mutants as a matrix product, forces, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.spatial.transform import Rotation

from jaxphys.energies import contact_terms, go_contacts, go_protein
from jaxphys.energies.go_protein import CONTACT

HELIX = np.array([[2.3 * np.cos(1.75 * i), 2.3 * np.sin(1.75 * i), 1.5 * i] for i in range(10)])
CONTACTS = go_contacts(HELIX, cutoff=8.0)


def moved(scale=0.3, seed=0):
    return jnp.asarray(HELIX + scale * np.random.default_rng(seed).normal(size=HELIX.shape))


def by_hand(positions):
    """The energy term by term, with angles in place of their cosines."""
    total = 0.0
    for i in range(9):
        rest, now = (np.linalg.norm(x[i + 1] - x[i]) for x in (HELIX, positions))
        total += 100 * (now - rest) ** 2
    for i in range(8):
        rest, now = (angle(x[i : i + 3]) for x in (HELIX, positions))
        total += 20 * (now - rest) ** 2
    for i in range(7):
        change = dihedral(positions[i : i + 4]) - dihedral(HELIX[i : i + 4])
        total += 1 - np.cos(change) + 0.5 * (1 - np.cos(3 * change))
    native = {tuple(pair) for pair in CONTACTS}
    for i in range(10):
        for j in range(i + 4, 10):
            rest, now = (np.linalg.norm(x[i] - x[j]) for x in (HELIX, positions))
            ratio = rest / now
            total += 5 * ratio**12 - 6 * ratio**10 if (i, j) in native else (4 / now) ** 12
    return CONTACT * total


def angle(x):
    one, other = x[0] - x[1], x[2] - x[1]
    return np.arccos(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def dihedral(x):
    """Of IUPAC's sign: positive for a right-handed screw."""
    b = np.diff(x, axis=0)
    left, right = np.cross(b[0], b[1]), np.cross(b[1], b[2])
    return np.arctan2(np.linalg.norm(b[1]) * b[0] @ right, left @ right)


def test_all_terms_by_hand():
    energy = go_protein(HELIX, CONTACTS)
    for seed in range(3):
        positions = moved(seed=seed)
        np.testing.assert_allclose(energy(positions), by_hand(np.asarray(positions)), rtol=1e-10)


def test_the_native_structure_is_a_minimum_of_known_depth():
    energy, at = go_protein(HELIX, CONTACTS), jnp.asarray(HELIX)
    pairs = {tuple(pair) for pair in CONTACTS}
    others = [(i, j) for i in range(10) for j in range(i + 4, 10) if (i, j) not in pairs]
    repulsion = sum((4 / np.linalg.norm(HELIX[i] - HELIX[j])) ** 12 for i, j in others)
    np.testing.assert_allclose(energy(at), CONTACT * (repulsion - len(CONTACTS)), rtol=1e-10)
    np.testing.assert_allclose(contact_terms(HELIX, CONTACTS)(at), -1.0, rtol=1e-10)
    # but for the repulsion's push
    assert np.abs(jax.grad(energy)(at)).max() < 0.05 * CONTACT
    assert all(energy(moved(0.2, seed)) > energy(at) for seed in range(5))


def test_forces_by_finite_differences():
    check_grads(go_protein(HELIX, CONTACTS), (moved(),), order=2, modes=["rev"], rtol=1e-4)


def test_turned_structures_cost_the_same_and_mirrored_ones_more():
    energy, positions = go_protein(HELIX, CONTACTS), moved(0.1)
    turn = Rotation.random(rng=np.random.default_rng(0)).as_matrix()
    np.testing.assert_allclose(energy(positions @ turn.T + 3.0), energy(positions), rtol=1e-9)
    assert energy(-positions) > energy(positions) + 5 * CONTACT


def test_a_mutants_energy_is_linear_in_its_strengths():
    rng = np.random.default_rng(1)
    strengths = CONTACT * rng.uniform(0.2, 2.0, size=len(CONTACTS))
    mutant, wild, terms = go_protein(HELIX, CONTACTS, strengths), *parts()
    positions = moved()
    change = (strengths - CONTACT) @ np.asarray(terms(positions))
    np.testing.assert_allclose(mutant(positions), wild(positions) + change, rtol=1e-9)
    order = rng.permutation(len(CONTACTS))
    shuffled = go_protein(HELIX, CONTACTS[order, ::-1], strengths[order])
    np.testing.assert_allclose(shuffled(positions), mutant(positions), rtol=1e-9)


def parts():
    return go_protein(HELIX, CONTACTS), contact_terms(HELIX, CONTACTS)


def test_coincident_beads_have_a_finite_force():
    for positions in (
        jnp.zeros((10, 3)),
        jnp.asarray(HELIX).at[7].set(HELIX[1]),
        moved().astype(jnp.float32),
    ):
        value, gradient = jax.value_and_grad(go_protein(HELIX, CONTACTS))(positions)
        assert np.isfinite(value) and np.all(np.isfinite(gradient)) and value.dtype == positions.dtype


def test_contacts_are_near_in_space_and_far_along_the_chain():
    first, second = CONTACTS.T
    assert (second - first >= 4).all()
    assert (np.linalg.norm(HELIX[first] - HELIX[second], axis=1) < 8).all()
    missing = [
        (i, j) for i in range(10) for j in range(i + 4, 10) if not ((first == i) & (second == j)).any()
    ]
    assert all(np.linalg.norm(HELIX[i] - HELIX[j]) >= 8 for i, j in missing)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((HELIX[:3], CONTACTS[:1]), "at least four beads, got shape"),
        ((HELIX, np.array([[0, 10]])), r"beads of 0 to 9, two or more apart, got \[ 0 10\]"),
        ((HELIX, np.array([[3, 4]])), "two or more apart"),
        ((HELIX, np.array([[0, 4], [4, 0]])), "listed once"),
        ((HELIX * np.nan, CONTACTS), "native must be finite"),
    ],
)
def test_what_is_no_go_protein(arguments, message):
    with pytest.raises(ValueError, match=message):
        go_protein(*arguments)


def test_chains_without_contacts_and_negative_units():
    with pytest.raises(ValueError, match=r"no two beads 4 or more apart are within the cutoff of 2\.0 Å"):
        go_contacts(HELIX, cutoff=2.0)
    with pytest.raises(ValueError, match=r"positive energy in eV, got -1"):
        go_protein(HELIX, CONTACTS, contact=-1.0)
