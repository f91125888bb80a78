"""Forces against the slope of an energy: what passes, and how wrong ones are named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys.energies import check_forces
from jaxphys.units import KCAL_PER_MOL_IN_EV, KJ_PER_MOL_IN_EV


def energy(positions):
    return (
        jnp.sum(jnp.sin(positions) * jnp.arange(1.0, 7.0).reshape(2, 3)) + positions[0, 0] * positions[1, 2]
    )


POSITIONS = np.random.default_rng(0).normal(size=(9, 2, 3))
FORCES = -np.asarray(jax.vmap(jax.grad(energy))(POSITIONS))


def test_right_forces_pass_in_either_precision():
    check_forces(energy, POSITIONS, FORCES)
    check_forces(energy, np.float32(POSITIONS), np.float32(FORCES))
    with pytest.raises(ValueError, match=r"of 1e\+05 eV in float32 is known to 2.*64-bit mode"):
        check_forces(lambda x: jnp.float32(energy(x) - 1e5), np.float32(POSITIONS), np.float32(FORCES))


@pytest.mark.parametrize(
    ("factor", "hint"),
    [
        (-1.0, "they have the sign of the gradient"),
        (10.0, "look like eV/nm"),
        (1 / KJ_PER_MOL_IN_EV, "look like kJ/mol/Å"),
        (-10 / KJ_PER_MOL_IN_EV, "look like kJ/mol/nm, and with the sign of the gradient"),
        (1 / KCAL_PER_MOL_IN_EV, "look like kcal/mol/Å"),
        (1 / 51.42206747, "look like Ha/Bohr"),
        (4.184, "kJ taken for kcal"),
        (1.7, r"all are 1\.7 times what they should be"),
    ],
)
def test_wrong_units_and_signs_are_named(factor, hint):
    with pytest.raises(ValueError, match=hint):
        check_forces(energy, POSITIONS, factor * FORCES)


def test_one_wrong_force_is_found_with_its_frame_and_atom():
    wrong = FORCES.copy()
    wrong[8, 1] += [0.0, 9.0, 0.0]
    with pytest.raises(ValueError, match=r"frame 8, atom 1: the force is \(.*no factor makes them agree"):
        check_forces(energy, POSITIONS, wrong)
    check_forces(energy, POSITIONS[:8], wrong[:8])
    slightly = FORCES.copy()
    slightly[8, 1, 0] += 0.15
    with pytest.raises(ValueError, match=r"frame 8, atom 1.*the others differ less"):
        check_forces(energy, POSITIONS, slightly)


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"forces must be \(9, 2, 3\) as positions are, got \(8, 2, 3\)"):
        check_forces(energy, POSITIONS, FORCES[:8])
    with pytest.raises(
        ValueError, match=r"must be \(frames, atoms, 3\), of one frame at least, got \(0, 2, 3\)"
    ):
        check_forces(energy, POSITIONS[:0], FORCES[:0])
    holes = FORCES.copy()
    holes[3, 1, 0] = np.nan
    with pytest.raises(ValueError, match=r"forces must be finite, got \[nan, .*for atom 1 of frame 3"):
        check_forces(energy, POSITIONS, holes)
    with pytest.raises(ValueError, match="frame 0: the energy beside it is not finite"):
        check_forces(lambda x: jnp.log(-jnp.sum(x**2)), POSITIONS, FORCES)
