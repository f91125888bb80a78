"""Samplers on data whose best denoiser is known: one Gaussian, a mixture of structures."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys import diffusion, energies

RNG = np.random.default_rng(0)
MEAN = diffusion.centred(RNG.normal(size=(4, 3)))
OTHER = diffusion.centred(RNG.normal(size=(4, 3)))
WIDTH = 0.2
SCHEDULE = diffusion.VarianceExploding(1e-3, 6.0)
ROUGH = diffusion.VarianceExploding(1e-2, 6.0)
START = 6.0 * diffusion.centred_noise(jax.random.key(7), (4, 3))
KEY = jax.random.key(3)


def gaussian(positions, sigma, mean=MEAN):
    """E[R | R_σ] of structures about one mean, WIDTH wide."""
    return mean + (positions - mean) * WIDTH**2 / (WIDTH**2 + sigma**2)


def mixture(positions, sigma, share=0.3):
    """E[R | R_σ] of structures about the two means."""
    distances = jnp.array([jnp.sum((positions - mean) ** 2) for mean in (MEAN, OTHER)])
    logits = jnp.log(jnp.array([share, 1 - share])) - distances / (2 * (WIDTH**2 + sigma**2))
    first, second = jax.nn.softmax(logits)
    return first * gaussian(positions, sigma) + second * gaussian(positions, sigma, OTHER)


def springs(positions, sigma):
    """No best answer, but it turns with the structure."""
    pull = jax.grad(energies.elastic_network(MEAN, stiffness=1.0))(positions)
    return diffusion.centred(positions) - 0.05 * pull / (1 + sigma)


def one_shot(denoise_fn, start, sigmas, mask=None):
    return diffusion.one_shot(denoise_fn, start / sigmas[0], sigmas[0], spread=1.0, mask=mask)


def ancestral(denoise_fn, start, sigmas, mask=None):
    return diffusion.stochastic(denoise_fn, KEY, start, sigmas, mask=mask)


def restarted(denoise_fn, start, sigmas, mask=None):
    return diffusion.restart(denoise_fn, KEY, start, sigmas, repeats=2, mask=mask)


SAMPLERS = [one_shot, diffusion.ddim, diffusion.dpm_solver, diffusion.settle, ancestral, restarted]
RANDOM = (ancestral, restarted)


@functools.cache
def compiled(sampler, denoise_fn):
    return jax.jit(functools.partial(sampler, denoise_fn))


def starts(count):
    """Structures of the mixture under noise of 6 Å."""
    means = jnp.where(jnp.arange(count)[:, None, None] < 0.3 * count, MEAN, OTHER)
    keys = jax.random.split(jax.random.key(1), count)
    noise = jax.vmap(lambda key: diffusion.centred_noise(key, (4, 3)))(keys)
    return means + np.sqrt(36 + WIDTH**2) * noise


@pytest.mark.parametrize(("sampler", "order"), [(diffusion.ddim, 1), (diffusion.dpm_solver, 2)])
def test_many_steps_follow_the_flow_of_a_gaussian_with_their_order(sampler, order):
    exact = MEAN + (START - MEAN) * WIDTH / np.sqrt(WIDTH**2 + SCHEDULE.sigma_max**2)

    def error(steps):
        return np.max(np.abs(sampler(gaussian, START, diffusion.levels(SCHEDULE, steps)) - exact))

    coarse, fine = error(50), error(100)
    assert coarse < 0.02
    assert 0.8 < np.log2(coarse / fine) / order < 1.2


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_steps_are_those_of_ddpm_and_ddim_in_shrunk_coordinates(eta):
    """Eq. 12 and 16 of Song et al., ICLR 2021, written for x_t = √ᾱ x_0 + √(1 − ᾱ) ε."""
    schedule = diffusion.VariancePreserving("sigmoid")
    times = np.array([900, 600, 350, 120, 10])
    kept = np.append(np.cumprod(1 - 1e-4 - (2e-2 - 1e-4) / (1 + np.exp(np.linspace(6, -6, 1000))))[times], 1)
    noises = [diffusion.centred_noise(key, (4, 3)) for key in jax.random.split(KEY, 5)]
    state = np.sqrt(kept[0]) * START
    for now, after, time, noise in zip(kept, kept[1:], times, noises, strict=False):
        clean = mixture(*diffusion.as_variance_exploding(schedule, state, int(time)))
        direction = (state - np.sqrt(now) * clean) / np.sqrt(1 - now)
        width = eta * np.sqrt((1 - after) / (1 - now)) * np.sqrt(1 - now / after)
        state = np.sqrt(after) * clean + np.sqrt(1 - after - width**2) * direction + width * noise
    found = diffusion.stochastic(mixture, KEY, START, schedule.sigma(times), eta=eta)
    np.testing.assert_allclose(found, state, rtol=1e-9)
    if eta == 0:
        flow = diffusion.ddim(mixture, START, schedule.sigma(times))
        np.testing.assert_allclose(flow, state, rtol=1e-9)


def test_uneven_steps_are_those_of_dpm_solver():
    """Algorithm 2 of Lu et al., arXiv 2211.01095, with α = 1 and λ = −ln σ."""
    sigmas = np.array([6.0, 2.0, 1.5, 0.2])
    h = np.log(sigmas[:-1] / sigmas[1:])
    denoised = [mixture(START, sigmas[0])]
    state = sigmas[1] / sigmas[0] * START - np.expm1(-h[0]) * denoised[0]
    for i in (1, 2):
        denoised.append(mixture(state, sigmas[i]))
        r = h[i - 1] / h[i]
        ahead = (1 + 1 / (2 * r)) * denoised[i] - denoised[i - 1] / (2 * r)
        state = sigmas[i + 1] / sigmas[i] * state - np.expm1(-h[i]) * ahead
    found = diffusion.dpm_solver(mixture, START, sigmas)
    np.testing.assert_allclose(found, mixture(state, sigmas[3]), rtol=1e-10)


def test_fresh_noise_gives_mean_and_variance_of_a_gaussian():
    sigmas = diffusion.levels(SCHEDULE, 300)
    keys = jax.random.split(KEY, 800)
    draw = functools.partial(diffusion.stochastic, gaussian)
    found = jax.jit(jax.vmap(draw, in_axes=(0, 0, None)))(keys, starts(800), sigmas)
    np.testing.assert_allclose(jnp.mean(found, axis=0), MEAN, atol=4 * WIDTH / np.sqrt(800))
    # nine directions are left of twelve
    np.testing.assert_allclose(jnp.mean((found - MEAN) ** 2), WIDTH**2 * 9 / 12, rtol=0.06)


@pytest.mark.parametrize("sampler", ["ddim", "dpm_solver", "stochastic"])
def test_both_structures_come_with_their_weights(sampler):
    count, sigmas = 800, diffusion.levels(SCHEDULE, 20)
    draws = {
        "ddim": lambda key, start: diffusion.ddim(mixture, start, sigmas),
        "dpm_solver": lambda key, start: diffusion.dpm_solver(mixture, start, sigmas),
        "stochastic": lambda key, start: diffusion.stochastic(mixture, key, start, sigmas),
    }
    found = jax.jit(jax.vmap(draws[sampler]))(jax.random.split(KEY, count), starts(count))
    squares = jnp.stack([jnp.sum((found - mean) ** 2, axis=(1, 2)) for mean in (MEAN, OTHER)])
    # nothing lies between the two, which are 4.2 Å apart
    assert np.max(np.min(squares, axis=0)) < 1.3**2
    assert abs(np.mean(squares[0] < squares[1]) - 0.3) < 3.5 * np.sqrt(0.21 / count)


def test_second_order_pays_with_ten_steps():
    def draws(sampler, schedule, steps):
        sigmas = diffusion.levels(schedule, steps)
        return jax.jit(jax.vmap(lambda start: sampler(mixture, start, sigmas)))(starts(100))

    exact = draws(diffusion.dpm_solver, SCHEDULE, 300)
    first, second = (
        np.median(jnp.linalg.norm(draws(sampler, ROUGH, 10) - exact, axis=(1, 2)))
        for sampler in (diffusion.ddim, diffusion.dpm_solver)
    )
    assert second < first / 2


def test_one_shot_chooses_below_the_greatest_noise_and_averages_there():
    noise = diffusion.centred_noise(jax.random.key(7), (4, 3))
    mean = 0.3 * MEAN + 0.7 * OTHER
    np.testing.assert_allclose(diffusion.one_shot(mixture, noise, 1e4), mean, atol=1e-3)
    toward = (1.0 * MEAN - OTHER) / 3
    for side, goal in ((toward, MEAN), (-toward, OTHER)):
        chosen = diffusion.one_shot(mixture, side, 1.0)
        assert jnp.linalg.norm(chosen - goal) < 0.7 * jnp.linalg.norm(mean - goal)
    # √(0.9² + 1.2²) = 1.5
    wider = diffusion.one_shot(gaussian, noise, 0.9, spread=1.2)
    np.testing.assert_allclose(wider, gaussian(1.5 * noise, 0.9), rtol=1e-12)


def test_a_restart_forgets_a_wrong_structure_as_much_as_its_noise_says():
    """Noise to σ and the exact flow back scale the deviation by w = WIDTH/√(WIDTH² + σ²), and add noise."""
    sigma, wrong = 0.5, MEAN + 3.0
    keys = jax.random.split(KEY, 800)
    sigmas = jnp.geomspace(sigma, 1e-3, 200)
    draw = jax.jit(jax.vmap(lambda key: diffusion.restart(gaussian, key, wrong, sigmas, repeats=2)))
    found = draw(keys)
    w = WIDTH / np.hypot(WIDTH, sigma)
    np.testing.assert_allclose(jnp.mean(found, axis=0) - MEAN, w**2 * (wrong - MEAN), atol=0.04)
    variance = (w**2 + w**4) * sigma**2 * 9 / 12
    np.testing.assert_allclose(np.mean(np.var(found, axis=0)), variance, rtol=0.06)


def test_a_restart_keeps_the_structure_chosen_if_its_noise_is_small():
    sigmas = jnp.geomspace(0.3, 0.01, 6)
    for mean in (MEAN, OTHER):
        keys = jax.random.split(KEY, 50)
        found = jax.vmap(lambda key, m=mean: diffusion.restart(mixture, key, m, sigmas, repeats=3))(keys)
        assert np.max(np.sqrt(np.sum((found - mean) ** 2, axis=(1, 2)))) < 1.3
    np.testing.assert_array_equal(diffusion.restart(mixture, KEY, OTHER, sigmas, repeats=0), OTHER)
    with pytest.raises(ValueError, match="repeats must not be negative, got -1"):
        diffusion.restart(mixture, KEY, OTHER, sigmas, repeats=-1)


def test_settling_shrinks_a_gaussian_by_a_known_factor_at_each_level():
    """A sure answer takes s²/(s² + σ²) of the distance from the mean; order and repeats do not matter."""
    sigmas = np.array([0.2, 0.4, 0.2, 0.1])
    left = np.prod(WIDTH**2 / (WIDTH**2 + sigmas**2))
    found = diffusion.settle(gaussian, START, sigmas)
    np.testing.assert_allclose(found - MEAN, left * (START - MEAN), rtol=1e-12)
    np.testing.assert_allclose(diffusion.settle(gaussian, START, sigmas[::-1]), found, rtol=1e-12)
    np.testing.assert_array_equal(diffusion.settle(gaussian, START, jnp.array([])), START)


def test_a_sample_settles_in_the_nearest_of_two_structures():
    """Between the two, 4.2 Å apart, a little off the border where they are as probable as each other."""
    settle = jax.jit(functools.partial(diffusion.settle, mixture))
    border = 0.5 + (WIDTH**2 + 0.2**2) * np.log(0.7 / 0.3) / np.sum((OTHER - MEAN) ** 2)
    noise = 0.2 * diffusion.centred_noise(KEY, (4, 3))
    sideways = noise - jnp.vdot(noise, OTHER - MEAN) / jnp.sum((OTHER - MEAN) ** 2) * (OTHER - MEAN)
    for share, nearest in ((border - 0.01, OTHER), (border + 0.01, MEAN), (0.9, MEAN), (0.1, OTHER)):
        start = share * MEAN + (1 - share) * OTHER + sideways
        np.testing.assert_allclose(settle(start, np.full(20, 0.2)), nearest, atol=1e-4)


@pytest.mark.parametrize("sampler", SAMPLERS[:4])
def test_a_turned_start_gives_a_turned_structure(sampler):
    turn = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    sigmas = diffusion.levels(SCHEDULE, 5)
    sample = compiled(sampler, springs)
    np.testing.assert_allclose(sample(START @ turn, sigmas), sample(START, sigmas) @ turn, atol=1e-10)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_padding_is_inert_and_gets_zero(sampler):
    def careless(positions, sigma):
        """Sees padding that is not zero, and leaves what is no number there."""
        real = gaussian(positions[:4], sigma) + jnp.sum(positions[4:])
        return jnp.vstack([real, jnp.full((2, 3), jnp.nan)])

    sigmas = diffusion.levels(SCHEDULE, 5)
    padded = jnp.vstack([START, jnp.full((2, 3), 1e3)])
    found = sampler(careless, padded, sigmas, mask=jnp.arange(6) < 4)
    np.testing.assert_allclose(found[:4], sampler(gaussian, START, sigmas), rtol=1e-10)
    assert not np.any(found[4:])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_single_precision_stays_single_and_close(sampler):
    sigmas = diffusion.levels(SCHEDULE, 8)
    sample = compiled(sampler, gaussian)
    single = sample(START.astype(jnp.float32), sigmas.astype(jnp.float32))
    assert single.dtype == jnp.float32
    # a key gives other numbers in another precision
    if sampler not in RANDOM:
        np.testing.assert_allclose(single, sample(START, sigmas), atol=2e-5)
    assert np.all(np.isfinite(single))


def test_a_new_key_and_new_levels_of_one_count_compile_nothing():
    draw = jax.jit(functools.partial(diffusion.stochastic, gaussian))
    found = [draw(jax.random.key(i), START, diffusion.levels(SCHEDULE, 5, rho=7.0 + i)) for i in range(3)]
    assert draw._cache_size() == 1
    assert not np.allclose(found[0], found[1])


@pytest.mark.parametrize("sampler", [diffusion.ddim, diffusion.dpm_solver, ancestral])
def test_one_level_is_one_call_and_none_is_refused(sampler):
    np.testing.assert_allclose(sampler(gaussian, START, jnp.array([6.0])), gaussian(START, 6.0), rtol=1e-12)
    with pytest.raises(ValueError, match="sigmas must hold at least one level, got none"):
        sampler(gaussian, START, jnp.array([]))
