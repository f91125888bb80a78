"""Rollouts: the same structure as the sampler's, and the derivative of the last steps alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys import diffusion

SIGMAS = jnp.array([8.0, 4.0, 2.0, 1.0])
START = 8.0 * jax.random.normal(jax.random.key(0), (3, 3))


def denoiser(width):
    """The exact one of a normal distribution, whose standard deviation is to be learned."""
    return lambda positions, sigma: width**2 / (width**2 + sigma**2) * positions


def test_it_ends_where_the_sampler_does():
    expected = diffusion.dpm_solver(denoiser(1.5), START, SIGMAS)
    for steps in (1, 2, 4):
        found = diffusion.rollout(denoiser(1.5), START, SIGMAS, gradient_steps=steps)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_only_the_last_steps_have_a_derivative(steps):
    """In closed form: positions and the last D, of numbers times the start; the first steps are constants."""
    widths = jnp.log(SIGMAS[:-1] / SIGMAS[1:])
    leads = [0.0, *(widths[1:] / (2 * widths[:-1])), 0.0]

    def expected(width):
        scale, before = 1.0, 0.0
        for k, (sigma, after) in enumerate(zip(SIGMAS, jnp.append(SIGMAS[1:], 0.0), strict=True)):
            own = 1.5 if k < 4 - steps else width
            denoised = own**2 / (own**2 + sigma**2) * scale
            goal = denoised + leads[k] * (denoised - before)
            scale, before = goal + after / sigma * (scale - goal), denoised
        return scale * jnp.sum(START)

    def found(width):
        return jnp.sum(diffusion.rollout(denoiser(width), START, SIGMAS, gradient_steps=steps))

    np.testing.assert_allclose(jax.grad(found)(1.5), jax.grad(expected)(1.5), rtol=1e-10)


def test_padded_atoms_stay_zero_and_change_nothing():
    padded = jnp.concatenate([START, jnp.full((2, 3), 7.0)])
    mask = jnp.arange(5) < 3
    found = diffusion.rollout(denoiser(1.5), padded, SIGMAS, gradient_steps=2, mask=mask)
    alone = diffusion.rollout(denoiser(1.5), START, SIGMAS, gradient_steps=2)
    np.testing.assert_allclose(found[:3], alone, rtol=1e-12)
    assert not np.any(found[3:])


@pytest.mark.parametrize("steps", [0, 5])
def test_gradient_steps_are_some_of_the_steps(steps):
    with pytest.raises(ValueError, match=f"gradient_steps must be 1 to 4, the levels, got {steps}"):
        diffusion.rollout(denoiser(1.5), START, SIGMAS, gradient_steps=steps)
