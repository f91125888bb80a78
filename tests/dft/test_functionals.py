"""Functionals of closed shells against libxc, closed forms and finite differences, and corners."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from finite_differences import slope
from pyscf.dft import libxc
from xc_points import count, derivatives, gradient_size, kinetic, labels, libxc_derivatives

from jaxphys.dft.functionals import DENSITY_THRESHOLD, FUNCTIONALS, functional

NAMES = sorted(FUNCTIONALS)
RHO = 10.0 ** np.arange(-8.0, 4.5, 0.5)
S = np.array([0.0, 1e-3, 1e-2, 0.05, 0.2, 0.5, 0.9, 1.5, 3.0, 5.0, 10.0, 25.0, 50.0])
# r2SCAN's switch changes its form at 0, below which libxc cuts sigma off, and at 2.5
ALPHA = np.array([0.0, 0.3, 1.0, 1.7, 2.49, 2.51, 30.0])
# libxc's exchange alone: the scale of rounding where correlation cancels it, as in PBE's vsigma at s = 0
EXCHANGE = {"svwn": "lda,", "pbe": "pbe,", "pbe0": "pbe,", "r2scan": "r2scan,"}  # all others b88
B88 = {"b3lyp5": 0.72, "b3lypg": 0.72, "blyp": 1.0}


def density_and_sigma(rho, s):
    """All pairs of densities (1/Bohr³) and reduced gradients s, as rho and sigma."""
    rho, s = (a.ravel() for a in np.meshgrid(rho, s))
    return rho, gradient_size(rho, s) ** 2


def uniform_gas(rho):
    """Slater's exchange and Perdew and Wang's correlation, per volume."""
    rs = (3 / (4 * np.pi * rho)) ** (1 / 3)
    series = 7.5957 * rs**0.5 + 3.5876 * rs + 1.6382 * rs**1.5 + 0.49294 * rs**2
    pw92 = -2 * 0.0310907 * (1 + 0.2137 * rs) * np.log1p(1 / (2 * 0.0310907 * series))
    return -0.75 * (3 / np.pi) ** (1 / 3) * rho ** (4 / 3) + rho * pw92


@pytest.mark.parametrize("name", NAMES)
def test_value_and_two_derivatives_agree_with_libxc(name):
    # libxc's r2SCAN takes a gradient of zero for 1e-11^(4/3), and a tau of zero for 1e-20
    rho, sigma = density_and_sigma(RHO[2:] if name == "r2scan" else RHO, S)
    alpha = np.where(sigma == 0, 0.3, np.resize(ALPHA, rho.shape))
    tau = kinetic(rho, sigma, alpha)
    gradient = np.stack([np.sqrt(sigma), 0 * rho, 0 * rho])
    fields, n = (rho[None], gradient[None], tau[None]), count(name, 1)
    ours = derivatives(name, 1, np.stack([rho, sigma, tau]))
    theirs = libxc_derivatives(functional(name).pyscf_name, *fields, n)
    exchange = libxc_derivatives(EXCHANGE.get(name, "b88,"), *fields, n)
    for quantity, a, b, x in zip(labels(name, 1), ours, theirs, exchange, strict=True):
        scale = np.maximum(abs(b), abs(x))
        # libxc's B88 loses all digits of this one at zero gradient; the closed form below checks it
        lost = (sigma == 0) & (name in B88 and quantity == "sigma sigma")
        worst = np.max((abs(a - b) - 1e-10 * scale)[~lost])
        assert worst <= 0, f"{quantity} is {worst} beyond the tolerance"


@pytest.mark.parametrize("name", NAMES)
def test_pyscf_agrees_on_exact_exchange_and_kind(name):
    xc = functional(name)
    if xc.range_separation is None:
        assert libxc.hybrid_coeff(xc.pyscf_name) == pytest.approx(xc.exact_exchange, abs=1e-15)
    assert libxc.is_lda(xc.pyscf_name) == (not xc.needs_gradient)
    assert libxc.is_meta_gga(xc.pyscf_name) == xc.needs_kinetic
    assert not libxc.needs_laplacian(xc.pyscf_name)


@pytest.mark.parametrize("name", NAMES)
def test_pyscf_agrees_on_range_separation(name):
    xc = functional(name)
    omega, alpha, beta = libxc.rsh_coeff(xc.pyscf_name)
    if xc.range_separation is None:
        assert omega == 0
    else:
        assert xc.range_separation == pytest.approx((omega, alpha + beta, alpha), abs=1e-15)
        assert xc.exact_exchange == xc.range_separation.short


def test_svwn_exchange_is_that_of_the_uniform_gas():
    rho = RHO
    correlation = libxc.eval_xc(",vwn", rho)[0] * rho
    slater = -0.75 * (3 / np.pi) ** (1 / 3) * rho ** (4 / 3)
    np.testing.assert_allclose(functional("svwn").energy(jnp.asarray(rho)) - correlation, slater, rtol=1e-12)


@pytest.mark.parametrize(("name", "tolerance"), [("pbe", 1e-13), ("r2scan", 3e-12)])
def test_without_gradient_only_the_uniform_gas_is_left(name, tolerance):
    # the coefficients of r2SCAN's switch have 12 digits, so it does not vanish at α = 1 to more than that
    tau = kinetic(RHO, 0.0, 1.0)
    ours = functional(name).energy(jnp.asarray(RHO), jnp.zeros(RHO.shape), jnp.asarray(tau))
    np.testing.assert_allclose(ours, uniform_gas(RHO), rtol=tolerance)


def test_r2scan_decays_without_loss_of_digits():
    # 1 − exp(−c p^(-1/4)) is one to all digits, but its curvature is not zero to as many
    s = np.linspace(0.014, 0.03, 9)
    rho, row = np.full(s.shape, 0.1), labels("r2scan", 1).index
    sigma = gradient_size(rho, s) ** 2

    def rows(h):
        return derivatives("r2scan", 1, np.stack([rho, sigma * (1 + h), kinetic(rho, sigma, 1.0)]))

    expected = slope(lambda h: rows(h)[row("sigma")], 1e-2) / sigma
    np.testing.assert_allclose(rows(0.0)[row("sigma sigma")], expected, rtol=1e-7)


def test_r2scan_is_smooth_where_tau_is_least():
    rho, sigma = density_and_sigma(np.array([1e-3, 1.0]), np.array([0.5, 2.0]))
    below, above = (
        derivatives("r2scan", 1, np.stack([rho, sigma, kinetic(rho, sigma, alpha)]))
        for alpha in (-1e-9, 1e-9)
    )
    np.testing.assert_allclose(below[:4], above[:4], rtol=1e-7)
    np.testing.assert_allclose(below[4:], above[4:], rtol=1e-5)


@pytest.mark.parametrize("name", B88)
def test_b88_curvature_at_vanishing_gradient(name):
    # B88 is rho ε_x (1 + c x² (1 − 6 β x² + …)) with c = β / C, and LYP is linear in sigma
    beta, spin_slater = 0.0042, 0.375 * (3 / np.pi) ** (1 / 3) * 4 ** (2 / 3)
    rho, sigma = density_and_sigma(RHO, [0.0, 1e-12, 1e-6])
    slater = -0.75 * (3 / np.pi) ** (1 / 3) * rho ** (4 / 3)
    x2_per_sigma = 2 ** (2 / 3) * rho ** (-8 / 3)
    expected = B88[name] * slater * beta / spin_slater * (-12 * beta) * x2_per_sigma**2
    np.testing.assert_allclose(derivatives(name, 1, np.stack([rho, sigma]))[5], expected, rtol=1e-9)


# sigma at a density of one where B88's series takes over; the density where that of the attenuation does
SEAMS = {
    "b3lyp5": (1.0, 1e-6 / 2 ** (2 / 3)),
    "b3lypg": (1.0, 1e-6 / 2 ** (2 / 3)),
    "blyp": (1.0, 1e-6 / 2 ** (2 / 3)),
    "wb97x": (0.3**3 / (3 * np.pi**2), 1e-4),
}


@pytest.mark.parametrize("name", SEAMS)
def test_series_meets_the_formula(name):
    sides = np.array([1 - 1e-9, 1 + 1e-9])
    rho, sigma = (seam * sides for seam in SEAMS[name])
    for quantity in derivatives(name, 1, np.stack([rho, sigma])):
        np.testing.assert_allclose(quantity[0], quantity[1], rtol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_agree_with_finite_differences(name):
    n = count(name, 1)
    rho, sigma = density_and_sigma(np.array([1e-3, 0.03, 1.0, 20.0]), np.array([0.3, 1.0, 4.0]))
    variables = np.stack([rho, sigma, kinetic(rho, sigma, 0.7)])[:n]
    rows = derivatives(name, 1, variables)
    hessian = np.zeros((n, n, len(rho)))
    hessian[np.triu_indices(n)] = rows[1 + n :]
    for i in range(n):
        step = np.zeros((n, 1))
        step[i] = 1.0
        slopes = slope(lambda h, step=step: derivatives(name, 1, variables * (1 + h * step))[: 1 + n], 1e-4)
        expected = np.stack([rows[1 + i], *(hessian[min(i, j), max(i, j)] for j in range(n))]) * variables[i]
        # each by its own size and by that of what it is the derivative of
        scale = abs(expected) + abs(rows[: 1 + n])
        assert np.max(abs(slopes - expected) / scale) < 1e-8


@pytest.mark.parametrize("name", NAMES)
def test_finite_at_every_corner(name):
    rho = [0.0, -1e-30, -1e-10, 1e-300, 1e-16, 1.01e-15, 1e-14, 1e-12, 1e-8, 1e-4, 1.0, 1e4, 1e8]
    sigma = [0.0, -1e-20, 5e-324, 1e-300, 1e-100, 1e-40, 1e-20, 1e-10, 1e-6, 1.0, 1e4, 1e12, 1e30, 1e100]
    tau = [0.0, -1e-20, 1e-300, 1e-30, 1e-10, 1.0, 1e6, 1e100]
    corners = np.array([a.ravel() for a in np.meshgrid(rho, sigma, tau[: 8 if name == "r2scan" else 1])])
    bound = np.array([a.ravel() for a in np.meshgrid(rho, sigma)])
    bound = np.concatenate([bound, [bound[1] / (8 * np.maximum(bound[0], DENSITY_THRESHOLD))]])
    variables = np.concatenate([corners, bound], axis=1)
    for quantity, value in zip(labels(name, 1), derivatives(name, 1, variables), strict=True):
        assert np.all(np.isfinite(value)), quantity
        assert np.all(value[variables[0] <= DENSITY_THRESHOLD] == 0), quantity


@pytest.mark.parametrize("name", NAMES)
def test_nan_density_stays_visible(name):
    nan = jnp.array([jnp.nan, 1.0])
    assert np.isnan(functional(name).energy(nan, jnp.ones(2), jnp.ones(2))).tolist() == [True, False]


@pytest.mark.parametrize("name", NAMES)
def test_elementwise_in_any_shape(name):
    rho, sigma = density_and_sigma(RHO[:6], S[:4])
    fields = [jnp.asarray(a) for a in (rho, sigma, kinetic(rho, sigma, 0.7))]
    energy = jax.jit(functional(name).energy)
    flat = energy(*fields)
    np.testing.assert_allclose(energy(*(a.reshape(2, 12) for a in fields)), flat.reshape(2, 12), rtol=1e-13)
    np.testing.assert_allclose(energy(*(a[3] for a in fields)), flat[3], rtol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_needed_may_be_left_out(name):
    xc, one = functional(name), jnp.ones(3)
    fields = (one, one, one)[: count(name, 1)]
    np.testing.assert_array_equal(xc.energy(*fields), xc.energy(one, one, one))
    assert xc.needs_gradient or xc.energy(one).shape == (3,)


@pytest.mark.parametrize("name", ["pbe", "pbe0", *B88])
def test_gradient_lowers_the_energy(name):
    rho, sigma = density_and_sigma(np.array([1e-3, 0.1, 10.0]), np.array([5.0]))
    energy = functional(name).energy
    assert np.all(
        energy(jnp.asarray(rho), jnp.asarray(sigma)) < energy(jnp.asarray(rho), jnp.zeros(rho.shape))
    )


def test_names_ignore_case():
    assert functional("B3LYP5") is functional("b3lyp5")
    assert [functional(name).name for name in NAMES] == NAMES


def test_unknown_name_lists_the_known_ones_in_one_line():
    known = "svwn, pbe, b3lyp5, b3lypg, blyp, pbe0, r2scan, wb97x"
    with pytest.raises(ValueError, match=rf"unknown functional 'tpss'.*{known}") as error:
        functional("tpss")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["b3lyp", "B3LYP"])
def test_plain_b3lyp_is_refused_with_the_reason(name):
    with pytest.raises(ValueError, match=r"PySCF 2\.3.*b3lyp5.*VWN5.*b3lypg.*VWN-RPA"):
        functional(name)
