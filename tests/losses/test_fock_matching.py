"""The label loss: numbers by hand, zero at the label, padding, gradient."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxphys import dft
from jaxphys.losses import fock_matching


def _hydrogen():
    return dft.kohn_sham([1, 1], [[0.0, 0, 0], [0, 0, 0.74]], basis="sto-3g", xc="svwn", grid_level=0)


def test_value_by_hand():
    system = _hydrogen()
    label = jnp.array([[1.0, 2.0], [2.0, -1.0]])
    fock = label + jnp.array([[3.0, -1.0], [-1.0, 0.0]])
    # squared errors 9, 1, 1, 0 and absolute errors 3, 1, 1, 0 over four elements
    np.testing.assert_allclose(fock_matching(system, fock, label), np.sqrt(11 / 4) + 5 / 4, rtol=1e-15)


def test_zero_with_zero_gradient_at_the_label():
    system = _hydrogen()
    label = dft.guess_fock(system)
    value, gradient = jax.value_and_grad(fock_matching, argnums=1)(system, label, label)
    assert value == 0 and not np.any(gradient)


def test_gradient_against_finite_differences_and_padding():
    system = _hydrogen()
    rng = np.random.default_rng(0)
    label, fock, direction = (jnp.asarray(m + m.T) for m in rng.normal(size=(3, 2, 2)))
    padded = dft.pad(system, dft.sizes(system).bucket())
    n = padded.overlap.shape[0]

    def grow(matrix):
        return jnp.zeros((n, n)).at[:2, :2].set(matrix)

    np.testing.assert_allclose(
        fock_matching(padded, grow(fock), grow(label)), fock_matching(system, fock, label), rtol=1e-14
    )
    gradient = jax.grad(fock_matching, argnums=1)(system, fock, label)
    ahead, behind = (fock_matching(system, fock + h * direction, label) for h in (1e-5, -1e-5))
    np.testing.assert_allclose(jnp.sum(gradient * direction), (ahead - behind) / 2e-5, rtol=1e-8)
