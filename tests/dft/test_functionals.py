"""Functionals against libxc, closed forms and finite differences, and where derivatives tend to break."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pyscf.dft import libxc

from jaxphys.dft.functionals import DENSITY_THRESHOLD, FUNCTIONALS, functional

NAMES = sorted(FUNCTIONALS)
GRADIENT_NAMES = [name for name in NAMES if FUNCTIONALS[name].needs_gradient]
QUANTITIES = ["energy", "vrho", "vsigma", "v2rho2", "v2rhosigma", "v2sigma2"]
RHO = 10.0 ** np.arange(-8.0, 4.5, 0.5)
S = np.array([0.0, 1e-3, 1e-2, 0.05, 0.2, 0.5, 0.9, 1.5, 3.0, 5.0, 10.0, 25.0, 50.0])
# libxc's exchange alone: the scale of rounding where correlation cancels it, as in PBE's vsigma at s = 0
EXCHANGE = {"svwn": "lda,", "pbe": "pbe,", "b3lyp5": "b88,", "b3lypg": "b88,"}


def density_and_sigma(rho, s):
    """All pairs of densities (1/Bohr³) and reduced gradients s, as rho and sigma."""
    rho, s = (a.ravel() for a in np.meshgrid(rho, s))
    return rho, (s * 2 * (3 * np.pi**2) ** (1 / 3) * rho ** (4 / 3)) ** 2


def with_derivatives(name):
    """A function of rho and sigma that gives the six quantities, point by point, with nested `jax.grad`."""
    energy = functional(name).energy

    def point(rho, sigma):
        first = jax.grad(energy, argnums=(0, 1))
        row_rho = jax.grad(lambda *a: first(*a)[0], argnums=(0, 1))(rho, sigma)
        row_sigma = jax.grad(lambda *a: first(*a)[1], argnums=1)(rho, sigma)
        return energy(rho, sigma), *first(rho, sigma), *row_rho, row_sigma

    return lambda rho, sigma: jax.jit(jax.vmap(point))(jnp.asarray(rho), jnp.asarray(sigma))


def libxc_quantities(code, rho, sigma):
    """The same six from libxc; without a gradient, the last ones are zero."""
    zero = np.zeros_like(rho)
    if libxc.is_gga(code):
        energy, first, second, _ = libxc.eval_xc(code, np.array([rho, np.sqrt(sigma), zero, zero]), deriv=2)
        return energy * rho, *first[:2], *second[:3]
    energy, first, second, _ = libxc.eval_xc(code, rho, deriv=2)
    return energy * rho, first[0], zero, second[0], zero, zero


@pytest.mark.parametrize("name", NAMES)
def test_value_and_two_derivatives_agree_with_libxc(name):
    rho, sigma = density_and_sigma(RHO, S)
    ours = with_derivatives(name)(rho, sigma)
    theirs = libxc_quantities(functional(name).pyscf_name, rho, sigma)
    exchange = libxc_quantities(EXCHANGE[name], rho, sigma)
    for quantity, a, b, x in zip(QUANTITIES, ours, theirs, exchange, strict=True):
        scale = np.maximum(abs(b), abs(x))
        # libxc's B88 loses all digits of this one at zero gradient; the closed form below checks it
        lost = (sigma == 0) & (name.startswith("b3lyp") and quantity == "v2sigma2")
        worst = np.max((abs(a - b) - 1e-10 * scale)[~lost])
        assert worst <= 0, f"{quantity} is {worst} beyond the tolerance"


@pytest.mark.parametrize("name", NAMES)
def test_pyscf_agrees_on_exact_exchange_and_kind(name):
    xc = functional(name)
    assert libxc.hybrid_coeff(xc.pyscf_name) == pytest.approx(xc.exact_exchange, abs=1e-15)
    assert libxc.is_gga(xc.pyscf_name) == xc.needs_gradient


def test_svwn_exchange_is_that_of_the_uniform_gas():
    rho = RHO
    correlation = libxc.eval_xc(",vwn", rho)[0] * rho
    slater = -0.75 * (3 / np.pi) ** (1 / 3) * rho ** (4 / 3)
    np.testing.assert_allclose(functional("svwn").energy(jnp.asarray(rho)) - correlation, slater, rtol=1e-12)


def test_pbe_without_gradient_is_slater_and_pw92():
    rho = RHO
    rs = (3 / (4 * np.pi * rho)) ** (1 / 3)
    series = 7.5957 * rs**0.5 + 3.5876 * rs + 1.6382 * rs**1.5 + 0.49294 * rs**2
    pw92 = -2 * 0.0310907 * (1 + 0.2137 * rs) * np.log1p(1 / (2 * 0.0310907 * series))
    expected = -0.75 * (3 / np.pi) ** (1 / 3) * rho ** (4 / 3) + rho * pw92
    ours = functional("pbe").energy(jnp.asarray(rho), jnp.zeros(rho.shape))
    np.testing.assert_allclose(ours, expected, rtol=1e-13)


@pytest.mark.parametrize("name", ["b3lyp5", "b3lypg"])
def test_b88_curvature_at_vanishing_gradient(name):
    # B88 is rho ε_x (1 + c x² (1 − 6 β x² + …)) with c = β / C, and LYP is linear in sigma
    beta, spin_slater = 0.0042, 0.375 * (3 / np.pi) ** (1 / 3) * 4 ** (2 / 3)
    rho, sigma = density_and_sigma(RHO, [0.0, 1e-12, 1e-6])
    slater = -0.75 * (3 / np.pi) ** (1 / 3) * rho ** (4 / 3)
    x2_per_sigma = 2 ** (2 / 3) * rho ** (-8 / 3)
    expected = 0.72 * slater * beta / spin_slater * (-12 * beta) * x2_per_sigma**2
    np.testing.assert_allclose(with_derivatives(name)(rho, sigma)[5], expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["b3lyp5", "b3lypg"])
def test_b88_series_meets_the_formula(name):
    seam = 1e-6 / 2 ** (2 / 3)  # sigma where the series takes over, at a density of one
    for quantity in with_derivatives(name)(np.ones(2), seam * np.array([1 - 1e-9, 1 + 1e-9])):
        np.testing.assert_allclose(quantity[0], quantity[1], rtol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_agree_with_finite_differences(name):
    rho, sigma = density_and_sigma(np.array([1e-3, 0.03, 1.0, 20.0]), np.array([0.3, 1.0, 4.0]))
    derivatives, step = with_derivatives(name), 1e-4
    _, vrho, vsigma, v2rho2, v2rhosigma, v2sigma2 = derivatives(rho, sigma)

    def slopes(d_rho, d_sigma):
        up, down = derivatives(rho + d_rho, sigma + d_sigma), derivatives(rho - d_rho, sigma - d_sigma)
        return [(u - d) / (2 * (d_rho + d_sigma)) for u, d in zip(up[:3], down[:3], strict=True)]

    along_rho, along_sigma = slopes(step * rho, 0.0), slopes(0.0, step * sigma)
    np.testing.assert_allclose(along_rho, [vrho, v2rho2, v2rhosigma], rtol=1e-6)
    np.testing.assert_allclose(along_sigma, [vsigma, v2rhosigma, v2sigma2], rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_finite_at_every_corner(name):
    rho = [0.0, -1e-30, -1e-10, 1e-300, 1e-16, 1.01e-15, 1e-14, 1e-12, 1e-8, 1e-4, 1.0, 1e4, 1e8]
    sigma = [0.0, -1e-20, 5e-324, 1e-300, 1e-100, 1e-40, 1e-20, 1e-10, 1e-6, 1.0, 1e4, 1e12, 1e30, 1e100]
    rho, sigma = (a.ravel() for a in np.meshgrid(rho, sigma))
    for quantity, value in zip(QUANTITIES, with_derivatives(name)(rho, sigma), strict=True):
        assert np.all(np.isfinite(value)), quantity
        assert np.all(value[rho <= DENSITY_THRESHOLD] == 0), quantity


@pytest.mark.parametrize("name", NAMES)
def test_nan_density_stays_visible(name):
    nan = jnp.array([jnp.nan, 1.0])
    assert np.isnan(functional(name).energy(nan, jnp.ones(2))).tolist() == [True, False]


@pytest.mark.parametrize("name", NAMES)
def test_elementwise_in_any_shape(name):
    rho, sigma = (jnp.asarray(a) for a in density_and_sigma(RHO[:6], S[:4]))
    energy = jax.jit(functional(name).energy)
    flat = energy(rho, sigma)
    np.testing.assert_allclose(
        energy(rho.reshape(2, 12), sigma.reshape(2, 12)), flat.reshape(2, 12), rtol=1e-14
    )
    np.testing.assert_allclose(energy(rho[3], sigma[3]), flat[3], rtol=1e-14)


@pytest.mark.parametrize("name", GRADIENT_NAMES)
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
    with pytest.raises(ValueError, match=r"unknown functional 'pbe0'.*svwn, pbe, b3lyp5, b3lypg") as error:
        functional("pbe0")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["b3lyp", "B3LYP"])
def test_plain_b3lyp_is_refused_with_the_reason(name):
    with pytest.raises(ValueError, match=r"PySCF 2\.3.*b3lyp5.*VWN5.*b3lypg.*VWN-RPA"):
        functional(name)
