"""Schedules: levels by hand and by table, times there and back, states and what a denoiser takes."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxphys import diffusion

EXPLODING = diffusion.VarianceExploding(0.02, 5.0)
LINEAR = diffusion.VariancePreserving("linear")
SIGMOID = diffusion.VariancePreserving("sigmoid", scale=2.5)
SCHEDULES = [EXPLODING, LINEAR, SIGMOID]


@pytest.mark.parametrize(
    ("shape", "table"),
    [
        ("sigmoid", {5: 0.030, 50: 0.093, 100: 0.141, 300: 0.43, 400: 0.78, 700: 8.2}),
        ("linear", {5: 0.030, 100: 0.34, 300: 1.24, 400: 2.0, 700: 12}),
    ],
)
def test_levels_of_the_ddpm_schedules_in_units_of_the_scale(shape, table):
    times = jnp.array(list(table))
    for scale in (1.0, 2.0):
        found = diffusion.VariancePreserving(shape, scale=scale).sigma(times) / scale
        np.testing.assert_allclose(found, list(table.values()), rtol=0.03)


def test_kept_part_is_the_product_of_what_each_step_keeps():
    kept = np.cumprod(1 - np.linspace(1e-4, 2e-2, 1000))
    np.testing.assert_allclose(LINEAR.alpha(jnp.arange(1000)), np.sqrt(kept), rtol=1e-10)
    np.testing.assert_allclose(LINEAR.sigma(3), np.sqrt((1 - kept[3]) / kept[3]), rtol=1e-10)
    np.testing.assert_allclose([LINEAR.sigma_min, LINEAR.sigma_max], LINEAR.sigma(jnp.array([0, 999])))


def test_exploding_levels_are_geometric():
    found = EXPLODING.sigma(jnp.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(found, [0.02, np.sqrt(0.1), 5.0], rtol=1e-12)
    assert EXPLODING.alpha(0.3) == 1


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_time_of_a_level_gives_the_level(schedule):
    levels = jnp.geomspace(schedule.sigma_min, schedule.sigma_max, 13)
    np.testing.assert_allclose(schedule.sigma(schedule.time(levels)), levels, rtol=1e-8)
    assert isinstance(schedule, diffusion.Schedule)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_state_is_turned_into_what_a_denoiser_takes(schedule):
    clean, noise = np.random.default_rng(0).normal(size=(2, 4, 3))
    time = schedule.time(0.4)
    positions, sigma = diffusion.as_variance_exploding(
        schedule, diffusion.perturb(schedule, clean, noise, time), time
    )
    np.testing.assert_allclose(sigma, 0.4, rtol=1e-8)
    np.testing.assert_allclose(positions, clean + 0.4 * noise, rtol=1e-7)


def test_a_preserving_state_of_data_as_wide_as_the_scale_keeps_its_variance():
    time = jnp.array([0, 10, 500, 999])
    alpha, sigma = SIGMOID.alpha(time), SIGMOID.sigma(time)
    np.testing.assert_allclose(alpha**2 * (2.5**2 + sigma**2), 2.5**2, rtol=1e-10)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_levels_of_a_sampler_are_even_in_their_root(schedule):
    low, high = schedule.sigma_min, schedule.sigma_max
    found = diffusion.levels(schedule, 6)
    root = [high ** (1 / 7) + i / 5 * (low ** (1 / 7) - high ** (1 / 7)) for i in range(6)]
    np.testing.assert_allclose(found, np.power(root, 7), rtol=1e-9)
    np.testing.assert_allclose(diffusion.levels(schedule, 1), [high], rtol=1e-9)
    geometric = diffusion.levels(schedule, 6, rho=1e5)
    np.testing.assert_allclose(geometric, np.geomspace(high, low, 6), rtol=1e-3)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: diffusion.VarianceExploding(1.0, 0.1), "got 1.0 and 0.1 Å"),
        (lambda: diffusion.VariancePreserving("cosine"), 'got "cosine"'),
        (lambda: diffusion.VariancePreserving(steps=1), "got 1 and 1.0"),
        (lambda: diffusion.VariancePreserving(beta_last=1.5), "got 0.0001 and 1.5"),
        (lambda: diffusion.levels(EXPLODING, 0), "got 0 and 7.0"),
    ],
)
def test_what_makes_no_schedule_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
