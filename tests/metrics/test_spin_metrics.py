"""Gaps above ground states, by hand."""

import numpy as np
import pytest

from jaxphys.metrics import summarise_spins


def test_gaps_by_hand():
    found = summarise_spins(np.array([-9.0, -20.0, -28.0]), np.array([-10.0, -20.0, -30.0]))
    assert (found.systems, found.gap) == (3, 1.0)
    assert found.relative_gap == pytest.approx(5) and found.solved == pytest.approx(100 / 3)


@pytest.mark.parametrize(
    ("energies", "lowest", "message"),
    [
        ([], [], "of one shape"),
        ([-1.0], [-1.0, -2.0], "of one shape"),
        ([np.nan], [-1.0], "must be finite, got nan"),
        ([-1.0, -3.0], [-1.0, -2.0], "system 1 has the energy -3, below the lowest, -2"),
    ],
)
def test_what_cannot_be_is_refused(energies, lowest, message):
    with pytest.raises(ValueError, match=message):
        summarise_spins(np.array(energies), np.array(lowest))
