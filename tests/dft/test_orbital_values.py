"""Orbitals at points against PySCF, their derivatives against differences, and that padding does nothing."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_differences import slope
from molecules import METHANOL, SMALL, WATER, rattled
from pyscf import gto

from jaxphys.dft.orbital_values import orbital_values
from jaxphys.dft.shells import count_shells, make_shells, pad_shells

# one shell of each angular momentum up to four, two primitives in the first: the same for every element
MODEL = [[0, (4.0, 0.4), (0.3, 0.7)], [1, (0.8, 1.0)], [2, (0.9, 1.0)], [3, (1.1, 1.0)], [4, (1.3, 1.0)]]
NAMES = ["GTOval_sph", "GTOval_sph_deriv1", "GTOval_sph_deriv2"]
evaluate = jax.jit(orbital_values, static_argnames=("n", "derivatives"))


def build(molecule, basis="def2-svp"):
    """PySCF's molecule, its shells and its positions in Bohr."""
    numbers, positions, charge = molecule
    mole = gto.M(atom=list(zip(numbers, positions, strict=True)), basis=basis, charge=charge, spin=None)
    return mole, make_shells(mole), jnp.asarray(mole.atom_coords())


def some_points(positions, count=200):
    """Random points about the nuclei, near and far, and the nuclei themselves."""
    noise = np.random.default_rng(0)
    centres = np.asarray(positions)[noise.integers(len(positions), size=count)]
    spread = 10 ** noise.uniform(-3, 1, size=(count, 1))
    return jnp.concatenate([jnp.asarray(centres + spread * noise.normal(size=(count, 3))), positions])


def of_pyscf(mole, points, derivatives):
    values = mole.eval_gto(NAMES[derivatives], np.asarray(points))
    return values.reshape(-1, len(points), mole.nao)


def assert_close(found, expected):
    """To 1e-13 of the largest value among the orbitals and points, for each derivative."""
    scale = np.abs(expected).max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=1e-13)


CASES = [("methanol", 0), ("methanol", 2), ("hydrogen cyanide", 1), ("carbonyl sulfide", 1)]


@pytest.mark.parametrize("name, derivatives", CASES)
def test_values_are_pyscfs(name, derivatives):
    mole, basis, positions = build(SMALL[name])
    points = some_points(positions)
    found = evaluate(basis, positions, points, n=mole.nao, derivatives=derivatives)
    assert_close(found, of_pyscf(mole, points, derivatives))


@pytest.mark.parametrize("basis, derivatives", [(MODEL, 2), ("cc-pvdz", 0)], ids=["to g", "cc-pVDZ"])
def test_angular_momenta_up_to_four_and_general_contractions(basis, derivatives):
    mole, shells, positions = build(WATER, basis)
    points = some_points(positions, 60)
    found = evaluate(shells, positions, points, n=mole.nao, derivatives=derivatives)
    assert_close(found, of_pyscf(mole, points, derivatives))


@pytest.mark.parametrize("derivatives", [0, 1, 2])
def test_reverse_derivative_is_the_slope(derivatives):
    """With respect to positions and points, of a random combination of all values."""
    mole, basis, positions = build(WATER, MODEL[:3])
    points = some_points(positions, 40)
    noise = np.random.default_rng(1)
    value = partial(orbital_values, basis, n=mole.nao, derivatives=derivatives)
    expected = of_pyscf(mole, points, derivatives)
    weights = noise.normal(size=expected.shape) / np.abs(expected).max(axis=(1, 2), keepdims=True)
    total = jax.jit(lambda positions, points: jnp.sum(weights * value(positions, points)))
    gradients = jax.jit(jax.grad(total, argnums=(0, 1)))(positions, points)
    for which, place in enumerate([positions, points]):
        direction = noise.normal(size=place.shape)

        def moved(step, which=which, change=direction):
            return (
                total(positions + step * change, points)
                if which == 0
                else total(positions, points + step * change)
            )

        found = jnp.sum(gradients[which] * direction)
        np.testing.assert_allclose(found, slope(moved, 1e-5), rtol=1e-7)


def test_derivatives_at_the_nuclei_are_finite_and_right():
    """At a nucleus the gradient with respect to the point is PySCF's next derivative."""
    mole, basis, positions = build(WATER)
    expected = of_pyscf(mole, positions, 2)
    value = partial(orbital_values, basis, n=mole.nao, derivatives=1)
    rows = jax.jit(jax.jacrev(lambda point: value(positions, point[None])[:, 0]))
    found = np.stack([rows(point) for point in positions], axis=2)  # component, orbital, point, axis
    assert np.isfinite(found).all()
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found[0], expected[1:4].transpose(2, 1, 0), rtol=0, atol=1e-12 * scale)
    pairs = [[4, 5, 6], [5, 7, 8], [6, 8, 9]]
    np.testing.assert_allclose(found[1:], expected[pairs].transpose(0, 3, 2, 1), rtol=0, atol=1e-12 * scale)
    gradient = jax.jit(jax.grad(lambda place: jnp.sum(jnp.sin(value(place, positions)))))
    assert np.isfinite(gradient(positions)).all()


@pytest.fixture(scope="module")
def padded_pair():
    """Two molecules in arrays of one size, as a stack: shells, positions, points; and their sizes."""
    built = [build(WATER, MODEL[:3]), build(METHANOL, "sto-3g")]
    counts = count_shells([basis for _, basis, _ in built])
    n, atoms = 60, 8
    bases = [pad_shells(basis, counts, n) for _, basis, _ in built]
    places = [jnp.pad(positions, [(0, atoms - len(positions)), (0, 0)]) for *_, positions in built]
    points = [some_points(positions, 50)[:50] for *_, positions in built]
    stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), *bases), jnp.stack(places), jnp.stack(points)
    return built, stack, n


def test_padding_is_inert_and_a_batch_equals_single_ones(padded_pair):
    built, stack, n = padded_pair
    batch = jax.jit(jax.vmap(partial(orbital_values, n=n, derivatives=1)))(*stack)
    for index, (mole, basis, positions) in enumerate(built):
        expected = evaluate(basis, positions, stack[2][index], n=mole.nao, derivatives=1)
        np.testing.assert_allclose(batch[index, ..., : mole.nao], expected, rtol=1e-12, atol=1e-14)
        assert not batch[index, ..., mole.nao :].any()


def test_gradient_of_padding_is_zero(padded_pair):
    built, (bases, places, points), n = padded_pair

    def square(place, basis, points, n):
        return jnp.sum(orbital_values(basis, place, points, n) ** 2)

    gradient = jax.jit(jax.vmap(jax.grad(partial(square, n=n))))(places, bases, points)
    for index, (mole, basis, positions) in enumerate(built):
        alone = jax.jit(jax.grad(partial(square, n=mole.nao)))(positions, basis, points[index])
        np.testing.assert_allclose(gradient[index, : mole.natm], alone, rtol=1e-10, atol=1e-12)
        assert not gradient[index, mole.natm :].any()


def test_a_new_geometry_compiles_nothing(compilations):
    _, basis, first = build(WATER)
    mole, _, second = build(rattled(WATER, 0.1, seed=5))
    points = some_points(first, 30)
    jax.block_until_ready(evaluate(basis, first, points, n=mole.nao, derivatives=1))
    with compilations() as seen:
        jax.block_until_ready(evaluate(basis, second, points, n=mole.nao, derivatives=1))
    assert not seen


def test_only_two_derivatives_are_offered():
    _, basis, positions = build(WATER)
    with pytest.raises(ValueError, match="derivatives must be"):
        orbital_values(basis, positions, positions, 24, derivatives=3)
