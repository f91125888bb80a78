"""What the laws of a denoiser share: gradients, what is detached, padding, precision, atoms in one place."""

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
# inwards, where every pair is longer than its best: downhill
NOISE = -0.05 * POSITIONS
MORSE = jnp.array([1.5, 1.2, 1.0])
PARAMETERS = jnp.array([0.7, 0.4])
SIGMA = 0.2


def denoise(parameters, positions, sigma, mask=None):
    """Turns with the structure; what it makes of padding is no number."""
    pull, swirl = parameters
    found = positions * (1 - pull * sigma) + swirl * sigma * jnp.sin(positions)
    return found if mask is None else jnp.where(mask[:, None], found, jnp.nan)


def denoised(d, r, mask):
    """A structure at hand; an energy needs numbers in padding too."""
    found = d(r, SIGMA)
    return found if mask is None else jnp.where(mask[:, None], found, 7.0)


LAWS = {
    "denoising": lambda e, d, r, n, mask: losses.denoising_score(d, r, n, SIGMA, mask=mask),
    "optimality": lambda e, d, r, n, mask: losses.optimality_consistency(
        e, denoised(d, r, mask), n, mask=mask
    ),
    "score": lambda e, d, r, n, mask: losses.score_consistency(e, d, r, SIGMA, kt=0.3, mask=mask),
    "score, shrunk": lambda e, d, r, n, mask: losses.score_consistency(
        e, d, 0.8 * r, SIGMA, kt=0.3, alpha=0.8, mask=mask
    ),
    "proximal": lambda e, d, r, n, mask: losses.proximal_consistency(
        e, denoised(d, r, mask), r, SIGMA, kt=0.3, mask=mask
    ),
}
OF_ENERGY = [law for law in LAWS if law != "denoising"]


def evaluate(law, parameters, energy=MORSE, positions=POSITIONS, noise=NOISE, mask=None):
    dtype = parameters.dtype
    energy, positions, noise = (jnp.asarray(x, dtype) for x in (energy, positions, noise))
    energy_fn = functools.partial(morse, energy, mask=mask)
    return LAWS[law](energy_fn, functools.partial(denoise, parameters, mask=mask), positions, noise, mask)


@functools.cache
def compiled(law):
    found = jax.jit(jax.value_and_grad(functools.partial(evaluate, law), argnums=(0, 1)))
    return lambda parameters, energy=MORSE, *rest: found(parameters, energy, *rest)


@pytest.mark.parametrize("law", LAWS)
def test_gradient_by_the_denoisers_parameters_agrees_with_differences(law):
    direction = jnp.array([0.4, -0.7])
    value, (gradient, _) = compiled(law)(PARAMETERS)
    assert value > 1e-4
    expected = slope(lambda h: compiled(law)(PARAMETERS + h * direction)[0], 1e-3)
    np.testing.assert_allclose(jnp.dot(gradient, direction), expected, rtol=1e-7)


@pytest.mark.parametrize("law", OF_ENERGY)
def test_what_the_energy_holds_gets_exactly_nothing(law):
    value, (moved, held) = compiled(law)(PARAMETERS)
    other, _ = compiled(law)(PARAMETERS, 1.3 * MORSE)
    assert not np.isclose(value, other)
    assert np.all(moved != 0)
    assert np.all(held == 0)


@pytest.mark.parametrize("law", LAWS)
def test_padding_is_inert(law):
    def padded(array):
        return np.vstack([array, 1e3 * RNG.normal(size=(3, 3))])

    mask = jnp.arange(ATOMS + 3) < ATOMS
    alone = compiled(law)(PARAMETERS)
    batched = compiled(law)(PARAMETERS, MORSE, padded(POSITIONS), padded(NOISE), mask)
    for one, other in zip(jax.tree.leaves(alone), jax.tree.leaves(batched), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-12)


@pytest.mark.parametrize("law", LAWS)
def test_single_precision_stays_single_and_close(law):
    exact = compiled(law)(PARAMETERS)
    value, (gradient, _) = compiled(law)(PARAMETERS.astype(jnp.float32))
    assert value.dtype == gradient.dtype == jnp.float32
    np.testing.assert_allclose(value, exact[0], rtol=2e-5)
    np.testing.assert_allclose(gradient, exact[1][0], rtol=2e-4)


@pytest.mark.parametrize("law", LAWS)
def test_coincident_atoms_give_finite_gradients(law):
    positions = np.vstack([POSITIONS[:-1], POSITIONS[:1]])
    for leaf in jax.tree.leaves(compiled(law)(PARAMETERS, MORSE, positions)):
        assert np.all(np.isfinite(leaf))
