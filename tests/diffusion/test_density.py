"""The density along the flow: of Gaussians in closed form, weights of a mixture, the centre."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys import diffusion

WIDTH, LEAST, GREATEST = 0.2, 0.01, 6.0
SIGMAS = jnp.geomspace(GREATEST, LEAST, 200)


@pytest.mark.parametrize("centre", [True, False])
def test_of_a_gaussian(centre):
    rng = np.random.default_rng(0)
    mean = diffusion.centred(rng.normal(size=(4, 3)))
    noise = jnp.asarray(rng.normal(size=(4, 3)))
    start = GREATEST * (diffusion.centred(noise) if centre else noise)

    def denoise(positions, sigma):
        return mean + (positions - mean) * WIDTH**2 / (WIDTH**2 + sigma**2)

    end, found = jax.jit(lambda x: diffusion.flow_with_density(denoise, x, SIGMAS, centre=centre))(start)
    there, here = WIDTH**2 + GREATEST**2, WIDTH**2 + LEAST**2
    np.testing.assert_allclose(end, mean + (start - mean) * np.sqrt(here / there), atol=1e-3)
    freedom = 9 if centre else 12
    # noise of σ_max alone at the start, where the flow's own also has the structures' width and mean
    expected = -jnp.sum(start**2) / (2 * GREATEST**2) - freedom / 2 * np.log(2 * np.pi * GREATEST**2)
    expected += freedom / 2 * np.log(there / here)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_weights_mend_a_wrong_mixture():
    """Samples of a model with 30 % in one basin, weighted to the energy's 60 %."""
    means = jnp.array([-1.0, 1.0])

    def denoise(positions, sigma):
        logits = jnp.log(jnp.array([0.3, 0.7])) - (positions[0, 0] - means) ** 2 / (2 * (0.3**2 + sigma**2))
        each = means + (positions[0, 0] - means) * 0.3**2 / (0.3**2 + sigma**2)
        return jnp.sum(jax.nn.softmax(logits) * each)[None, None]

    starts = GREATEST * jax.random.normal(jax.random.key(0), (4000, 1, 1))
    flow = jax.jit(jax.vmap(lambda x: diffusion.flow_with_density(denoise, x, SIGMAS, centre=False)))
    ends, log_density = flow(starts)
    right = np.mean(ends > 0)
    assert 0.65 < right < 0.75
    x = ends[:, 0, 0]
    energy = -jnp.log(0.6 * jnp.exp(-((x + 1) ** 2) / 0.18) + 0.4 * jnp.exp(-((x - 1) ** 2) / 0.18))
    weights = jax.nn.softmax(-energy - log_density)
    np.testing.assert_allclose(jnp.sum(weights * (x > 0)), 0.4, atol=0.02)


def test_a_denoiser_that_moves_with_the_centre_changes_nothing():
    rng = np.random.default_rng(1)
    start = 6.0 * diffusion.centred(rng.normal(size=(3, 3)))

    def free(positions, sigma):
        return positions / (1 + sigma**2)

    def bound(positions, sigma):
        return diffusion.centred(positions) / (1 + sigma**2)

    found = [diffusion.flow_with_density(f, start, SIGMAS) for f in (free, bound)]
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-10)
    np.testing.assert_allclose(found[0][0], found[1][0], atol=1e-10)


def test_one_level_is_refused():
    with pytest.raises(ValueError, match="at least two levels, got 1"):
        diffusion.flow_with_density(lambda r, s: r, jnp.zeros((2, 3)), jnp.ones(1))
