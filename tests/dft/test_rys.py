"""Rys quadrature against quadratures built from exact moments, and against Boys' function."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy import special

from jaxphys.dft import rys

roots_and_weights = jax.jit(rys.roots_and_weights, static_argnums=0)
COUNTS = range(1, 8)


def boys(k, t):
    """F_k(t): by Kummer's transformation where t is small, so that no digits cancel, else an incomplete Γ."""
    small, large = np.minimum(t, 1.0), np.maximum(t, 1.0)
    series = np.exp(-small) * special.hyp1f1(1.0, k + 1.5, small) / (2 * k + 1)
    return np.where(
        t < 1, series, special.gamma(k + 0.5) * special.gammainc(k + 0.5, large) / (2 * large ** (k + 0.5))
    )


def exact(count, t):
    """Nodes and weights in 60 digits, from the moments F_k."""
    with mpmath.workdps(60):
        t = mpmath.mpf(t)
        moments = [mpmath.hyp1f1(k + 0.5, k + 1.5, -t) / (2 * k + 1) for k in range(2 * count)]
        hankel = mpmath.matrix(count, count)
        for i in range(count):
            for j in range(count):
                hankel[i, j] = moments[i + j]
        monic = mpmath.lu_solve(hankel, -mpmath.matrix(moments[count:]))
        nodes = mpmath.polyroots([1, *reversed(list(monic))], maxsteps=200, extraprec=200)
        nodes = sorted(mpmath.re(node) for node in nodes)
        vandermonde = mpmath.matrix([[node**k for node in nodes] for k in range(count)])
        weights = mpmath.lu_solve(vandermonde, mpmath.matrix(moments[:count]))
        return np.array(nodes, dtype=float), np.array(list(weights), dtype=float)


@pytest.mark.parametrize("count", COUNTS)
def test_nodes_and_weights(count):
    seam = 28.0 + 8 * count
    t = np.array([0.0, 1e-9, 0.37, 0.5, 6.1, 0.6 * seam, seam - 1e-9, seam, 1.3 * seam])
    nodes, weights = roots_and_weights(count, jnp.asarray(t))
    for i, value in enumerate(t):
        expected_nodes, expected_weights = exact(count, value)
        np.testing.assert_allclose(nodes[:, i], expected_nodes, rtol=0, atol=1e-13)
        np.testing.assert_allclose(weights[:, i], expected_weights, rtol=1e-13)


@pytest.mark.parametrize("count", COUNTS)
def test_moments_are_boys_functions(count):
    t = np.random.default_rng(count).uniform(0, 120, (50, 4))
    nodes, weights = roots_and_weights(count, jnp.asarray(t))
    for k in range(2 * count):
        np.testing.assert_allclose(jnp.sum(weights * nodes**k, axis=0), boys(k, t), rtol=1e-13)


def test_far_away():
    nodes, weights = roots_and_weights(3, jnp.array([1e3, 1e12]))
    np.testing.assert_allclose(weights.sum(0), 0.5 * np.sqrt(np.pi / np.array([1e3, 1e12])), rtol=1e-13)
    assert np.all(nodes > 0)


@pytest.mark.parametrize("count", [1, 3, 6])
def test_derivative(count):
    """dF_k/dt = −F_{k+1}, in both modes of differentiation."""
    t = np.append(np.random.default_rng(count).uniform(0, 90, 20), 0.0)
    k = np.arange(2 * count - 1)[:, None]

    def moments(t):
        nodes, weights = roots_and_weights(count, t)
        return jnp.sum(weights * nodes ** k[:, None], axis=1)

    forward = jax.jvp(moments, (jnp.asarray(t),), (jnp.ones_like(t),))[1]
    np.testing.assert_allclose(forward, -boys(k + 1, t), atol=1e-11)
    reverse = jax.vjp(moments, jnp.asarray(t))[1](jnp.ones(forward.shape))[0]
    np.testing.assert_allclose(reverse, forward.sum(0), atol=1e-11)
