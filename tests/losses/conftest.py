"""Four molecules in one stack, three of them with exactly degenerate levels, and checks of a law on them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_differences import slope
from molecules import AMMONIA, BENZENE, HELIUM, HYDROGEN, METHANE, METHANOL

from jaxphys import dft


def build(molecule, xc="pbe"):
    numbers, positions, charge = molecule
    return dft.kohn_sham(
        numbers, positions, charge=charge, basis="sto-3g", xc=xc, auxbasis="weigend", grid_level=0
    )


@pytest.fixture(scope="session")
def molecules():
    return [build(molecule) for molecule in (METHANE, AMMONIA, BENZENE, METHANOL)]


@pytest.fixture(scope="session")
def batch(molecules):
    return dft.stack(molecules)


@pytest.fixture(scope="session")
def focks(batch):
    """Predictions: the Fock matrices of superposed atoms, with all symmetry of their molecules."""
    return jax.jit(jax.vmap(dft.guess_fock))(batch)


@pytest.fixture(scope="session")
def directions(batch):
    """Random symmetric matrices, zero in padded rows and columns."""
    noise = np.random.default_rng(0).normal(size=batch.overlap.shape)
    real = np.diagonal(batch.overlap, axis1=1, axis2=2) > 0
    return jnp.asarray((noise + noise.swapaxes(1, 2)) * real[:, :, None] * real[:, None, :])


@pytest.fixture(scope="session")
def solutions(batch):
    """Converged to the last digits."""
    found = jax.jit(jax.vmap(lambda system: dft.scf(system, tolerance=1e-10)))(batch)
    assert np.all(found.converged)
    return found


@pytest.fixture(scope="session")
def helium():
    return build(HELIUM)


@pytest.fixture(scope="session")
def hydrogen():
    return build(HYDROGEN)


@pytest.fixture(scope="session")
def mapped():
    """Value and gradient of a law for a whole stack, compiled once."""
    return functools.cache(lambda law: jax.jit(jax.vmap(jax.value_and_grad(law, argnums=1))))


@pytest.fixture(scope="session")
def derivatives(mapped, focks, directions):
    """Slopes of a law along the directions: by autodiff, and of `value` by differences."""

    def compare(batch, law, value=None, step=5e-5):
        _, gradients = mapped(law)(batch, focks)
        differences = slope(lambda h: mapped(value or law)(batch, focks + h * directions)[0], step)
        return jnp.sum(gradients * directions, axis=(1, 2)), differences

    return compare


@pytest.fixture(scope="session")
def assert_inert(molecules, batch, focks, mapped):
    """Value and gradient of a law for a molecule alone and padded in the stack."""

    def check(law, which=(3,)):
        values, gradients = mapped(law)(batch, focks)
        alone = jax.jit(jax.value_and_grad(law, argnums=1))
        for i in which:
            n = len(molecules[i].overlap)
            value, gradient = alone(molecules[i], focks[i][:n, :n])
            np.testing.assert_allclose(values[i], value, atol=1e-10)
            np.testing.assert_allclose(gradients[i][:n, :n], gradient, atol=1e-10)
            assert np.max(np.abs(gradients[i][n:])) < 1e-12
            assert np.max(np.abs(gradients[i][:, n:])) < 1e-12

    return check


@pytest.fixture(scope="session")
def small():
    return build
