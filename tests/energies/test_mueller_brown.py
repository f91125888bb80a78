"""The surface of Müller and Brown: its published points, its slope, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_differences import slope

from jaxphys.energies import mueller_brown
from jaxphys.energies.mueller_brown import MINIMA, SADDLES


@pytest.mark.parametrize(
    ("point", "energy", "downhill"),
    [
        *zip(MINIMA, (-146.700, -108.167, -80.768), (0, 0, 0), strict=True),
        *zip(SADDLES, (-40.665, -72.249), (1, 1), strict=True),
    ],
)
def test_published_minima_and_saddles(point, energy, downhill):
    position = jnp.array([point])
    surface = mueller_brown()
    np.testing.assert_allclose(surface(position), energy, atol=1e-3)
    np.testing.assert_allclose(jax.grad(surface)(position), 0, atol=2e-3)
    curvature = np.linalg.eigvalsh(jax.hessian(surface)(position).reshape(2, 2))
    assert np.sum(curvature < 0) == downhill


def test_slope_and_scale():
    surface, position, direction = mueller_brown(scale=0.05), np.array([[-0.3, 0.8]]), np.array([[0.6, -0.8]])
    np.testing.assert_allclose(surface(position), 0.05 * mueller_brown()(position), rtol=1e-12)
    expected = slope(lambda t: surface(position + t * direction), 1e-3)
    np.testing.assert_allclose(np.vdot(jax.grad(surface)(position), direction), expected, rtol=1e-8)


def test_what_is_refused():
    with pytest.raises(ValueError, match="scale must be positive, got 0"):
        mueller_brown(scale=0.0)
    with pytest.raises(ValueError, match=r"must be \(1, 2\), of one particle in the plane, got \(2, 3\)"):
        mueller_brown()(jnp.zeros((2, 3)))
