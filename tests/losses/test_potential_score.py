"""Potential score matching against closed forms and quadrature: what it mends, and what it cannot."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_differences import slope

from jaxphys import diffusion, losses

RNG = np.random.default_rng(0)
CENTRE = RNG.normal(size=(4, 3))
STIFFNESS, KT = 5.0, 0.1  # eV/Å², eV
WIDTH = np.sqrt(KT / STIFFNESS)
POSITIONS = CENTRE + WIDTH * RNG.normal(size=(4, 3))
NOISE = RNG.normal(size=(4, 3))
FORCES = -STIFFNESS * (POSITIONS - CENTRE)


def posterior_mean(positions, sigma):
    """E[R | R_σ] of exp(−E/kT), a Gaussian of variance kT/k."""
    return CENTRE + (positions - CENTRE) / (1 + sigma**2 / WIDTH**2)


def test_by_hand():
    law = losses.potential_score(
        lambda r, sigma: r + sigma**2, jnp.ones((2, 3)), jnp.full((2, 3), 0.4), jnp.zeros((2, 3)), 0.5, kt=0.2
    )
    # score 1, force over kT 2, in three components
    np.testing.assert_allclose(law, 3.0, rtol=1e-12)


def test_a_shrunk_state_has_the_law_over_the_square_of_its_shrinkage():
    schedule = diffusion.VariancePreserving("sigmoid", scale=1.7)
    time = schedule.time(0.35)
    alpha, sigma = schedule.alpha(time), schedule.sigma(time)
    law = functools.partial(losses.potential_score, posterior_mean, POSITIONS, FORCES, NOISE, kt=KT)
    np.testing.assert_allclose(law(alpha * sigma, alpha=alpha), law(sigma) / alpha**2, rtol=1e-10)


@pytest.mark.parametrize("sigma", [0.01, 0.14, 2.0])
def test_the_ends_of_the_blend_are_the_two_laws(sigma):
    blended = functools.partial(losses.blended_score, posterior_mean, POSITIONS, FORCES, NOISE, sigma, kt=KT)
    of_data = losses.denoising_score(posterior_mean, POSITIONS, NOISE, sigma)
    of_energy = losses.potential_score(posterior_mean, POSITIONS, FORCES, NOISE, sigma, kt=KT)
    np.testing.assert_allclose(blended(blend=1.0), of_data, rtol=1e-12)
    np.testing.assert_allclose(blended(blend=0.0), sigma**4 * of_energy, rtol=1e-9)


@pytest.mark.parametrize("sigma", [0.01, 0.14, 2.0])
def test_the_blend_of_a_gaussian_has_no_variance(sigma):
    """At the right denoiser every single structure and noise has no loss, where either label alone has."""
    width = losses.score_width(jnp.asarray(-STIFFNESS * WIDTH * RNG.normal(size=(20000, 4, 3))), KT)
    np.testing.assert_allclose(width, WIDTH, rtol=0.01)
    blended = functools.partial(losses.blended_score, posterior_mean, POSITIONS, FORCES, NOISE, sigma, kt=KT)
    labels = [blended(blend=blend) for blend in (0.0, 1.0)]
    assert blended(blend=losses.blend_weight(sigma, WIDTH)) < 1e-20 * max(labels)
    assert min(labels) > 1e-3 * sigma**4 / (sigma**2 + WIDTH**2)


GRID = np.linspace(-3.2, 3.2, 1601)


def double_well(x):
    return 6 * (x**2 - 1) ** 2 + 0.4 * x


def other_well(x):
    return 3 * (x**2 - 1) ** 2 - 0.4 * x


def density(energy):
    weights = np.exp(-energy(GRID))
    return weights / weights.sum()


TARGET = density(double_well)
LEFT = np.where(GRID < 0, TARGET, 0)
BIASED = {
    "weights": 0.1 * LEFT / LEFT.sum() + 0.9 * (TARGET - LEFT) / (1 - LEFT.sum()),
    "temperature": density(lambda x: double_well(x) / 2),
    "potential": density(other_well),
}


def squared_errors(data, sigma):
    """E over noisy p of |s − s*|², of the minimisers of denoising and of the potential score on the data."""
    kernel = np.exp(-((GRID[:, None] - GRID) ** 2) / (2 * sigma**2))
    kernel *= (GRID[1] - GRID[0]) / (np.sqrt(2 * np.pi) * sigma)

    def score(weights):
        return (kernel @ (weights * GRID) / (kernel @ weights) - GRID) / sigma**2

    gradient = 24 * GRID * (GRID**2 - 1) + 0.4
    of_energy = -(kernel @ (data * gradient)) / (kernel @ data)
    there = kernel @ TARGET
    right = score(TARGET)
    return [float(np.sum(there * (found - right) ** 2)) for found in (score(data), of_energy)]


@pytest.mark.parametrize(
    ("bias", "expected"),
    [
        ("weights", {0.05: (0.166, 5.9e-4), 0.1: (0.117, 0.0061), 0.4: (1.38, 1.30), 0.8: (1.02, 0.993)}),
        ("temperature", {0.05: (8.66, 0.221), 0.1: (4.86, 1.51), 0.2: (1.48, 3.45), 0.8: (0.024, 0.779)}),
        ("potential", {0.05: (9.04, 0.211), 0.1: (5.24, 1.44), 0.2: (1.76, 3.35), 0.8: (0.274, 0.933)}),
    ],
)
def test_what_it_mends_and_what_it_cannot(bias, expected):
    """At small noise local bias goes, at large noise denoising is nearer, and weights of basins stay.

    The published inequality, that its score is everywhere nearer than the data's, holds at small noise alone.
    """
    for sigma, errors in expected.items():
        np.testing.assert_allclose(squared_errors(BIASED[bias], sigma), errors, rtol=0.02)


@pytest.mark.parametrize("sigma", [0.05, 0.4])
def test_the_minimiser_is_the_mean_force_of_the_data(sigma):
    """The law's own gradient by D vanishes at E_q[F | R_σ], by quadrature over biased data and noise."""
    data, gradient = BIASED["temperature"], 24 * GRID * (GRID**2 - 1) + 0.4
    at = 0.7
    likelihood = data * np.exp(-((at - GRID) ** 2) / (2 * sigma**2))
    likelihood /= likelihood.sum()

    def mean_loss(score):
        def one(clean, force, weight):
            law = losses.potential_score(
                lambda r, s: r + s**2 * score,
                clean[None, None],
                force[None, None],
                ((at - clean) / sigma)[None, None],
                sigma,
                kt=1.0,
            )
            return weight * law

        return jnp.sum(jax.vmap(one)(jnp.asarray(GRID), jnp.asarray(-gradient), jnp.asarray(likelihood)))

    best = -np.sum(likelihood * gradient)
    assert abs(jax.grad(mean_loss)(best)) < 1e-10
    assert mean_loss(best + 0.1) > mean_loss(best)


