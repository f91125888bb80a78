"""The polygons turned at random: the metric in closed form, and the whole experiment in miniature."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import polygons

SQUARE = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])


def test_quality_of_a_rectangle_and_of_a_star():
    angle = np.radians(30)
    corners = np.array([angle, np.pi - angle, np.pi + angle, -angle])
    rectangle = np.stack([np.cos(corners), np.sin(corners)], axis=1)
    # angles between neighbours 60° and 120° in turn
    expected = -np.log(np.pi / 6 / (2 * np.pi))
    np.testing.assert_allclose(polygons.quality(3.0 * rectangle[None] + 1.0), expected)
    star = SQUARE * np.array([1.0, 3.0, 1.0, 3.0])[:, None]
    np.testing.assert_allclose(polygons.quality(star[None]), -np.log(1 / 2))
    both = np.stack([3.0 * rectangle, star])
    np.testing.assert_allclose(polygons.quality(both), -np.log((1 / 12 + 1 / 2) / 2))


def test_a_regular_polygon_is_as_good_as_rounding_allows():
    turned = np.asarray(polygons.polygon(20, jnp.asarray(2.0), 0.3))
    np.testing.assert_allclose(np.linalg.norm(turned, axis=1), 2)
    np.testing.assert_allclose(turned[0], 2 * np.array([np.cos(0.3), np.sin(0.3)]))
    assert polygons.quality(turned[None]) > 30


def test_samples_are_as_drawn():
    preset = dataclasses.replace(polygons.PRESETS["smoke"], samples=20_000)
    radii, angles = polygons.draw(jax.random.key(0), preset, 0.5)
    for values, low, high in ((radii, 0.3, 5.0), (angles, -0.5, 0.5)):
        assert low <= values.min() < low + 0.01 and high - 0.01 < values.max() <= high
        np.testing.assert_allclose(values.mean(), (low + high) / 2, atol=0.04)


def test_the_squared_error_shrinks_to_the_mean_of_turned_polygons_and_the_energy_does_not():
    """sin θ/θ of the size at θ = π/2."""
    preset = dataclasses.replace(
        polygons.PRESETS["smoke"],
        vertices=5,
        samples=20_000,
        epochs=6,
        batch=200,
        learning_rate=1e-2,
        hidden=16,
    )
    sizes = {}
    for arm in ("squared error", "distance energy"):
        law = polygons.laws(preset.vertices)[arm]
        params = polygons.fit(jax.random.key(0), jnp.asarray(np.pi / 2), preset=preset, law=law)
        sizes[arm] = polygons.judge(preset, params, jnp.linspace(1.0, 5.0, 20))["size"]
    np.testing.assert_allclose(sizes["squared error"], 2 / np.pi, atol=0.03)
    np.testing.assert_allclose(sizes["distance energy"], 1, atol=0.02)


def test_the_experiment_in_miniature(tmp_path, capsys):
    out = tmp_path / "run"
    assert polygons.main(["--preset", "smoke", "--out", str(out)]) == 0
    results = json.loads((out / "results.json").read_text())["results"]
    assert set(results) == set(polygons.laws(8))
    assert all(np.isfinite(found["quality"]) for own in results.values() for found in own)
    table = (out / "table.md").read_text()
    assert all(arm in table for arm in results) and "θ = 1 π" in table
    assert (out / "quality.png").stat().st_size > 1000 and (out / "polygons.png").stat().st_size > 1000
    assert polygons.main(["--preset", "smoke", "--out", str(out)]) == 2
    assert "already holds a run" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_quality_at_every_orientation(seed):
    preset = dataclasses.replace(polygons.PRESETS["quick"], turns=(1.0,))
    found = {}
    for arm, law in polygons.laws(preset.vertices).items():
        params = polygons.fit(jax.random.key(seed), jnp.asarray(np.pi), preset=preset, law=law)
        found[arm] = polygons.judge(preset, params, jnp.linspace(*polygons.RADII, 1000))["quality"]
    assert found.pop("squared error") < 3
    assert min(found.values()) > 5
