"""Forces against PySCF's, against finite differences, and the rules that they have to obey."""

import jax
import numpy as np
import pytest
import scipy.linalg
from molecules import HYDROGEN_IODIDE, SMALL, WATER, rattled
from pyscf import dft, gto

from jaxphys.dft import shell_loops
from jaxphys.dft.basis import build_mole
from jaxphys.dft.becke import becke_grid, grid_template
from jaxphys.dft.coulomb_gradient import _solve
from jaxphys.dft.functionals import functional
from jaxphys.dft.grid_gradient import grid_gradient
from jaxphys.dft.integrals import density_fitting
from jaxphys.dft.libcint_gradient import Occupied, libcint_gradient

BENT = rattled(WATER, 0.05, seed=1)
HYDROXIDE = rattled(SMALL["hydroxide"], 0.05, seed=1)
METHYL = (
    np.array([6, 1, 1, 1]),
    np.array([[0.0, 0.0, 0.1], [1.08, 0.0, 0.0], [-0.5, 0.95, 0.0], [-0.5, -0.9, 0.1]]),
    0,
)


def converge(molecule, xc, basis="sto-3g", auxbasis="weigend", spin=None, tolerance=1e-8):
    """A calculation of PySCF; for what holds for any orbitals it need not be tight."""
    numbers, positions, charge = molecule
    mole = build_mole(numbers, positions, charge=charge, basis=basis, spin=spin)
    theory = dft.UKS if spin else dft.RKS
    field = theory(mole, xc=xc).density_fit(auxbasis=auxbasis)
    field.grids.level = 0
    field.conv_tol, field.conv_tol_grad = tolerance, max(tolerance**0.5, 1e-7)
    field.kernel()
    assert field.converged
    return field


def occupied(field):
    """The occupied orbitals of each spin."""
    spins = [field.mo_coeff], [field.mo_energy], [field.mo_occ]
    if field.mo_occ.ndim == 2:
        spins = field.mo_coeff, field.mo_energy, field.mo_occ
    return [Occupied(c[:, f > 0], e[f > 0]) for c, e, f in zip(*spins, strict=True)]


def reference(field, **settings):
    """PySCF's gradient of a converged calculation."""
    gradients = field.nuc_grad_method()
    vars(gradients).update(settings)
    assert gradients.auxbasis_response
    return gradients.kernel()


def gradient(field, grid=None, **settings):
    """Ours, on PySCF's points unless others are given."""
    points, weights = grid or (field.grids.coords, field.grids.weights)
    method = functional(field.xc)
    return libcint_gradient(
        field.mol, field.with_df.auxmol, method, occupied(field), points=points, weights=weights, **settings
    )


@pytest.mark.parametrize(
    ("molecule", "xc", "settings"),
    [
        (BENT, "svwn", {}),
        (BENT, "b3lyp5", {"basis": "def2-svp", "auxbasis": "def2-universal-jkfit"}),
        (BENT, "r2scan", {}),
        (HYDROXIDE, "wb97x", {}),
        (METHYL, "pbe0", {"spin": 1}),
        (METHYL, "r2scan", {"spin": 1}),
    ],
    ids=["svwn", "b3lyp5", "r2scan", "wb97x-ion", "pbe0-radical", "r2scan-radical"],
)
def test_agrees_with_pyscf(molecule, xc, settings):
    field = converge(molecule, xc, **settings)
    np.testing.assert_allclose(gradient(field), reference(field), rtol=0, atol=1e-8)


@pytest.fixture(scope="module")
def moving():
    """Water with PBE, and its grid as a function of the nuclei."""
    field = converge(BENT, "pbe", tolerance=1e-12)
    template = grid_template(field.mol.atom_charges(), 0)
    grid = tuple(map(np.asarray, jax.jit(becke_grid)(template, field.mol.atom_coords())))
    return field, template, grid


def test_response_of_the_grid_agrees_with_pyscf(moving):
    field, template, grid = moving
    ours = gradient(field, grid, response=template)
    np.testing.assert_allclose(ours, reference(field, grid_response=True), rtol=0, atol=1e-7)


def test_forces_sum_to_zero_with_response_only(moving):
    field, template, grid = moving
    fixed = gradient(field, grid)
    assert np.abs(fixed.sum(axis=0)).max() > 1e-5
    np.testing.assert_allclose(fixed, reference(field), rtol=0, atol=1e-8)
    np.testing.assert_allclose(gradient(field, grid, response=template).sum(axis=0), 0.0, rtol=0, atol=1e-10)


def test_agrees_with_differences_of_the_energy(moving):
    field, template, grid = moving
    numbers, positions, charge = BENT
    step, energies = 1e-3, []
    for sign in (1, -1):
        moved = positions.copy()
        moved[1, 2] += sign * step
        energies.append(converge((numbers, moved, charge), "pbe", tolerance=1e-12).e_tot)
    slope = (energies[0] - energies[1]) / (2 * step / gto.mole.param.BOHR)
    np.testing.assert_allclose(gradient(field, grid, response=template)[1, 2], slope, rtol=0, atol=2e-6)


