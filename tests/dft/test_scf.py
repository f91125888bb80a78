"""The self-consistent field: convergence of one molecule and of many, guesses, and honest failure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from molecules import FORMATE, HELIUM, HYDRIDE, HYDROGEN, METHANOL

from jaxphys import dft


def gradient_norm(system, fock, density):
    """Largest element of Xᵀ(FPS − SPF)X, Ha."""
    product = fock @ density @ system.overlap
    transformation = system.orthonormaliser
    return np.max(np.abs(transformation.T @ (product - product.T) @ transformation))


@pytest.fixture(scope="module")
def solutions(batch):
    return jax.jit(jax.vmap(dft.scf))(batch[0])


def test_each_molecule_of_a_batch_converges_on_its_own(systems, batch, solutions):
    assert np.all(solutions.converged)
    assert len(set(solutions.cycles.tolist())) >= 3  # they differ, and none waits for another
    assert np.max(solutions.cycles) <= 14  # without extrapolation it takes many more
    for i, system in enumerate(systems.values()):
        n = len(system.overlap)
        real = (slice(n), slice(n))
        fock, density = solutions.fock[i][real], solutions.density[i][real]
        assert gradient_norm(system, fock, density) <= 1e-8
        np.testing.assert_allclose(jnp.sum(density * system.overlap), np.sum(system.occupation), rtol=1e-12)
        np.testing.assert_allclose(density @ system.overlap @ density, 2 * density, atol=1e-11)
    energies, focks = jax.jit(jax.vmap(dft.energy_and_fock))(batch[0], solutions.density)
    np.testing.assert_allclose(focks, solutions.fock, atol=1e-11)
    np.testing.assert_allclose(energies, solutions.energy, rtol=1e-13)
    levels = jax.vmap(lambda *a: dft.orbitals(*a)[0])(batch[0], solutions.fock)
    np.testing.assert_allclose(solutions.orbital_energies, levels, atol=1e-11)


@pytest.fixture(scope="module")
def alone(systems):
    return jax.jit(dft.scf)(systems["methanol"])


@pytest.fixture(scope="module")
def from_fock():
    return jax.jit(lambda system, fock: dft.scf(system, guess=fock))


def test_a_molecule_alone_takes_the_same_cycles(alone, solutions):
    assert alone.cycles == solutions.cycles[3]
    np.testing.assert_allclose(alone.energy, solutions.energy[3], atol=1e-10)


def test_every_guess_leads_to_the_same_solution(systems, focks, alone, from_fock):
    system = systems["methanol"]
    from_core = jax.jit(lambda system: dft.scf(system, guess="core"))(system)
    from_solution = from_fock(system, alone.fock)
    from_guess = from_fock(system, focks["methanol"])
    for found in (from_core, from_solution, from_guess):
        assert found.converged
        np.testing.assert_allclose(found.energy, alone.energy, atol=1e-10)
        np.testing.assert_allclose(found.fock, alone.fock, atol=1e-6)
    assert from_solution.cycles <= 2 < alone.cycles < from_core.cycles
    # the superposed density costs one Fock build of its own
    assert from_guess.cycles == alone.cycles - 1


def test_too_few_cycles_are_reported(batch):
    stopped = jax.jit(jax.vmap(lambda system: dft.scf(system, max_cycles=2)))(batch[0])
    assert not np.any(stopped.converged)
    assert stopped.cycles.tolist() == [2, 2, 2, 2]
    assert np.all(np.isfinite(stopped.energy))
    # two Fock builds: of the superposed atoms, and of the density that follows
    expected = jax.jit(jax.vmap(dft.density))(*batch)
    np.testing.assert_allclose(stopped.density, expected, atol=1e-11)


def test_what_is_not_finite_does_not_pass_for_converged(systems, from_fock):
    system = systems["methanol"]
    broken = from_fock(system, jnp.full_like(system.core, jnp.nan))
    assert not broken.converged and np.isnan(broken.energy)


def test_tolerance_is_that_of_the_orbital_gradient(systems, solutions):
    system = systems["methanol"]
    loose = jax.jit(lambda system: dft.scf(system, tolerance=1e-3))(system)
    assert loose.converged and loose.cycles < solutions.cycles[3]
    assert 1e-8 < gradient_norm(system, loose.fock, loose.density) <= 1e-3
    # the energy's error is of second order
    assert 0 < loose.energy - solutions.energy[3] < 1e-5


@pytest.mark.parametrize("molecule", [HYDROGEN, HELIUM], ids=["hydrogen", "helium"])
def test_minimal_bases_in_closed_form(small, molecule):
    # by symmetry P = 2 c cᵀ with c ∝ (1, 1) or (1): no iteration changes it. The superposed atoms commute
    # with their Fock matrix as well, but hold another number of electrons
    system = small(molecule, xc="svwn")
    solution = jax.jit(dft.scf)(system)
    expected = 2 * np.ones_like(system.overlap) / np.sum(system.overlap)
    np.testing.assert_allclose(solution.density, expected, rtol=1e-12)
    assert np.sum(system.guess_density * system.overlap) < 1.999
    assert solution.converged and solution.cycles == 2
    np.testing.assert_allclose(solution.energy, jax.jit(dft.energy)(system, solution.density), rtol=1e-13)


def test_atoms_and_ions(small):
    molecules = [small(HELIUM, basis="def2-svp"), small(HYDRIDE, basis="def2-svp"), small(FORMATE)]
    helium, hydride, formate = range(3)
    found = jax.jit(jax.vmap(dft.scf))(dft.stack(molecules))
    assert np.all(found.converged)
    assert found.energy[helium] < -2.89 and found.energy[hydride] < -0.48
    levels = found.orbital_energies[formate]
    assert levels[11] < levels[12] - 0.1 and levels[0] < -10


def test_unknown_guess(systems):
    with pytest.raises(ValueError, match="guess must be 'minao', 'core' or a Fock matrix, got 'atoms'"):
        dft.scf(systems["methane"], guess="atoms")


def test_guess_of_another_molecule(systems):
    with pytest.raises(ValueError, match=r"fock must have the shape \(9, 9\) of its system, got \(8, 8\)"):
        dft.scf(systems["methane"], guess=jnp.eye(8))


def test_the_coarse_grid_leads_to_the_same_end(small):
    numbers, positions, _ = METHANOL
    settings = {"xc": "b3lyp5", "grid_level": 2}
    fine = jax.jit(dft.scf)(small((numbers, positions, 0), **settings))
    both = jax.jit(dft.scf)(small((numbers, positions, 0), **settings, coarse_level=0, padded=True))
    n = len(fine.fock)
    assert both.converged
    np.testing.assert_allclose(both.energy, fine.energy, atol=1e-10)
    np.testing.assert_allclose(both.fock[:n, :n], fine.fock, atol=1e-6)
    with pytest.raises(ValueError, match="coarse_level must be below grid_level 2 or None, got 3"):
        small((numbers, positions, 0), grid_level=2, coarse_level=3)


def test_where_extrapolation_fails_the_energy_goes_down(small):
    # iron oxide as a singlet: DIIS alone jumps between states for hundreds of cycles; the value is PySCF's
    oxide = (np.array([26, 8]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.6]]), 0)
    system = small(oxide, basis="def2-svp", auxbasis="def2-universal-jkfit", xc="b3lyp5", grid_level=1)
    found = jax.jit(dft.scf)(system)
    assert found.converged and 25 < found.cycles < 100
    np.testing.assert_allclose(found.energy, -1338.43058, atol=1e-5)
