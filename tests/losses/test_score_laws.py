"""Laws of a denoiser against closed forms: one Gaussian, one parabola, and what each minimiser is."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys import diffusion, losses

RNG = np.random.default_rng(0)
CENTRE, NOISY = RNG.normal(size=(2, 4, 3))
STIFFNESS, KT = 5.0, 0.1  # eV/Å², eV: √(kT/k) is 0.14 Å


def parabola(positions, stiffness=STIFFNESS):
    return 0.5 * stiffness * jnp.sum((positions - CENTRE) ** 2) - 40.0


def posterior_mean(positions, sigma):
    """E[R | R_σ] of exp(−E/kT), a Gaussian of variance kT/k."""
    return CENTRE + (positions - CENTRE) / (1 + sigma**2 * STIFFNESS / KT)


def published_minimiser(positions, sigma):
    """Where the score at the noisy structure is its force over kT."""
    return CENTRE + (positions - CENTRE) * (1 - sigma**2 * STIFFNESS / KT)


def test_denoising_by_hand():
    noise = jnp.array([[1.0, 0, 0], [0, 2, 0]])
    law = losses.denoising_score(lambda r, sigma: r + sigma, jnp.ones((2, 3)), noise, 0.5)
    # |(1, ½, ½)|² and |(½, 3/2, ½)|² over two atoms
    np.testing.assert_allclose(law, (1.5 + 2.75) / 2, rtol=1e-14)


def test_the_least_denoising_loss_of_a_gaussian_is_its_posterior_variance():
    sigma, width, count = 0.3, np.sqrt(KT / STIFFNESS), 4000
    clean = CENTRE + width * RNG.normal(size=(count, 4, 3))
    noise = RNG.normal(size=(count, 4, 3))

    def mean_loss(denoise_fn):
        return jnp.mean(jax.vmap(lambda r, e: losses.denoising_score(denoise_fn, r, e, sigma))(clean, noise))

    best = mean_loss(posterior_mean)
    np.testing.assert_allclose(best, 3 / (1 / width**2 + 1 / sigma**2), rtol=0.03)
    for change in (0.9, 1.1):
        assert mean_loss(lambda r, s, change=change: CENTRE + change * (posterior_mean(r, s) - CENTRE)) > best


@pytest.mark.parametrize("sigma", [0.01, 0.1, 1.0])
def test_the_least_proximal_loss_is_at_the_posterior_mean_at_every_noise(sigma):
    law = functools.partial(losses.proximal_consistency, parabola)
    gradient = jax.grad(lambda d: law(d, NOISY, sigma, kt=KT))
    best = posterior_mean(NOISY, sigma)
    scale = np.max(np.abs(gradient(NOISY)))
    np.testing.assert_allclose(gradient(best), 0, atol=1e-12 * scale)
    # k/kT + 1/σ² per coordinate, from the force at the structure and not from a second derivative
    off = 0.01 * RNG.normal(size=(4, 3))
    np.testing.assert_allclose(gradient(best + off), (STIFFNESS / KT + sigma**-2) * off, rtol=1e-9)
    expected = (parabola(best) / KT) + np.sum((best - NOISY) ** 2) / (2 * sigma**2)
    np.testing.assert_allclose(law(best, NOISY, sigma, kt=KT), expected, rtol=1e-12)


@pytest.mark.parametrize("sigma", [0.01, 0.1, 1.0])
def test_the_published_form_is_least_where_it_overshoots(sigma):
    law = functools.partial(losses.score_consistency, parabola, positions=NOISY, sigma=sigma, kt=KT)
    scale = np.mean(np.sum((NOISY - CENTRE) ** 2, axis=1)) * (STIFFNESS / KT) ** 2
    np.testing.assert_allclose(law(published_minimiser), 0, atol=1e-20 * scale)
    # what it asks of the right answer: k/kT (1 − 1/(1 + σ²k/kT)) of the displacement
    ratio = sigma**2 * STIFFNESS / KT
    np.testing.assert_allclose(law(posterior_mean), scale * (ratio / (1 + ratio)) ** 2, rtol=1e-9)
    side = np.sum((published_minimiser(NOISY, sigma) - CENTRE) * (NOISY - CENTRE))
    assert (side < 0) == (sigma > np.sqrt(KT / STIFFNESS))


def test_score_laws_agree_at_low_noise():
    """Both gradients by D: at σ² k ≪ kT the force is that of the noisy and of the denoised structure."""
    sigma = 1e-4
    found = NOISY - sigma**2 * 30 * RNG.normal(size=(4, 3))
    proximal = jax.grad(lambda d: losses.proximal_consistency(parabola, d, NOISY, sigma, kt=KT))(found)
    forces = jax.grad(parabola)(jnp.asarray(NOISY))
    squared = losses.score_deviation(found, NOISY, forces, sigma, kt=KT)
    np.testing.assert_allclose(squared, jnp.sum(proximal**2) / 4, rtol=1e-4)


def test_a_shrunk_state_has_the_law_of_the_structure_over_the_square_of_its_shrinkage():
    schedule = diffusion.VariancePreserving("sigmoid", scale=1.7)
    time = schedule.time(0.35)
    alpha, sigma = schedule.alpha(time), schedule.sigma(time)
    law = functools.partial(losses.score_consistency, parabola, posterior_mean, kt=KT)
    shrunk = law(alpha * NOISY, alpha * sigma, alpha=alpha)
    np.testing.assert_allclose(shrunk, law(jnp.asarray(NOISY), sigma) / alpha**2, rtol=1e-10)


def test_the_score_of_the_noisy_distribution_itself_fulfils_the_law():
    """With the energy of the noisy structures, k/(1 + σ²k/kT), the best denoiser has no deviation."""
    sigma = 0.4
    softened = functools.partial(parabola, stiffness=STIFFNESS / (1 + sigma**2 * STIFFNESS / KT))
    law = losses.score_consistency(softened, posterior_mean, jnp.asarray(NOISY), sigma, kt=KT)
    np.testing.assert_allclose(law, 0, atol=1e-20)


def test_score_moves_the_denoiser_and_nothing_else():
    def law(width, positions, sigma, kt, alpha, stiffness):
        energy = functools.partial(parabola, stiffness=stiffness)
        return losses.score_consistency(energy, lambda r, s: width * r, positions, sigma, kt=kt, alpha=alpha)

    arguments = (0.9, jnp.asarray(NOISY), 0.3, KT, 0.8, STIFFNESS)
    moved, *others = jax.grad(law, argnums=range(6))(*arguments)
    assert moved != 0
    assert not any(np.any(leaf) for leaf in others)


def test_optimality_moves_the_structure_where_the_bound_moves_the_energy():
    inwards = 0.1 * (CENTRE - NOISY)

    def gradients(law):
        found = jax.value_and_grad(lambda k, r, n: law(lambda at: parabola(at, k), r, n), argnums=(0, 1, 2))
        return found(STIFFNESS, jnp.asarray(NOISY), jnp.asarray(inwards))

    value, (by_energy, by_structure, by_noise) = gradients(losses.optimality_consistency)
    assert by_energy == 0 and not np.any(by_noise)
    # k R − k (R + η)
    np.testing.assert_allclose(by_structure, -STIFFNESS * inwards, rtol=1e-9)
    same, (by_energy, by_structure, _) = gradients(losses.energy_bound)
    # ½ k |R − R°|² (1 − 0.9²)
    np.testing.assert_allclose([value, same], 0.095 * STIFFNESS * np.sum((NOISY - CENTRE) ** 2), rtol=1e-9)
    np.testing.assert_allclose(by_energy, same / STIFFNESS, rtol=1e-9)
    assert not np.any(by_structure)
    uphill = losses.optimality_consistency(parabola, NOISY, -inwards)
    assert uphill == 0


def test_descent_on_optimality_with_noise_on_all_sides_finds_the_minimum():
    draws = 0.1 * RNG.normal(size=(200, 8, 4, 3))

    def step(positions, noise):
        def law(r):
            return jnp.mean(jax.vmap(lambda n: losses.optimality_consistency(parabola, r, n))(noise))

        return positions - 0.2 * jax.grad(law)(positions), None

    found, _ = jax.lax.scan(step, jnp.asarray(NOISY), draws)
    assert np.sum((found - CENTRE) ** 2) < 0.05 * np.sum((NOISY - CENTRE) ** 2)


@pytest.mark.parametrize("law", ["denoising", "score", "proximal"])
def test_single_precision_is_finite_and_right_at_the_least_noise(law):
    noise, sigma = RNG.normal(size=(4, 3)), 0.01

    def value(shift, dtype):
        clean, eps, at = (jnp.asarray(x, dtype) for x in (CENTRE, noise, CENTRE + sigma * noise))

        def denoise(r, s):
            return posterior_mean(r, s).astype(dtype) + shift * s

        def energy(r):
            return 0.5 * STIFFNESS * jnp.sum((r - clean) ** 2)

        return {
            "denoising": lambda: losses.denoising_score(denoise, clean, eps, sigma),
            "score": lambda: losses.score_consistency(energy, denoise, at, sigma, kt=KT),
            "proximal": lambda: losses.proximal_consistency(energy, denoise(at, sigma), at, sigma, kt=KT),
        }[law]()

    for found, exact in zip(
        jax.value_and_grad(value)(jnp.float32(0.5), jnp.float32),
        jax.value_and_grad(value)(0.5, float),
        strict=True,
    ):
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, exact, rtol=1e-3)
