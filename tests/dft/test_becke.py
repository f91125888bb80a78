"""Becke's grid against PySCF's, its derivatives against differences, and that padding does nothing."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_differences import slope
from molecules import HELIUM, HYDROGEN, HYDROGEN_IODIDE, METHANOL, SMALL, WATER, rattled
from pyscf import dft, gto
from pyscf.data.elements import ELEMENTS

from jaxphys.dft.becke import becke_grid, grid_template, pad_template
from jaxphys.units import BOHR_IN_ANGSTROM

grid = jax.jit(becke_grid)

CASES = [
    ("methanol", 0),
    ("methanol", 1),
    ("hydrogen cyanide", 1),
    ("carbonyl sulfide", 3),
    ("sulfur dioxide", 0),
    ("water", 2),
    ("water", 3),
    ("hydroxide", 4),
]


def in_bohr(molecule):
    return jnp.asarray(molecule[1] / BOHR_IN_ANGSTROM)


def of_pyscf(molecule, level):
    """PySCF's grid and molecule, with the very positions of `in_bohr`."""
    numbers, positions, charge = molecule
    atoms = list(zip(numbers, positions / BOHR_IN_ANGSTROM, strict=True))
    mole = gto.M(atom=atoms, unit="Bohr", basis="sto-3g", charge=charge, spin=None)
    grids = dft.gen_grid.Grids(mole)
    grids.level = level
    return mole, grids.build()


