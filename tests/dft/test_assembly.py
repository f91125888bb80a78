"""The Kohn–Sham problem as a function of positions, against the one that libcint makes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import COARSE
from molecules import HELONIUM, HYDROGEN_IODIDE, METHANOL, WATER

from jaxphys import dft

FIELDS = ("overlap", "core", "dipole_integrals", "guess_density", "nuclear_repulsion", "positions")


def setup_of(molecule, **settings):
    numbers, _, charge = molecule
    return dft.setup(numbers, charge=charge, **(COARSE | {"xc": "b3lyp5"} | settings))


assemble_all = jax.jit(jax.vmap(dft.assemble))


@pytest.fixture(scope="module")
def stacked():
    """Methanol and water in one stack, the setups and what they give."""
    setups = dft.stack_setups([setup_of(METHANOL), setup_of(WATER)])
    positions = np.zeros((2, setups.numbers.shape[-1], 3))
    for i, (_, own, _) in enumerate((METHANOL, WATER)):
        positions[i, : len(own)] = own
    return setups, positions, assemble_all(setups, positions)


@pytest.mark.parametrize(("index", "molecule"), [(0, METHANOL), (1, WATER)])
def test_arrays_are_those_of_libcint_and_padding_is_inert(small, stacked, index, molecule):
    expected = small(molecule, xc="b3lyp5")
    found = jax.tree.map(lambda leaf: leaf[index], stacked[2])
    for name in FIELDS:
        reference = np.asarray(getattr(expected, name))
        own = tuple(slice(size) for size in reference.shape)
        np.testing.assert_allclose(getattr(found, name)[own], reference, atol=1e-11, err_msg=name)
    n, density = len(expected.overlap), jnp.asarray(expected.guess_density)
    energy, fock = jax.jit(dft.energy_and_fock)(expected, density)
    padded = jnp.zeros_like(found.core).at[:n, :n].set(density)
    again, other = jax.jit(dft.energy_and_fock)(found, padded)
    np.testing.assert_allclose(again, energy, atol=1e-10)
    np.testing.assert_allclose(other[:n, :n], fock, atol=1e-10)


@pytest.mark.slow
def test_integrals_in_jax_are_a_keyword_of_kohn_sham(small, stacked):
    found = small(WATER, xc="b3lyp5", integrals="jax")
    expected = small(WATER, xc="b3lyp5", integrals="libcint")
    assert dft.sizes(found) == dft.sizes(expected)
    energies = [jax.jit(dft.scf)(system).energy for system in (found, expected)]
    np.testing.assert_allclose(energies[0], energies[1], atol=1e-10)
    with pytest.raises(ValueError, match="padded and coarse_level are for integrals='libcint'"):
        small(WATER, integrals="jax", padded=True)


def test_forces_of_a_batch_are_those_of_libcint(small, stacked):
    setups, positions, systems = stacked
    solutions = jax.jit(jax.vmap(dft.scf))(systems)
    assert solutions.converged.all()
    found = jax.jit(jax.vmap(dft.assembled_forces))(setups, positions, solutions)
    for index, (numbers, own, _) in enumerate((METHANOL, WATER)):
        alone = jax.tree.map(np.asarray, jax.jit(dft.scf)(small((numbers, own, 0), xc="b3lyp5")))
        expected = dft.forces(numbers, own, alone, xc="b3lyp5", **COARSE)
        np.testing.assert_allclose(found[index, : len(numbers)], expected, atol=1e-6)
        np.testing.assert_array_equal(found[index, len(numbers) :], 0.0)


def test_a_new_geometry_compiles_nothing(stacked, compilations):
    setups, positions, _ = stacked
    with compilations() as compiled:
        jax.block_until_ready(assemble_all(setups, positions * 1.01))
    assert compiled == []


@pytest.mark.parametrize("basis", ["6-31g", pytest.param("def2-svp", marks=pytest.mark.slow)])
def test_dipole_derivative_by_a_position(basis):
    _, positions, _ = HELONIUM
    setup = setup_of(HELONIUM, xc="pbe", basis=basis)

    def moment(shift):
        moved = jnp.asarray(positions).at[1, 2].add(shift)
        system = dft.assemble(setup, moved)
        return dft.dipole(system, dft.scf(system, tolerance=1e-11).density)[2]

    found = jax.jit(jax.grad(moment))(0.0)
    at = jax.jit(moment)
    step = 2e-3
    expected = (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_what_integrals_in_jax_cannot_do():
    with pytest.raises(ValueError, match="has core potentials for this molecule"):
        dft.setup(HYDROGEN_IODIDE[0], basis="def2-svp")
    with pytest.raises(ValueError, match="wb97x is range-separated"):
        dft.setup(WATER[0], xc="wb97x")
