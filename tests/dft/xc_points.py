"""Points, and the derivatives of a functional there by JAX and by libxc, in one order.

Closed shells have the variables rho, sigma, tau, open ones rho up and down, sigma up-up, up-down and
down-down, tau up and down; a functional takes the first so many. Derivatives come as an array (rows, points):
the energy per volume, the first derivatives, and the upper triangle of the second ones.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from pyscf.dft import libxc

from jaxphys.dft.functionals import functional

CLOSED = ("rho", "sigma", "tau")
OPEN = ("rho_a", "rho_b", "sigma_aa", "sigma_ab", "sigma_bb", "tau_a", "tau_b")
PADDED = 2048  # points that closed shells are computed for, so that each functional is compiled once
COUNTS = {1: (1, 2, 3), 2: (2, 5, 7)}  # of variables, by the number of spins: density, gradient, tau


def count(name, spins):
    """Number of variables of a functional."""
    xc = functional(name)
    return COUNTS[spins][xc.needs_gradient + xc.needs_kinetic]


def labels(name, spins):
    """What the rows are."""
    names = (CLOSED, OPEN)[spins - 1][: count(name, spins)]
    pairs = zip(*np.triu_indices(len(names)), strict=True)
    return ["energy", *names, *(f"{names[i]} {names[j]}" for i, j in pairs)]


@functools.cache
def energy_of_vector(name, spins):
    """The energy density at one point, of the vector of its variables."""
    xc, n = functional(name), count(name, spins)
    if spins == 1:
        return lambda v: xc.energy(*v)
    parts = [slice(0, 2), slice(2, 5), slice(5, 7)][: 1 + COUNTS[2].index(n)]
    return lambda v: xc.polarised_energy(*(v[part] for part in parts))


@functools.cache
def value_and_gradient(name, spins):
    """Of vectors of variables (points, v), as they are compiled for use."""
    return jax.jit(jax.vmap(jax.value_and_grad(energy_of_vector(name, spins))))


@functools.cache
def hessian(name, spins):
    """Of vectors of variables (points, v); what takes time is compiling it."""
    second = jax.vmap(jax.hessian(energy_of_vector(name, spins)))
    return jax.jit(second, compiler_options={"xla_backend_optimization_level": 0})


def derivatives(name, spins, variables):
    """All of them at variables (v, points), by automatic differentiation."""
    n, points = count(name, spins), variables.shape[1]
    padding = max(PADDED - points, 0) if spins == 1 else 0
    vectors = jnp.asarray(np.pad(variables[:n], [(0, 0), (0, padding)], mode="edge").T)
    energy, gradient = value_and_gradient(name, spins)(vectors)
    i, j = np.triu_indices(n)
    rows = np.concatenate([energy[None], gradient.T, np.asarray(hessian(name, spins)(vectors))[:, i, j].T])
    return rows[:, :points]


def libxc_derivatives(code, rho, gradient, tau, n):
    """The same of libxc in the first n variables; those that it does not know have zero derivatives.

    rho: (spins, points); gradient: (spins, 3, points); tau: (spins, points).
    """
    spins = len(rho)
    kind = 0 if libxc.is_lda(code) else 1 if libxc.is_gga(code) else 2
    has = COUNTS[spins][kind]
    fields = np.concatenate([rho[:, None], gradient, tau[:, None]], axis=1)[:, : (1, 4, 5)[kind]]
    rows = libxc.eval_xc1(code, fields if spins == 2 else fields[0], spin=spins - 1, deriv=2)
    first, second = np.zeros((n, rho.shape[1])), np.zeros((n, n, rho.shape[1]))
    first[:has] = rows[1 : 1 + has]
    second[np.triu_indices(has)] = rows[1 + has :]
    return np.concatenate([rows[:1] * rho.sum(0), first, second[np.triu_indices(n)]])


def products(gradient):
    """sigma of each pair of spins, (1 or 3, points), of gradients (spins, 3, points)."""
    pairs = [(0, 0)] if len(gradient) == 1 else [(0, 0), (0, 1), (1, 1)]
    return np.stack([np.sum(gradient[i] * gradient[j], axis=0) for i, j in pairs])


def gradient_size(rho, s):
    """|∇rho| of the reduced gradient s."""
    return s * 2 * (3 * np.pi**2) ** (1 / 3) * rho ** (4 / 3)


def kinetic(rho, sigma, alpha):
    """tau of one orbital, its least value, and α times that of the uniform gas."""
    return sigma / (8 * rho) + alpha * 0.3 * (3 * np.pi**2) ** (2 / 3) * rho ** (5 / 3)