def assert_same_grid(molecule, level):
    """Sorted as PySCF sorts, the points are the same; PySCF adds at most seven points of no weight."""
    points, weights = grid(grid_template(molecule[0], level), in_bohr(molecule))
    mole, expected = of_pyscf(molecule, level)
    order = dft.gen_grid.arg_group_grids(mole, np.asarray(points))
    count = len(points)
    assert 0 <= len(expected.weights) - count < 8 and not expected.weights[count:].any()
    np.testing.assert_allclose(points[order], expected.coords[:count], rtol=0, atol=1e-12)
    np.testing.assert_allclose(weights[order], expected.weights[:count], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name, level", CASES)
def test_grid_is_pyscfs(name, level):
    assert_same_grid(SMALL[name], level)


@pytest.mark.parametrize("molecule", [HELIUM, HYDROGEN, HYDROGEN_IODIDE], ids=["He", "H2", "HI"])
def test_grid_of_one_atom_of_equal_and_of_very_different_ones(molecule):
    assert_same_grid(molecule, 1)


def test_a_single_atom_keeps_its_volumes():
    template = grid_template(HELIUM[0], 1)
    points, weights = grid(template, jnp.array([[1.0, 2.0, 3.0]]))
    np.testing.assert_array_equal(weights, template.volumes)
    np.testing.assert_array_equal(points, template.offsets + np.array([1.0, 2.0, 3.0]))


def test_two_equal_atoms_share_evenly():
    _, weights = grid(grid_template(HYDROGEN[0], 1), in_bohr(HYDROGEN))
    halves = np.asarray(weights).reshape(2, -1).sum(axis=1)
    np.testing.assert_allclose(*halves, rtol=1e-12)


@pytest.mark.parametrize("level, error", [(1, 1e-3), (3, 2e-5)])
def test_integral_of_gaussians(level, error):
    """One wide and one narrow Gaussian on each nucleus; ∫ exp(−αr²) = (π/α)^(3/2)."""
    positions = in_bohr(METHANOL)
    points, weights = grid(grid_template(METHANOL[0], level), positions)
    squares = jnp.sum((points[:, None] - positions) ** 2, axis=-1)
    for exponent in (0.5, 6.0):
        integrals = weights @ jnp.exp(-exponent * squares)
        np.testing.assert_allclose(integrals, (np.pi / exponent) ** 1.5, rtol=error)


@pytest.fixture(scope="module")
def loss():
    """A smooth function of all points and weights, and its gradient, both compiled."""

    def of_positions(positions, template):
        points, weights = becke_grid(template, positions)
        density = jnp.exp(-0.3 * jnp.sum((points - 0.4) ** 2, axis=-1)) * jnp.cos(points[:, 0])
        return weights @ density, jnp.sum(jnp.sin(0.01 * weights))

    def total(positions, template, mix):
        return mix @ jnp.stack(of_positions(positions, template))

    return jax.jit(total), jax.jit(jax.grad(total))


@pytest.mark.parametrize("mix", [[1.0, 0.0], [0.0, 1.0]], ids=["integral", "weights"])
@pytest.mark.parametrize("molecule", [WATER, METHANOL, HYDROGEN], ids=["water", "methanol", "H2"])
def test_reverse_derivative_is_the_slope(loss, molecule, mix):
    function, gradient = loss
    template, mix = grid_template(molecule[0], 0), jnp.array(mix)
    positions = in_bohr(rattled(molecule, 0.1, seed=1))
    direction = np.random.default_rng(2).normal(size=positions.shape)
    expected = slope(lambda step: function(positions + step * direction, template, mix), 3e-4)
    found = gradient(positions, template, mix)
    np.testing.assert_allclose(jnp.sum(found * direction), expected, rtol=1e-7)
    # the sum of weights knows no place: moving all atoms together does nothing to it
    if not mix[0]:
        np.testing.assert_allclose(found.sum(axis=0), 0, atol=1e-10 * float(abs(found).max()))


def test_every_point_and_weight_has_its_derivative():
    """Pull-backs of random combinations, along one direction of the positions."""
    template, positions = grid_template(WATER[0], 0), in_bohr(WATER)
    noise = np.random.default_rng(3)
    cotangents = [jnp.asarray(noise.normal(size=array.shape)) for array in grid(template, positions)]
    direction = noise.normal(size=positions.shape)
    moved = jax.jit(lambda step: becke_grid(template, positions + step * direction))
    pull = jax.jit(
        lambda *cotangents: jax.vjp(lambda place: becke_grid(template, place), positions)[1](cotangents)[0]
    )
    for index, cotangent in enumerate(cotangents):
        only = [cotangent if i == index else jnp.zeros_like(other) for i, other in enumerate(cotangents)]
        expected = slope(lambda step, i=index, c=cotangent: jnp.sum(c * moved(step)[i]), 3e-4)
        np.testing.assert_allclose(jnp.sum(pull(*only) * direction), expected, rtol=1e-7)


def test_padding_is_inert(loss):
    """Padded atoms on top of real ones and of each other, padded points on the first nucleus."""
    template = grid_template(METHANOL[0], 0)
    positions, count = in_bohr(METHANOL), len(template.volumes)
    padded = pad_template(template, atoms=9, points=count + 1500)
    more = jnp.concatenate([positions, positions[:1], jnp.zeros((2, 3))])
    points, weights = grid(template, positions)
    padded_points, padded_weights = grid(padded, more)
    np.testing.assert_array_equal(padded_points[:count], points)
    np.testing.assert_allclose(padded_weights[:count], weights, rtol=1e-14, atol=1e-15)
    assert not padded_weights[count:].any()
    mix = jnp.array([1.0, 0.3])
    gradient, expected = loss[1](more, padded, mix), loss[1](positions, template, mix)
    np.testing.assert_allclose(gradient[:6], expected, rtol=1e-10, atol=1e-12)
    assert not gradient[6:].any()


def test_padding_by_atomic_numbers_of_zero():
    numbers = np.array([0, 8, 0, 1, 1])
    template, expected = grid_template(numbers, 0), grid_template(WATER[0], 0)
    positions = jnp.zeros((5, 3)).at[jnp.array([1, 3, 4])].set(in_bohr(WATER))
    for found, wanted in zip(grid(template, positions), grid(expected, in_bohr(WATER)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-14, atol=1e-15)


def test_pad_template_refuses_less_than_there_is():
    template = grid_template(WATER[0], 0)
    with pytest.raises(ValueError, match="do not fit"):
        pad_template(template, atoms=2, points=10**6)


def test_batch_equals_single_ones(loss):
    molecules = [WATER, METHANOL, HELIUM]
    templates = [pad_template(grid_template(molecule[0], 0), 6, 5000) for molecule in molecules]
    positions = [jnp.pad(in_bohr(m), [(0, 6 - len(m[0])), (0, 0)]) for m in molecules]
    stacked = jnp.stack(positions), jax.tree.map(lambda *leaves: jnp.stack(leaves), *templates)
    weights = jax.jit(jax.vmap(becke_grid))(*stacked[::-1])[1]
    mix = jnp.array([1.0, 0.3])
    gradients = jax.jit(jax.vmap(loss[1], in_axes=(0, 0, None)))(*stacked, mix)
    for index, (template, place) in enumerate(zip(templates, positions, strict=True)):
        np.testing.assert_allclose(weights[index], grid(template, place)[1], rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(gradients[index], loss[1](place, template, mix), rtol=1e-10, atol=1e-12)


def test_points_on_other_nuclei_have_finite_derivatives(loss):
    """The second atom sits on a grid point of the first, then on the first nucleus itself."""
    template = grid_template(HYDROGEN[0], 0)
    for place in (template.offsets[100], np.zeros(3)):
        positions = jnp.stack([jnp.zeros(3), jnp.asarray(place)])
        _, weights = grid(template, positions)
        assert jnp.isfinite(weights).all()
        assert jnp.isfinite(loss[1](positions, template, jnp.array([1.0, 1.0]))).all()


def test_a_new_geometry_compiles_nothing(loss, compilations):
    template = jax.tree.map(jnp.asarray, grid_template(WATER[0], 0))
    first, second = in_bohr(WATER), in_bohr(rattled(WATER, 0.1, seed=5))
    mix = jnp.array([1.0, 0.0])
    jax.block_until_ready([grid(template, first), loss[1](first, template, mix)])
    with compilations() as seen:
        jax.block_until_ready([grid(template, second), loss[1](second, template, mix)])
    assert not seen


@pytest.mark.parametrize("numbers, level", [([1, 104], 3), ([1], 10), ([[1]], 3)])
def test_bad_input_is_refused(numbers, level):
    with pytest.raises(ValueError, match="must be"):
        grid_template(numbers, level)


def test_template_of_every_element():
    """All that PySCF has, with its size adjustments, ghosts aside."""
    numbers = np.arange(1, 104)
    template = grid_template(numbers, 0)
    symbols = SimpleNamespace(elements=[ELEMENTS[number] for number in numbers])
    adjust = dft.radi.treutler_atomic_radii_adjust(symbols, dft.radi.BRAGG_RADII)
    expected = np.array([[adjust(i, j, 0.0) for j in range(103)] for i in range(103)])
    np.testing.assert_allclose(template.size_adjustment, expected, rtol=0, atol=1e-15)
    assert (np.bincount(template.owner) > 100).all() and np.isfinite(template.volumes).all()