@pytest.mark.parametrize("law", [losses.potential_score, functools.partial(losses.blended_score, blend=0.3)])
def test_gradient_against_differences_and_padding(law):
    mask = jnp.arange(6) < 4
    padded = [np.vstack([x, np.full((2, 3), 7.0)]) for x in (POSITIONS, FORCES, NOISE)]

    def value(stretch, arrays, mask=None):
        def denoise(r, s):
            return posterior_mean(r[:4], s) * stretch if mask is None else stretch * r * (1 + s)

        return law(denoise, *(jnp.asarray(x) for x in arrays), 0.2, kt=KT, mask=mask)

    arrays = (POSITIONS, FORCES, NOISE)
    found = jax.grad(value)(0.9, arrays)
    np.testing.assert_allclose(found, slope(lambda h: value(0.9 + h, arrays), 1e-3), rtol=1e-9)

    def simple(arrays, mask=None):
        return law(lambda r, s: 0.9 * r, *(jnp.asarray(x) for x in arrays), 0.2, kt=KT, mask=mask)

    np.testing.assert_allclose(simple(padded, mask), simple(arrays), rtol=1e-12)


def test_single_precision_at_the_least_noise():
    for law in (losses.potential_score, functools.partial(losses.blended_score, blend=0.1)):
        values = [
            law(
                lambda r, s: (r - 0.5 * s**2 * (r - CENTRE.astype(r.dtype))).astype(r.dtype),
                *(jnp.asarray(x, dtype) for x in (POSITIONS, FORCES, NOISE)),
                jnp.asarray(0.01, dtype),
                kt=KT,
            )
            for dtype in (jnp.float32, float)
        ]
        assert values[0].dtype == jnp.float32
        np.testing.assert_allclose(values[0], values[1], rtol=0.02)


@pytest.mark.parametrize("kt", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_positive_is_refused(kt):
    arrays = tuple(jnp.asarray(x) for x in (POSITIONS, FORCES, NOISE))
    with pytest.raises(ValueError, match="kt must be positive"):
        losses.potential_score(posterior_mean, *arrays, 0.1, kt=kt)
    with pytest.raises(ValueError, match="kt must be positive"):
        losses.blended_score(posterior_mean, *arrays, 0.1, kt=kt, blend=0.5)
    with pytest.raises(ValueError, match="kt must be positive"):
        losses.score_width(arrays[1][None], kt)