def test_derivative_by_weights_is_the_energy_density(moving):
    field, _, (points, weights) = moving
    coefficients = [spin.coefficients for spin in occupied(field)]
    on_grid = grid_gradient(field.mol, functional("pbe"), coefficients, points=points, weights=weights)
    energy = field._numint.nr_rks(field.mol, field.grids, "pbe", field.make_rdm1())[1]
    np.testing.assert_allclose(weights @ on_grid.weights, energy, rtol=1e-10)
    np.testing.assert_allclose(on_grid.points.sum(axis=0), -on_grid.nuclei.sum(axis=0), rtol=0, atol=1e-10)


def test_core_potentials_are_refused():
    numbers, positions, charge = HYDROGEN_IODIDE
    mole = build_mole(numbers, positions, charge=charge, basis="def2-svp")
    none = Occupied(np.zeros((mole.nao, 0)), np.zeros(0))
    with pytest.raises(ValueError, match="core potentials"):
        libcint_gradient(mole, mole, functional("pbe"), [none], points=np.zeros((1, 3)), weights=np.zeros(1))


def test_grid_of_another_size_is_refused(moving):
    field, template, (points, weights) = moving
    with pytest.raises(ValueError, match="points"):
        gradient(field, (points[1:], weights[1:]), response=template)


def test_fitting_at_hand_changes_nothing(moving):
    field, _, grid = moving
    fitting = density_fitting(field.mol, field.with_df.auxmol)
    with_fitting = gradient(field, grid, fitting=fitting)
    np.testing.assert_allclose(with_fitting, gradient(field, grid), rtol=0, atol=1e-10)


def test_dependent_auxiliary_functions_are_left_out():
    vectors = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    values = np.array([-1e-13, 1.0, 2.0, 3.0])
    metric, column = (vectors * values) @ vectors.T, np.arange(4.0)
    inverse = (vectors[:, 1:] / values[1:]) @ vectors[:, 1:].T
    levels, modes = scipy.linalg.eigh(metric)  # the same signs as PySCF has
    whitened = (modes[:, 1:] / np.sqrt(levels[1:])).T @ column
    for given, whether in ((column, False), (whitened, True)):
        (solved,) = _solve(metric, [given], whether)
        np.testing.assert_allclose(solved, inverse @ column, rtol=0, atol=1e-9)


@pytest.fixture(scope="module")
def high():
    """Shells from s to g on two atoms, one of them a general contraction, and points about them."""
    shells = [[0, (5.0, 0.3, 0.1), (0.8, 0.4, 0.9)], *([l, (0.7 + 0.1 * l, 1.0)] for l in range(1, 5))]
    mole = gto.M(atom="He 0 0 0; He 0.3 -0.2 1.1", basis={"He": shells}, verbose=0)
    points = np.random.default_rng(0).normal(size=(64, 3))
    return mole, points, mole.eval_gto("GTOval_sph_deriv2", points).swapaxes(1, 2)


def at_block(mole, points, function, *arrays):
    """function(near shells, *arrays) in one program, at a block of these points; tables have 64 rows."""
    orbitals = shell_loops.padded_orbitals(mole)
    program = jax.jit(lambda orbitals, points, *a: function(shell_loops.near(orbitals, points, 64), *a))
    return program(orbitals, points.T, *arrays)


def test_orbitals_and_slopes_agree_with_libcint(high):
    mole, points, derivatives = high
    direction = np.random.default_rng(1).normal(size=(3, len(points)))

    def evaluate(near, *direction):
        return shell_loops.table(near, shell_loops.values), shell_loops.table(
            near, shell_loops.along(direction)
        )

    values, slopes = at_block(mole, points, evaluate, *direction)
    np.testing.assert_allclose(values[: mole.nao], derivatives[0], rtol=0, atol=1e-12)
    expected = np.einsum("xq,xnq->nq", direction, derivatives[1:4])
    np.testing.assert_allclose(slopes[: mole.nao], expected, rtol=0, atol=1e-12)


def test_contracted_derivatives_agree_with_libcint(high):
    mole, points, derivatives = high
    rng = np.random.default_rng(2)
    u, v = rng.normal(size=(2, 64, len(points)))
    factor, *direction = rng.normal(size=(4, len(points)))

    def contract(near, u, v, factor, *direction):
        return shell_loops.pull(near, [(factor, u)], [(direction, [(None, v)])])

    by_point, by_atom = at_block(mole, points, contract, u, v, factor, *direction)
    second = derivatives[[4, 5, 6, 5, 7, 8, 6, 8, 9]].reshape(3, 3, *derivatives.shape[1:])
    each = factor * u[: mole.nao] * derivatives[1:4]
    each += np.einsum("yq,nq,xynq->xnq", direction, v[: mole.nao], second)
    np.testing.assert_allclose(by_point, each.sum(axis=1), rtol=0, atol=1e-10)
    halves = [each[:, start:stop].sum(axis=(1, 2)) for *_, start, stop in mole.aoslice_by_atom()]
    np.testing.assert_allclose(by_atom[:2], halves, rtol=0, atol=1e-10)


def test_far_shells_are_skipped_without_a_trace(high):
    mole, points, _ = high
    away = points + np.array([0.0, 0.0, 9.0])

    def evaluate(near):
        return shell_loops.table(near, shell_loops.values), sum(group.reached for group in near.groups)

    values, reached = at_block(mole, away, evaluate)
    assert 0 < reached < mole.nbas
    expected = mole.eval_gto("GTOval_sph", away).T
    np.testing.assert_allclose(values[: mole.nao], expected, rtol=0, atol=shell_loops.NEGLIGIBLE)
