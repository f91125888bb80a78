"""The eigensolver: what it returns, and derivatives that stay right where levels are degenerate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_differences import slope
from molecules import HYDROGEN, METHANE

from jaxphys import dft

DEGENERATE = 1e-10  # Ha


def symmetric(rng, n):
    matrix = rng.normal(size=(n, n))
    return jnp.asarray(matrix + matrix.T)


def with_levels(system, levels, rng):
    """A Fock matrix with the given orbital energies and random orbitals."""
    rotation, _ = np.linalg.qr(rng.normal(size=(len(levels), len(levels))))
    overlap, coefficients = system.overlap, system.orthonormaliser @ rotation
    return jnp.asarray(overlap @ (coefficients * levels) @ coefficients.T @ overlap)


def degenerate_pairs(system, fock):
    """How many neighbouring levels coincide, among the occupied and among the virtual ones."""
    occupied = int(np.sum(system.occupation > 0))
    equal = np.diff(dft.orbitals(system, fock)[0]) < DEGENERATE
    return np.sum(equal[: occupied - 1]), np.sum(equal[occupied:])


def assert_derivative_is_right(system, fock, seed=0):
    rng = np.random.default_rng(seed)
    cotangent, direction = symmetric(rng, len(fock)), symmetric(rng, len(fock))
    function = jax.jit(lambda fock: jnp.sum(cotangent * dft.density(system, fock)))
    expected = slope(lambda h: function(fock + h * direction), 3e-5)
    np.testing.assert_allclose(jnp.sum(jax.grad(function)(fock) * direction), expected, rtol=1e-8)


@pytest.mark.parametrize("name", ["methane", "ammonia", "benzene"])
def test_derivative_of_the_density_of_molecules_with_degenerate_levels(systems, focks, name):
    system, fock = systems[name], focks[name]
    occupied, virtual = degenerate_pairs(system, fock)
    assert occupied >= 1 and virtual >= 1
    assert_derivative_is_right(system, fock)


@pytest.mark.parametrize("seed", range(5))
def test_derivative_of_the_density_of_random_matrices(systems, seed):
    system = systems["methanol"]
    fock = symmetric(np.random.default_rng([seed, 1]), len(system.overlap)) + 5.0 * system.core
    assert degenerate_pairs(system, fock) == (0, 0)
    assert_derivative_is_right(system, fock, seed)


@pytest.mark.parametrize("seed", range(5))
def test_derivative_of_the_density_of_random_orbitals_with_degenerate_levels(systems, seed):
    system = systems["methane"]
    levels = np.array([-2.0, -0.7, -0.7, -0.7, -0.7, 0.1, 0.1, 0.1, 0.4])
    fock = with_levels(system, levels, np.random.default_rng([seed, 2]))
    assert degenerate_pairs(system, fock) == (3, 2)
    assert_derivative_is_right(system, fock, seed)


def test_the_check_above_refuses_the_derivative_of_plain_eigh(systems, focks, monkeypatch):
    def plain(fock, overlap, transformation, mask, occupation):
        vectors = transformation @ jnp.linalg.eigh(transformation.T @ fock @ transformation)[1]
        return (vectors * occupation) @ vectors.T

    monkeypatch.setattr("jaxphys.dft.eigen._density", plain)
    with pytest.raises(AssertionError):
        assert_derivative_is_right(systems["methane"], focks["methane"])


def test_derivative_of_two_levels_in_closed_form(small):
    # P = 1 − F / |F| for F = [[−g/2, x], [x, g/2]], so that ∂P₁₂/∂x = −2/g at x = 0
    system = small(HYDROGEN)
    gap, back = 0.4, system.overlap @ system.orthonormaliser

    def off_diagonal(x):
        fock = back @ jnp.array([[-gap / 2, x], [x, gap / 2]]) @ back.T
        return (back.T @ dft.density(system, fock) @ back)[0, 1]

    np.testing.assert_allclose(jax.grad(off_diagonal)(0.0), -2 / gap, rtol=1e-12)


def test_density_is_a_projector_that_commutes_with_the_fock_matrix(systems, focks):
    for name, system in systems.items():
        fock = focks[name]
        density, overlap = dft.density(system, fock), system.overlap
        np.testing.assert_allclose(jnp.sum(density * overlap), np.sum(system.occupation), rtol=1e-12)
        np.testing.assert_allclose(density @ overlap @ density, 2 * density, atol=1e-12)
        np.testing.assert_allclose(density, density.T, atol=1e-14)
        product = fock @ density @ overlap
        np.testing.assert_allclose(product, product.T, atol=1e-11)


def test_density_takes_the_symmetric_part_of_a_matrix_in_any_precision(systems, focks):
    system, fock = systems["methanol"], focks["methanol"]
    skewed = fock + 0.1 * jnp.triu(jnp.ones_like(fock)) - 0.1 * jnp.tril(jnp.ones_like(fock))
    np.testing.assert_allclose(dft.density(system, skewed), dft.density(system, fock), atol=1e-12)
    single = jnp.asarray(fock, jnp.float32)
    assert dft.density(system, single).dtype == jnp.float64
    assert jax.grad(lambda fock: dft.density(system, fock)[0, 0])(single).dtype == jnp.float32


def test_orbitals_solve_the_generalised_eigenproblem(systems, focks):
    for name, system in systems.items():
        fock = focks[name]
        energies, coefficients = dft.orbitals(system, fock)
        overlap = system.overlap
        assert np.all(np.diff(energies) >= 0)
        np.testing.assert_allclose(fock @ coefficients, overlap @ coefficients * energies, atol=1e-11)
        np.testing.assert_allclose(coefficients.T @ overlap @ coefficients, np.eye(len(fock)), atol=1e-12)
        density = (coefficients * system.occupation) @ coefficients.T
        np.testing.assert_allclose(density, dft.density(system, fock), atol=1e-12)


def test_derivative_of_orbital_energies_summed_over_degenerate_levels(systems, focks):
    system, fock = systems["methane"], focks["methane"]
    direction = symmetric(np.random.default_rng(3), len(fock))
    weights = jnp.array([1.0, 0.5, 0.2, 0.2, 0.2, -0.7, -0.7, -0.7, 0.3])  # equal on each threefold level
    function = jax.jit(lambda fock: jnp.sum(weights * dft.orbitals(system, fock)[0]))
    expected = slope(lambda h: function(fock + h * direction), 2e-5)
    np.testing.assert_allclose(jnp.sum(jax.grad(function)(fock) * direction), expected, rtol=1e-8)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["plain", "jit"])
def test_differentiating_coefficients_is_an_error(systems, focks, transform):
    loss = transform(jax.grad(lambda fock: jnp.sum(dft.orbitals(systems["ammonia"], fock)[1] ** 2)))
    with pytest.raises(TypeError, match=r"coefficients are not differentiable.*differentiate dft\.density"):
        loss(focks["ammonia"])


def test_padding_is_inert_in_a_jitted_batch(systems, batch):
    batch, focks = batch
    weights = symmetric(np.random.default_rng(5), focks.shape[-1])

    def value(system, fock):
        n = len(fock)
        return jnp.sum(weights[:n, :n] * dft.density(system, fock))

    densities = jax.jit(jax.vmap(dft.density))(batch, focks)
    energies, coefficients = jax.jit(jax.vmap(dft.orbitals))(batch, focks)
    gradients = jax.jit(jax.vmap(jax.grad(value, argnums=1)))(batch, focks)
    for i, system in enumerate(systems.values()):
        n = len(system.overlap)
        real = (slice(n), slice(n))
        fock = focks[i][real]
        np.testing.assert_allclose(densities[i][real], dft.density(system, fock), atol=1e-10)
        np.testing.assert_allclose(energies[i][:n], dft.orbitals(system, fock)[0], atol=1e-10)
        np.testing.assert_allclose(gradients[i][real], jax.grad(value, argnums=1)(system, fock), atol=1e-10)
        assert np.all(energies[i][n:] > energies[i][n - 1])
        for padded in (densities[i], coefficients[i], gradients[i]):
            assert np.max(np.abs(padded[n:]), initial=0.0) < 1e-12
            assert np.max(np.abs(padded[:, n:]), initial=0.0) < 1e-12


@pytest.fixture
def doubled(tmp_path):
    """STO-3G for carbon and hydrogen, and the same with hydrogen's function once more, all but equal."""
    start = "#BASIS SET: STO-3G\n"
    s_shell = "H S\n 3.42525091 0.15432897\n 0.62391373 0.53532814\n 0.16885540 0.44463454\n"
    shifted = s_shell.replace("0.16885540", "0.16885541")
    carbon = (
        "C S\n 71.6168370 0.15432897\n 13.0450960 0.53532814\n 3.5305122 0.44463454\n"
        "C SP\n 2.9412494 -0.09996723 0.15591627\n 0.6834831 0.39951283 0.60768372\n"
        " 0.2222899 0.70011547 0.39195739\n"
    )
    paths = {}
    for name, hydrogen in {"once": s_shell, "twice": s_shell + shifted}.items():
        paths[name] = tmp_path / f"{name}.nw"
        paths[name].write_text(start + hydrogen + start + carbon)
    return {name: str(path) for name, path in paths.items()}


@pytest.mark.filterwarnings("error")  # SciPy warns where somebody solves with a singular matrix
def test_nearly_dependent_functions_are_left_out(doubled, small):
    once, twice = (small(METHANE, basis=doubled[name]) for name in ("once", "twice"))
    assert len(twice.overlap) == len(once.overlap) + 4
    assert np.sum(twice.orbital_mask) == np.sum(once.orbital_mask) == 9
    assert np.max(np.abs(twice.guess_density)) < 10.0
    fock = jax.jit(dft.guess_fock)(twice)
    energies, coefficients = dft.orbitals(twice, fock)
    assert np.all(energies[9:] > energies[8]) and np.all(np.abs(coefficients[:, 9:]) < 1e-12)
    assert_derivative_is_right(twice, fock)
    found = jax.jit(jax.vmap(dft.scf))(dft.stack([once, twice]))
    assert np.all(found.converged)
    np.testing.assert_allclose(found.energy[1], found.energy[0], atol=2e-9)
