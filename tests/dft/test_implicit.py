"""Derivatives of a converged solution, against solutions of changed problems."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_differences import slope
from molecules import AMMONIA, METHANOL

from jaxphys import dft


def symmetric(rng, shape):
    matrix = rng.normal(size=shape)
    return jnp.asarray(matrix + matrix.swapaxes(-1, -2))


def with_overlap(system, overlap):
    """The system with another overlap, and an orthonormaliser that belongs to it."""
    values, vectors = jnp.linalg.eigh(jax.lax.stop_gradient(overlap))
    return replace(system, overlap=overlap, orthonormaliser=vectors / jnp.sqrt(values))


def changed(system, what, size, rng):
    """The system with one of its arrays moved by `size` along a fixed direction."""
    if what == "core":
        return replace(system, core=system.core + size * 0.01 * symmetric(rng, system.core.shape))
    if what == "field":
        return replace(system, core=system.core + size * system.dipole_integrals[2])
    if what == "overlap":
        return with_overlap(system, system.overlap + size * 1e-3 * symmetric(rng, system.core.shape))
    if what == "fitting":
        scaled = {name: getattr(system, name) * (1 + 0.01 * size) for name in ("fitting", "exchange_fitting")}
        return replace(system, **scaled)
    return replace(system, **{what: getattr(system, what) * (1 + 0.01 * size)})


def everything(system, seed=1):
    """A scalar of all that a solution has a derivative of, and the energy."""
    rng = np.random.default_rng(seed)
    found = dft.scf(system, tolerance=1e-11)
    weights = symmetric(rng, found.density.shape)
    occupied = jnp.sum(found.orbital_energies[..., : system.occupied] ** 2)
    moment = jnp.sum(dft.dipole(system, found.density) ** 2)
    return jnp.stack(
        [jnp.sum(weights * (found.density + 0.1 * found.fock)) + moment + occupied, found.energy]
    )


def assert_derivatives_are_right(system, what):
    def value(size):
        return everything(changed(system, what, size, np.random.default_rng(0)))

    gradients = jax.jit(jax.jacrev(value))(0.0)
    np.testing.assert_allclose(gradients, slope(jax.jit(value), 1e-3), rtol=3e-7)


@pytest.mark.parametrize(
    "what",
    [
        "core",
        "overlap",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("fitting", "grid_weights")),
    ],
)
def test_derivatives_by_what_enters_a_closed_shell(small, what):
    assert_derivatives_are_right(small(METHANOL, xc="b3lyp5"), what)


def test_derivatives_by_what_enters_an_open_shell(small):
    numbers, positions, _ = AMMONIA
    assert_derivatives_are_right(small((numbers[:3], positions[:3], 0), xc="pbe", spin=1), "core")


def test_dipole_derivative_is_the_polarisability(small):
    # d mu / d field is minus the second derivative of the energy, another way to the same number
    system = small(METHANOL, xc="pbe")
    moment = jax.jit(
        jax.grad(lambda size: -dft.dipole(system, dft.scf(changed(system, "field", size, None)).density)[2])
    )
    energy = jax.jit(lambda size: dft.scf(changed(system, "field", size, None), tolerance=1e-11).energy)
    step = 2e-3
    second = (energy(step) - 2 * energy(0.0) + energy(-step)) / step**2
    # the energy of electrons in the field is +field z, and the moment counts them negative
    np.testing.assert_allclose(moment(0.0), second, rtol=1e-5)


def test_what_has_not_converged_has_no_derivative(small):
    system = small(METHANOL, xc="pbe")
    gradient = jax.jit(jax.grad(lambda core: dft.scf(replace(system, core=core), max_cycles=3).energy))
    assert np.isnan(gradient(jnp.asarray(system.core))).all()


def test_batches_have_the_derivatives_of_their_members(systems, batch):
    stacked, _ = batch

    def moment(core, system):
        return jnp.sum(dft.dipole(system, dft.scf(replace(system, core=core)).density) ** 2)

    together = jax.jit(jax.vmap(jax.grad(moment)))(jnp.asarray(stacked.core), stacked)
    system = systems["methanol"]
    alone = jax.jit(jax.grad(moment))(jnp.asarray(system.core), system)
    n = len(system.core)
    np.testing.assert_allclose(together[3][:n, :n], alone, atol=1e-7)
