"""Building, padding and stacking systems, and what bad input says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from molecules import AMMONIA, FORMATE, HELIUM, HYDROGEN, HYDROGEN_IODIDE, METHANOL, WATER, from_g2
from pyscf import gto

from jaxphys import dft
from jaxphys.dft.basis import shell_momenta

NUMBERS, POSITIONS, _ = WATER


def everything(system):
    """Every public function of a system, at a density and a Fock matrix of its own."""
    density = jnp.asarray(system.guess_density)
    energy, fock = dft.energy_and_fock(system, density)
    solution = dft.scf(system)
    energies, coefficients = dft.orbitals(system, fock)
    return {
        "energy": dft.energy(system, density),
        "energy_and_fock": energy,
        "fock": fock,
        "only_fock": dft.fock(system, density),
        "guess_fock": dft.guess_fock(system),
        "density": dft.density(system, fock),
        "dipole": dft.dipole(system, density),
        "orbital_energies": energies,
        # single orbitals have free signs, and free rotations where degenerate
        "coefficients": (coefficients * jnp.cos(energies)) @ coefficients.T,
        "scf_energy": solution.energy,
        "scf_fock": solution.fock,
        "scf_density": solution.density,
        "scf_orbital_energies": solution.orbital_energies,
        "scf_converged": solution.converged,
        "scf_cycles": solution.cycles,
    }


def without_padding(array, padded_size, size):
    """The leading corner of an array, whose remainder must be zero."""
    corner = np.asarray(array)
    for axis, length in enumerate(corner.shape):
        if length == padded_size:
            corner, rest = np.split(corner, [size], axis=axis)
            assert np.max(np.abs(rest), initial=0.0) < 1e-12
    return corner


@pytest.mark.parametrize(("xc", "pair"), [("svwn", (HELIUM, WATER)), ("b3lyp5", (WATER, FORMATE))])
def test_padding_is_inert_in_every_function(small, xc, pair):
    systems = [small(molecule, xc=xc) for molecule in pair]
    largest = dft.sizes(systems[1])
    to = dft.Sizes(
        7, largest.orbitals + 5, largest.auxiliaries + 64, largest.blocks + 1, 0, largest.occupied + 3
    )
    batched = jax.jit(jax.vmap(everything))(dft.stack(systems, to=to))
    for i, system in enumerate(systems):
        n = len(system.overlap)
        for name, alone in jax.jit(everything)(system).items():
            found = np.asarray(batched[name][i])
            if "orbital_energies" in name:
                assert np.all(found[n:] > found[n - 1])
                found = found[:n]
            else:
                found = without_padding(found, to.orbitals, n)
            np.testing.assert_allclose(found, alone, atol=1e-10, err_msg=name)


def test_stack_pads_to_the_bucket_of_the_largest(small):
    systems = [small(molecule, xc="pbe") for molecule in (WATER, METHANOL)]
    stacked = dft.stack(systems)
    water, methanol = map(dft.sizes, systems)
    assert dft.sizes(stacked) == (water | methanol).bucket()
    assert (water | methanol) == dft.Sizes(6, 14, methanol.auxiliaries, methanol.blocks, 0, 9)
    assert dft.sizes(stacked) == dft.Sizes(8, 16, 192, methanol.blocks, 0, 12)
    for i, system in enumerate(systems):
        padded = dft.pad(system, dft.sizes(stacked))
        jax.tree.map(np.testing.assert_array_equal, padded, jax.tree.map(lambda leaf, i=i: leaf[i], stacked))
        jax.tree.map(np.testing.assert_array_equal, dft.pad(padded, dft.sizes(padded)), padded)


def test_systems_that_do_not_stack(small):
    water, methanol = small(WATER, xc="pbe"), small(METHANOL, xc="pbe")
    with pytest.raises(ValueError, match="at least one system, got none"):
        dft.stack([])
    with pytest.raises(ValueError, match="must share the functional, got pbe, svwn"):
        dft.stack([water, small(WATER, xc="svwn")])
    with pytest.raises(ValueError, match=r"cannot pad Sizes\(atoms=6, .* into smaller sizes Sizes\(atoms=3"):
        dft.pad(methanol, dft.sizes(water))


def test_a_second_molecule_of_the_same_bucket_compiles_nothing(small, compilations):
    cyanide, isocyanide = from_g2("HCN"), (np.array([1, 7, 6]), from_g2("HCN")[1][::-1], 0)
    first, second, larger = (dft.stack([small(m, xc="pbe")]) for m in (cyanide, isocyanide, METHANOL))
    assert dft.sizes(first) == dft.sizes(second) != dft.sizes(larger)
    function = jax.jit(jax.vmap(everything))
    with compilations() as events:
        jax.block_until_ready(function(first))
    assert len(events) == 1
    with compilations() as events:
        jax.block_until_ready(function(second))
    assert not events
    with compilations() as events:
        jax.block_until_ready(function(larger))
    assert len(events) == 1


def test_arrays_of_a_system(small):
    system = small(AMMONIA, basis="def2-svp")
    n = len(system.overlap)
    np.testing.assert_allclose(system.positions * 0.52917721092, AMMONIA[1], rtol=1e-12)
    assert system.numbers.tolist() == [7, 1, 1, 1] and system.xc == "b3lyp5"
    assert np.sum(system.occupation) == 10 and system.occupation[:5].tolist() == [2.0] * 5
    np.testing.assert_allclose(
        system.orthonormaliser.T @ system.overlap @ system.orthonormaliser, np.eye(n), atol=1e-12
    )
    for name in ("overlap", "core", "guess_density"):
        np.testing.assert_allclose(getattr(system, name), getattr(system, name).T, atol=1e-12)
    distances = np.linalg.norm(system.positions[1:] - system.positions[0], axis=1)
    between = np.linalg.norm(system.positions[1] - system.positions[2])
    np.testing.assert_allclose(system.nuclear_repulsion, 7 * np.sum(1 / distances) + 3 / between, rtol=1e-12)


def test_core_potential_of_the_basis_is_used(small):
    system = small(HYDROGEN_IODIDE, basis="def2-svp")
    assert system.nuclear_charges.tolist() == [1.0, 25.0] and np.sum(system.occupation) == 26
    assert small(HYDROGEN_IODIDE, basis="sto-3g").nuclear_charges.tolist() == [1.0, 53.0]


@pytest.mark.parametrize(
    ("number", "basis"), [(1, "def2-svp"), (8, "cc-pvdz"), (16, "6-31g*"), (53, "def2-svp")]
)
def test_shells_are_in_the_order_of_the_orbitals(number, basis):
    labels = gto.M(atom=[(number, (0, 0, 0))], basis=basis, ecp=basis, spin=number % 2).ao_labels(fmt=False)
    # labels are like (0, "O", "2p", "x"); each shell of momentum l has 2 l + 1 of them
    expected = ["spdf".index(shell[-1]) for _, _, shell, _ in labels]
    found = [l for l in shell_momenta(number, basis) for _ in range(2 * l + 1)]
    assert found == expected
    assert shell_momenta(1, "def2-svp") == (0, 0, 1)


def test_numbers_and_names_are_taken_in_any_usual_form():
    plain = dft.kohn_sham([2], [[0, 0, 0]], basis="sto-3g", xc="pbe", auxbasis="weigend", grid_level=0)
    other = dft.kohn_sham(
        np.array([2], np.uint8),
        np.zeros((1, 3), np.float32),
        basis="STO 3G",
        xc="PBE",
        auxbasis="Weigend",
        grid_level=0,
    )
    jax.tree.map(np.testing.assert_array_equal, plain, other)


def test_translation_moves_the_dipole_of_an_ion_and_nothing_else(small):
    numbers, positions, charge = FORMATE
    shift = np.array([0.7, -1.1, 2.3])
    here, there = (small((numbers, p, charge), xc="pbe") for p in (positions, positions + shift))
    density = jnp.asarray(here.guess_density)
    np.testing.assert_allclose(there.guess_density, density, atol=1e-9)
    function = jax.jit(dft.energy_and_fock)
    for a, b in zip(function(here, density), function(there, density), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)
    electrons = jnp.sum(density * here.overlap)
    moved = dft.dipole(there, density) - dft.dipole(here, density)
    np.testing.assert_allclose(moved, (23 - electrons) * shift / 0.52917721092, atol=1e-9)


BAD_INPUT = {
    "no atoms": (dict(numbers=[], positions=np.zeros((0, 3))), "at least one atom, got none"),
    "number of atoms": (dict(numbers=[8, 1]), r"positions of 2 atoms must have shape \(2, 3\), got \(3, 3\)"),
    "element": (dict(numbers=[8, 1, 119]), "atom 2 has atomic number 119; elements have 1 to 118"),
    "fractions": (dict(numbers=[8.0, 1.0, 1.0]), "numbers must be integers, got float64"),
    "odd": (dict(charge=1), r"even, positive number of electrons, but .* has 9 \(charge 1\).* charge=2"),
    "no electrons": (dict(numbers=[1, 1, 1], charge=3), r"has 0 \(charge 3\).* charge=1"),
    "too many electrons": (
        dict(numbers=[2], positions=[[0, 0, 0]], charge=-2),
        "4 electrons do not fit into the 1 independent orbitals of basis 'sto-3g'",
    ),
    "infinite": (dict(positions=np.diag([0, np.inf, 1])), r"finite, got \[0.0, inf, 0.0\] for atom 1"),
    "coinciding": (dict(positions=np.diag([0, 0, 1])), "atoms 0 and 1 are 0 Å apart"),
    "basis": (
        dict(basis="sto-4g5"),
        "basis 'sto-4g5' is not in PySCF for H, O; name one that has these elem",
    ),
    "element of the basis": (
        dict(numbers=[53, 1], positions=HYDROGEN[1], basis="6-31g"),
        "basis '6-31g' is not in PySCF for I; name one that has this element, e.g. 'def2-svp'",
    ),
    "lost core potential": (
        dict(basis="bfd-vdz"),
        "basis 'bfd-vdz' has no core orbitals for O, and PySCF no core potential of that name; name a basis",
    ),
    "auxiliary basis": (dict(auxbasis="weird"), "auxiliary basis 'weird' is not in PySCF for H, O; leave"),
    "functional": (dict(xc="lda"), "unknown functional 'lda'; known are svwn, pbe, b3lyp5, b3lypg"),
    "b3lyp": (dict(xc="B3LYP"), "'b3lyp' is ambiguous.*'b3lyp5'.*'b3lypg'"),
    "grid level": (dict(grid_level=10), "grid_level must be an integer from 0 to 9, got 10"),
    "integrals": (dict(integrals="gpu"), "integrals must be 'auto', 'jax' or 'libcint', got 'gpu'"),
}


@pytest.mark.filterwarnings("error")  # advice of PySCF's would stand beside the error
@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_one_clear_line(name):
    changed, message = BAD_INPUT[name]
    given = {"numbers": NUMBERS, "positions": POSITIONS, "basis": "sto-3g"} | changed
    with pytest.raises(ValueError, match=message) as error:
        dft.kohn_sham(given.pop("numbers"), given.pop("positions"), **given)
    assert "\n" not in str(error.value)


def test_functions_refuse_stacks_and_matrices_of_other_shapes(small):
    system = small(HYDROGEN)
    right, wrong = jnp.eye(2), jnp.eye(3)
    for function in (dft.energy, dft.fock, dft.energy_and_fock, dft.dipole, dft.density, dft.orbitals):
        with pytest.raises(ValueError, match=r"must have the shape \(2, 2\) of its system, got \(3, 3\)"):
            function(system, wrong)
        with pytest.raises(
            ValueError, match=r"expected one system, got a stack of 2: map over it with jax\.vmap"
        ):
            function(dft.stack([system, system]), right)


@pytest.mark.parametrize("function", [dft.energy, dft.fock, dft.dipole, dft.density, dft.orbitals])
def test_single_precision_mode_is_refused(small, function):
    system, matrix = small(HYDROGEN), jnp.eye(2)
    with jax.enable_x64(False):
        with pytest.raises(
            RuntimeError, match=r"needs float64: call jax\.config\.update\('jax_enable_x64', Tr"
        ):
            function(system, matrix)
        with pytest.raises(RuntimeError, match="needs float64"):
            small(HYDROGEN)
