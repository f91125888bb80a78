"""Integrals in JAX against libcint, padding, derivatives and batches.

Compilation takes most of the time, and it grows with the number of angular momenta. So some tests leave out
shells of a basis: the functions of missing shells must then be zero.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pyscf import df, gto

from jaxphys.dft import gaussian_integrals as integrals
from jaxphys.dft.shells import count_shells, make_shells, pad_shells

NUMBERS = [6, 8, 16, 1]
POSITIONS = np.array([[0.0, 0.0, 0.0], [0.1, 1.2, 0.1], [-0.2, -0.9, 1.4], [0.9, -0.3, -0.5]])  # Å


def build(numbers, positions, basis, auxbasis):
    """A PySCF molecule and its auxiliary one."""
    atoms = list(zip(numbers, positions, strict=True))
    mole = gto.M(atom=atoms, basis=basis, spin=None, verbose=0)
    return mole, df.make_auxmol(mole, auxbasis)


def pick(mole, momenta):
    """The shells of some angular momenta, and which of the molecule's functions they are."""
    basis = tuple(shells for shells in make_shells(mole) if shells.l in momenta)
    kept = np.concatenate(
        [np.arange(s.first[i], s.first[i] + 2 * s.l + 1) for s in basis for i in range(len(s.first))]
    )
    return basis, np.isin(np.arange(mole.nao), kept)


def reference(mole, auxiliary, orbitals=True, auxiliaries=True):
    """All integrals by libcint, zero where one of the functions is not wanted."""
    orbitals = np.broadcast_to(orbitals, mole.nao)
    auxiliaries = np.broadcast_to(auxiliaries, auxiliary.nao)
    pairs = np.outer(orbitals, orbitals)
    packed = pairs[np.tril_indices(mole.nao)]
    return {
        "overlap": mole.intor("int1e_ovlp_sph") * pairs,
        "kinetic": mole.intor("int1e_kin_sph") * pairs,
        "dipole": mole.intor("int1e_r_sph") * pairs,
        "attraction": mole.intor("int1e_nuc_sph") * pairs,
        "three": df.incore.aux_e2(mole, auxiliary, "int3c2e_sph", aosym="s2ij").T
        * np.outer(auxiliaries, packed),
        "two": auxiliary.intor("int2c2e_sph") * np.outer(auxiliaries, auxiliaries),
    }


def all_integrals(basis, auxbasis, positions, charges, n, m):
    overlap, kinetic, dipole = integrals.overlap_kinetic_dipole(basis, positions, n)
    return {
        "overlap": overlap,
        "kinetic": kinetic,
        "dipole": dipole,
        "attraction": integrals.nuclear_attraction(basis, positions, charges, n),
        "three": integrals.three_centre(basis, auxbasis, positions, n, m),
        "two": integrals.two_centre(auxbasis, positions, m),
    }


compiled = jax.jit(all_integrals, static_argnums=(4, 5))


def inputs(mole, auxiliary, momenta=range(4), auxiliary_momenta=range(5)):
    """Arguments of `all_integrals`, and the reference."""
    basis, orbitals = pick(mole, momenta)
    auxbasis, auxiliaries = pick(auxiliary, auxiliary_momenta)
    charges = mole.atom_charges().astype(float)
    arguments = basis, auxbasis, mole.atom_coords(), charges, mole.nao, auxiliary.nao
    return arguments, reference(mole, auxiliary, orbitals, auxiliaries)


def compare(result, expected, tolerance=1e-10):
    for name, array in expected.items():
        np.testing.assert_allclose(result[name], array, rtol=0, atol=tolerance, err_msg=name)


def test_svp(compilations):
    """All classes of def2-SVP; another geometry compiles nothing."""
    arguments, expected = inputs(*build(NUMBERS, POSITIONS, "def2-svp", "def2-universal-jkfit"))
    compare(compiled(*arguments), expected)
    moved = POSITIONS + np.random.default_rng(0).normal(size=POSITIONS.shape)
    arguments, expected = inputs(*build(NUMBERS, moved, "def2-svp", "def2-universal-jkfit"))
    with compilations() as seen:
        result = compiled(*arguments)
    assert not seen
    compare(result, expected)


def test_tzvp():
    """Orbitals up to f, and auxiliary functions g."""
    mole, auxiliary = build([8, 1], POSITIONS[:2], "def2-tzvp", "def2-universal-jkfit")
    compare(compiled(*(case := inputs(mole, auxiliary, (1, 3), (4,)))[0]), case[1])


