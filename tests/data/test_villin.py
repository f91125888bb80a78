"""The villin headpiece as stored: a chain of trans peptides in three right-handed helices around a core."""

import numpy as np

from jaxphys.data import VILLIN_SEQUENCE, villin_headpiece

HELICES = ((43, 52), (54, 59), (62, 73))  # as the entry lists them
FIRST = 42


def test_neighbours_are_a_trans_peptide_apart():
    bonds = np.linalg.norm(np.diff(villin_headpiece(), axis=0), axis=1)
    assert len(VILLIN_SEQUENCE) == len(bonds) + 1 == 35
    np.testing.assert_allclose(bonds, 3.8, atol=0.06)


def test_helices_are_where_the_entry_has_them_and_right_handed():
    positions = villin_headpiece()
    for first, last in HELICES:
        x = positions[first - FIRST : last - FIRST + 1]
        np.testing.assert_allclose(np.linalg.norm(x[3:] - x[:-3], axis=1), 5.1, atol=0.6)
        steps = np.diff(x, axis=0)
        assert (np.einsum("ij,ij->i", np.cross(steps[:-2], steps[1:-1]), steps[2:]) > 0).all()


def test_the_three_phenylalanines_of_the_core_meet():
    positions = villin_headpiece()
    core = [i for i, one in enumerate(VILLIN_SEQUENCE) if one == "F"][:3]
    assert [i + FIRST for i in core] == [47, 51, 58]
    for i in core:
        for j in core:
            assert np.linalg.norm(positions[i] - positions[j]) < 10.0
    np.testing.assert_allclose(positions.mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(np.sqrt(np.sum(positions**2) / 35), 8.95, atol=0.01)
