"""The energy of predicted spins as a loss: closed forms, all states of small lattices, gradients."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_differences import slope

from jaxphys import losses
from jaxphys.data import from_lattice, ground_states, random_lattices
from jaxphys.energies import ising, ising_lattice

CERTAIN = 60.0  # a logit beyond all entropy
STATES = np.array(list(itertools.product((1.0, -1.0), repeat=16))).reshape(-1, 4, 4)
RIGHT, DOWN = random_lattices(30, 4, 4, seed=0)
LABELS, LOWEST = ground_states(RIGHT, DOWN)


@functools.partial(jax.jit, static_argnames="h0")
def values(right, down, label, h0):
    """The local energy of every state."""
    energy = ising_lattice(right, down)
    return jax.vmap(lambda state: losses.ising_energy(energy, CERTAIN * state, label, h0=h0))(STATES)


def found(labels, h0):
    """How many of the labels have the least local energy of all states."""
    lowest = [STATES[jnp.argmin(values(*system, h0))] for system in zip(RIGHT, DOWN, labels, strict=True)]
    return int(np.sum(np.all(np.array(lowest) == labels, axis=(1, 2))))


@pytest.mark.parametrize(("labels", "h0", "right"), [("ground", 0.1, 30), ("any", 4.1, 30), ("any", 0.1, 0)])
def test_the_label_is_the_minimiser_of_the_local_form(labels, h0, right):
    """For any h₀ > 0 if it is a ground state; beyond the largest field if it is not."""
    some = np.random.default_rng(1).choice([1.0, -1.0], size=LABELS.shape)
    assert found(LABELS.astype(float) if labels == "ground" else some, h0) == right


def test_the_true_form_at_certain_spins_is_their_energy_over_t():
    law = jax.jit(lambda r, d, s: losses.ising_energy(ising_lattice(r, d), CERTAIN * s, temperature=0.5))
    for system in zip(RIGHT[:5], DOWN[:5], LABELS[:5], LOWEST[:5], strict=True):
        np.testing.assert_allclose(law(*system[:2], system[2].astype(float)), 2 * system[3], rtol=1e-12)


def test_the_local_form_has_the_free_energy_of_free_spins():
    """Its least value is −Σ ln 2cosh(b / T), at logits 2b/T, where its gradient is zero."""
    glass, temperature, h0 = from_lattice(RIGHT[0], DOWN[0]), 0.7, 0.3
    energy, label = ising(glass.couplings, glass.senders, glass.receivers), LABELS[0].ravel().astype(float)
    matrix = np.zeros((16, 16))
    matrix[glass.senders, glass.receivers] = matrix[glass.receivers, glass.senders] = glass.couplings
    fields = (matrix @ label + h0 * label) / temperature
    law = functools.partial(losses.ising_energy, energy, label=label, temperature=temperature, h0=h0)
    value, gradient = jax.value_and_grad(law)(2 * fields)
    np.testing.assert_allclose(value, -np.sum(np.log(2 * np.cosh(fields))), rtol=1e-12)
    np.testing.assert_allclose(gradient, 0, atol=1e-12)


def test_spins_of_no_preference_have_all_entropy_and_no_energy():
    law = losses.ising_energy(ising_lattice(RIGHT[0], DOWN[0]), jnp.zeros((4, 4)))
    np.testing.assert_allclose(law, -16 * np.log(2), rtol=1e-12)


@pytest.mark.parametrize("label", [None, LABELS[0].astype(float)])
def test_gradients_are_those_of_differences(label):
    logits, direction = np.random.default_rng(2).normal(size=(2, 4, 4))
    law = jax.jit(
        lambda x: losses.ising_energy(ising_lattice(RIGHT[0], DOWN[0]), x, label, temperature=0.4, h0=0.2)
    )
    expected = slope(lambda h: law(logits + h * direction), 1e-3)
    np.testing.assert_allclose(jnp.sum(jax.grad(law)(jnp.asarray(logits)) * direction), expected, rtol=1e-7)


def test_the_true_form_is_blind_to_a_flip_and_the_local_one_is_not():
    energy, logits = (
        ising_lattice(RIGHT[0], DOWN[0]),
        jnp.asarray(np.random.default_rng(3).normal(size=(4, 4))),
    )
    label = LABELS[0].astype(float)
    np.testing.assert_allclose(losses.ising_energy(energy, logits), losses.ising_energy(energy, -logits))
    assert abs(losses.ising_energy(energy, logits, label) - losses.ising_energy(energy, -logits, label)) > 1


def test_far_beyond_the_fields_the_local_form_knows_labels_alone():
    logits, label = jnp.asarray(np.random.default_rng(4).normal(size=(4, 4))), LABELS[0].astype(float)
    one, other = (
        jax.grad(losses.ising_energy, argnums=1)(ising_lattice(r, d), logits, label, temperature=1e5, h0=1e6)
        for r, d in zip(RIGHT[:2], DOWN[:2], strict=True)
    )
    np.testing.assert_allclose(one, other, rtol=1e-4)


@pytest.mark.parametrize("label", [None, 1.0])
def test_padding_is_inert(label):
    """Further spins, without bonds or with bonds of zero, and whatever is predicted for them."""
    glass = from_lattice(RIGHT[0], DOWN[0])
    couplings, senders, receivers = glass.couplings, glass.senders, glass.receivers
    logits = jnp.asarray(np.random.default_rng(5).normal(size=16))
    padded = jnp.concatenate([logits, jnp.array([7.0, jnp.nan])])
    alone, target = ising(couplings, senders, receivers), None if label is None else LABELS[0].ravel() * label
    larger = ising(np.append(couplings, 0.0), np.append(senders, 17), np.append(receivers, 16))
    more = None if target is None else np.append(target, [0.0, 0.0])
    value, gradient = jax.value_and_grad(losses.ising_energy, argnums=1)(alone, logits, target)
    law = functools.partial(losses.ising_energy, larger, label=more, mask=jnp.arange(18) < 16)
    with_padding, padded_gradient = jax.value_and_grad(law)(padded)
    np.testing.assert_allclose(with_padding, value, rtol=1e-12)
    np.testing.assert_allclose(padded_gradient, np.append(gradient, [0.0, 0.0]), atol=1e-12)


@pytest.mark.parametrize("coupling", [0.0, 1.0])
@pytest.mark.parametrize("local", [False, True])
def test_free_spins_and_degenerate_states_give_numbers(coupling, local):
    """A square of bonds of one size, one negative: eight ground states, spins without a field."""
    right, down = np.zeros((2, 2, 2))
    right[:, 0], down[0] = coupling, (coupling, -coupling)
    label = ground_states(right[None], down[None])[0][0].astype(float) if local else None
    for logits in (jnp.zeros((2, 2)), jnp.full((2, 2), 1e4)):
        value, gradient = jax.value_and_grad(losses.ising_energy, argnums=1)(
            ising_lattice(right, down), logits, label, h0=0.0
        )
        assert np.isfinite(value) and np.all(np.isfinite(gradient))


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"temperature": np.nan}, {"h0": -0.1}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="temperature must be positive and h0 not negative"):
        losses.ising_energy(ising_lattice(RIGHT[0], DOWN[0]), jnp.zeros((4, 4)), **wrong)


def test_labels_other_than_spins_are_refused():
    energy, label = ising_lattice(RIGHT[0], DOWN[0]), np.where(LABELS[0] > 0, 1.0, 0.0)
    with pytest.raises(ValueError, match=r"spins must be \+1 or -1, got 0.0"):
        losses.ising_energy(energy, jnp.zeros((4, 4)), label)
    losses.ising_energy(energy, jnp.zeros((4, 4)), label, mask=label > 0)