def test_general_contractions():
    mole, auxiliary = build([6, 1], POSITIONS[:2], "cc-pvdz", "weigend")
    compare(compiled(*(case := inputs(mole, auxiliary, (0,), (0, 3)))[0]), case[1])


def pad(arguments, counts, auxiliary_counts, atoms, n, m):
    basis, auxbasis, positions, charges, *_ = arguments
    missing = atoms - len(charges)
    return (
        pad_shells(basis, counts, n),
        pad_shells(auxbasis, auxiliary_counts, m),
        np.pad(positions, [(0, missing), (0, 0)]),
        np.pad(charges, (0, missing)),
    )


def test_padding_and_batches():
    """Padding changes nothing, and neither does a batch."""
    settings = "def2-svp", "def2-universal-jkfit"
    molecules = [build([8, 1, 1], POSITIONS[1:], *settings), build([6, 1], POSITIONS[:2], *settings)]
    cases = [inputs(*molecule, (1,), (0, 2)) for molecule in molecules]
    counts, auxiliary_counts = (count_shells([arguments[i] for arguments, _ in cases]) for i in (0, 1))
    counts = {key: count + 1 for key, count in counts.items()} | {(1, 2): 2}
    n, m = (max(arguments[i] for arguments, _ in cases) + 3 for i in (4, 5))
    padded = [pad(arguments, counts, auxiliary_counts, 5, n, m) for arguments, _ in cases]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *padded)
    batch = jax.jit(jax.vmap(lambda *arguments: all_integrals(*arguments, n, m)))(*stacked)

    def embed(values):
        """Zeros for what is padded."""
        return {
            name: np.pad(array, [(0, b - a) for a, b in zip(array.shape, batch[name].shape[1:], strict=True)])
            for name, array in values.items()
        }

    first, second = ({name: array[i] for name, array in batch.items()} for i in range(2))
    compare(first, embed(compiled(*cases[0][0])), tolerance=1e-12)
    compare(second, embed(cases[1][1]))


def test_gradient():
    """Random combinations of integrals, against finite differences of libcint's."""
    mole, auxiliary = build(NUMBERS[:3], POSITIONS[:3], "def2-svp", "weigend")
    (basis, auxbasis, positions, charges, n, m), expected = inputs(mole, auxiliary, (0, 2), (3,))
    random = np.random.default_rng(0)
    mask = {name: array != 0 for name, array in expected.items()}
    weights = {name: random.normal(size=array.shape) * mask[name] for name, array in expected.items()}

    @jax.jit
    @jax.grad
    def gradient(positions):
        values = all_integrals(basis, auxbasis, positions, jnp.asarray(charges), n, m)
        return sum(jnp.vdot(weights[name], values[name]) for name in weights)

    def combination(positions):
        mole.set_geom_(positions, unit="Bohr")
        auxiliary.set_geom_(positions, unit="Bohr")
        values = reference(mole, auxiliary)
        return sum(np.vdot(weights[name], values[name]) for name in weights)

    step, stencil = 2e-3, {1: 0.75, 2: -0.15, 3: 1 / 60}
    differences = np.zeros_like(positions)
    for index in np.ndindex(positions.shape):
        unit = np.zeros_like(positions)
        unit[index] = step
        for k, weight in stencil.items():
            change = combination(positions + k * unit) - combination(positions - k * unit)
            differences[index] += weight / step * change
    size = np.abs(differences).max()
    np.testing.assert_allclose(gradient(jnp.asarray(positions)), differences, rtol=0, atol=1e-8 * size)


def test_highest_momenta():
    """Functions g and i; what is higher is refused."""
    mole, auxiliary = build(["O", "O"], POSITIONS[:2], {"O": [[4, [1.1, 1.0]]]}, {"O": [[6, [0.9, 1.0]]]})
    (basis, auxbasis, positions, _, n, m), expected = inputs(mole, auxiliary, (4,), (6,))
    three_centre = jax.jit(integrals.three_centre, static_argnums=(3, 4))
    compare({"three": three_centre(basis, auxbasis, positions, n, m)}, {"three": expected["three"]})
    with pytest.raises(ValueError, match="angular momentum 6"):
        integrals.overlap_kinetic_dipole(auxbasis, jnp.asarray(positions), m)
