"""What all laws of an energy function share: gradients, padding, precision, atoms in one place."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_differences import slope
from potentials import morse

from jaxphys import losses

RNG = np.random.default_rng(0)
ATOMS = 5
POSITIONS = np.array([[0, 0, 0], [1.1, 0, 0], [0, 1.3, 0.2], [0.1, 0.2, 1.2], [1.0, 1.1, 0.9]])
FORCES = RNG.normal(size=(ATOMS, 3))
# inwards, where every pair is longer than its best: downhill
NOISE = -0.05 * POSITIONS
PARAMETERS = jnp.array([1.5, 1.2, 1.0])

LAWS = {
    "energy": lambda e, r, f, n, mask: losses.energy_matching(e, r, -3.0, mask=mask),
    "energy per atom": lambda e, r, f, n, mask: losses.energy_matching(e, r, -3.0, mask=mask, per_atom=True),
    "energy, Huber": lambda e, r, f, n, mask: losses.energy_matching(e, r, -3.0, mask=mask, huber=0.1),
    "forces": lambda e, r, f, n, mask: losses.force_matching(e, r, f, mask=mask),
    "forces, Huber": lambda e, r, f, n, mask: losses.force_matching(e, r, f, mask=mask, huber=0.7),
    "both": lambda e, r, f, n, mask: losses.energy_and_force_matching(
        e, r, -3.0, f, energy_weight=0.3, force_weight=2.0, mask=mask, per_atom=True, force_huber=0.7
    ),
    "zero force": lambda e, r, f, n, mask: losses.zero_force(e, r, mask=mask),
    "bound": lambda e, r, f, n, mask: losses.energy_bound(e, r, n, mask=mask),
}


def evaluate(law, parameters, positions=POSITIONS, forces=FORCES, noise=NOISE, mask=None):
    dtype = parameters.dtype
    positions, forces, noise = (jnp.asarray(x, dtype) for x in (positions, forces, noise))
    energy = functools.partial(morse, parameters, mask=mask)
    return LAWS[law](energy, positions, forces, noise, mask)


@functools.cache
def compiled(law):
    return jax.jit(jax.value_and_grad(functools.partial(evaluate, law)))


@pytest.mark.parametrize("law", LAWS)
def test_gradient_by_the_energys_parameters_agrees_with_differences(law):
    direction = jnp.array([0.4, -0.7, 0.5])
    value, gradient = compiled(law)(PARAMETERS)
    assert value > 1e-3
    expected = slope(lambda h: compiled(law)(PARAMETERS + h * direction)[0], 1e-3)
    np.testing.assert_allclose(jnp.dot(gradient, direction), expected, rtol=1e-7)


@pytest.mark.parametrize("law", LAWS)
def test_padding_is_inert(law):
    def padded(array):
        return np.vstack([array, 1e3 * RNG.normal(size=(3, 3))])

    mask = jnp.arange(ATOMS + 3) < ATOMS
    alone = compiled(law)(PARAMETERS)
    forces = padded(FORCES)
    forces[-1] = np.nan  # as a label of a shorter molecule may be
    arguments = {"positions": padded(POSITIONS), "forces": forces, "noise": padded(NOISE), "mask": mask}
    batched = compiled(law)(PARAMETERS, **arguments)
    np.testing.assert_allclose(batched[0], alone[0], rtol=1e-12)
    np.testing.assert_allclose(batched[1], alone[1], rtol=1e-12)


@pytest.mark.parametrize("law", LAWS)
def test_single_precision_stays_single_and_close(law):
    exact = compiled(law)(PARAMETERS)
    value, gradient = compiled(law)(PARAMETERS.astype(jnp.float32))
    assert value.dtype == gradient.dtype == jnp.float32
    np.testing.assert_allclose(value, exact[0], rtol=2e-5)
    np.testing.assert_allclose(gradient, exact[1], rtol=2e-4)


@pytest.mark.parametrize("law", LAWS)
def test_coincident_atoms_give_finite_gradients(law):
    positions = np.vstack([POSITIONS[:-1], POSITIONS[:1]])
    value, gradient = compiled(law)(PARAMETERS, positions)
    assert np.isfinite(value) and np.all(np.isfinite(gradient))


@pytest.mark.parametrize("law", ["forces", "forces, Huber", "zero force"])
def test_turned_molecule_has_the_same_loss(law):
    turn = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    turned = compiled(law)(PARAMETERS, POSITIONS @ turn, FORCES @ turn)
    np.testing.assert_allclose(turned[0], compiled(law)(PARAMETERS)[0], rtol=1e-12)
