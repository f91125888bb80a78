"""The Hamiltonian model: E(3) equivariance in PySCF's own orbitals, order of atoms, padding, gradients."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pyscf import gto
from scipy.spatial.transform import Rotation

from jaxphys import dft
from jaxphys.data import thermal
from jaxphys.dft.basis import shell_momenta
from jaxphys.models import HamiltonianConfig, HamiltonianModel, assemble, orbital_layout
from jaxphys.models.layers import o2
from jaxphys.models.layers.frames import edge_rotations
from jaxphys.molecule import to_graph

BASIS = "def2-svp"
CONFIG = HamiltonianConfig(
    shells=tuple((z, shell_momenta(z, BASIS)) for z in (1, 6, 7, 8)), channels=8, layers=2, hidden=12
)
IMPROPER = Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix() @ np.diag([1.0, 1.0, -1.0])


@functools.cache
def _params(config, seed=0):
    graph = jax.tree.map(jnp.asarray, to_graph(np.array([8, 1]), np.eye(2, 3)))
    params = jax.jit(HamiltonianModel(config).init)(jax.random.key(seed), graph)
    # every weight random and in float64, so that no path is silent
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(seed)
    return jax.tree.unflatten(tree, [leaf + 0.1 * rng.standard_normal(leaf.shape) for leaf in leaves])


@functools.cache
def _program(config):
    """One compiled program a config and shape, whatever the molecule."""
    return jax.jit(lambda p, g, layout: assemble(HamiltonianModel(config).apply(p, g), g, layout))


def _matrix(config, params, numbers, positions, n=None, **sizes):
    graph = jax.tree.map(jnp.asarray, to_graph(numbers, positions, **sizes))
    layout = jax.tree.map(jnp.asarray, orbital_layout(config, numbers, n))
    return np.asarray(_program(config)(params, graph, layout))


def _molecule(smiles="CO"):
    molecule = thermal(smiles, 1, seed=3)[0]
    return molecule.numbers, np.array(molecule.positions)


def _orbital_representation(numbers, turn, basis=BASIS):
    """T with φ(Q⁻¹ r) = φ(r) T for each atom's orbitals at the origin, from PySCF's orbital values alone."""
    points = np.random.default_rng(0).normal(size=(400, 3))
    blocks = []
    for number in numbers:
        atom = gto.M(atom=[(int(number), (0, 0, 0))], basis=basis, spin=None, verbose=0)
        before, after = (atom.eval_gto("GTOval_sph", p) for p in (points, points @ turn))
        blocks.append(np.linalg.lstsq(before, after, rcond=None)[0])
    from scipy.linalg import block_diag

    return block_diag(*blocks)


@pytest.mark.parametrize("lmax", [1, pytest.param(2, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("turn", [Rotation.from_rotvec([1.0, 0.4, -2.0]).as_matrix(), IMPROPER, -np.eye(3)])
def test_blocks_turn_as_pyscf_orbitals_do(lmax, turn):
    config = dataclasses.replace(CONFIG, lmax=lmax)
    params = _params(config)
    numbers, positions = _molecule()
    before = _matrix(config, params, numbers, positions)
    after = _matrix(config, params, numbers, positions @ turn.T + 1.7)
    represent = _orbital_representation(numbers, turn)
    np.testing.assert_allclose(
        represent @ before @ represent.T, after, rtol=0, atol=1e-8 * np.abs(before).max()
    )
    assert np.max(np.abs(before - after)) > 0.01 * np.abs(before).max()


def test_representation_is_that_of_a_real_fock_matrix():
    numbers, positions = _molecule("O")
    focks = []
    for turn in (np.eye(3), IMPROPER):
        system = dft.kohn_sham(numbers, positions @ turn.T, basis=BASIS, xc="pbe", grid_level=3)
        focks.append(np.asarray(dft.guess_fock(system)))
    represent = _orbital_representation(numbers, IMPROPER)
    # the grid is not rotated with the molecule, hence not to rounding
    np.testing.assert_allclose(represent @ focks[0] @ represent.T, focks[1], rtol=0, atol=2e-5)


def test_f_shells_turn_as_pyscf_orbitals_do():
    basis = "def2-tzvp"
    config = HamiltonianConfig(
        shells=tuple((z, shell_momenta(z, basis)) for z in (1, 8)), channels=4, layers=1, hidden=8, lmax=2
    )
    assert 3 in config.slots
    params = _params(config)
    numbers, positions = _molecule("O")
    before = _matrix(config, params, numbers, positions)
    after = _matrix(config, params, numbers, positions @ IMPROPER.T)
    represent = _orbital_representation(numbers, IMPROPER, basis)
    np.testing.assert_allclose(
        represent @ before @ represent.T, after, rtol=0, atol=1e-8 * np.abs(before).max()
    )


def test_order_of_atoms_only_orders_the_matrix():
    params = _params(CONFIG)
    numbers, positions = _molecule()
    order = np.random.default_rng(1).permutation(len(numbers))
    before = _matrix(CONFIG, params, numbers, positions)
    after = _matrix(CONFIG, params, numbers[order], positions[order])
    starts = np.cumsum([0] + [sum(2 * l + 1 for l in dict(CONFIG.shells)[int(z)]) for z in numbers])
    orbitals = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in order])
    np.testing.assert_allclose(before[np.ix_(orbitals, orbitals)], after, rtol=0, atol=1e-12)


def test_matrix_is_symmetric_and_padding_inert():
    params = _params(CONFIG)
    numbers, positions = _molecule()
    alone = _matrix(CONFIG, params, numbers, positions, n_node=len(numbers) + 1, n_edge=len(numbers) * 5)
    n = len(alone)
    padded = _matrix(CONFIG, params, numbers, positions, n=n + 7, n_node=12, n_edge=120)
    np.testing.assert_allclose(padded[:n, :n], alone, rtol=0, atol=1e-10)
    assert not padded[n:].any() and not padded[:, n:].any()
    np.testing.assert_array_equal(alone, alone.T)


def test_single_atom_has_a_spherical_block():
    params = _params(CONFIG)
    matrix = _matrix(CONFIG, params, np.array([8]), np.zeros((1, 3)))
    represent = _orbital_representation([8], IMPROPER)
    np.testing.assert_allclose(represent @ matrix @ represent.T, matrix, atol=1e-10)
    assert np.abs(np.diagonal(matrix)).min() > 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_are_finite_in_padding_and_along_every_axis(dtype):
    """Edges along x, y, z and padding edges of length zero: no NaN in value or gradient."""
    positions = np.array([[0, 0, 0], [1.1, 0, 0], [0, 1.1, 0], [0, 0, -1.1]], dtype)
    graph = jax.tree.map(jnp.asarray, to_graph(np.array([7, 1, 1, 1]), positions, n_node=8, n_edge=30))
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), _params(CONFIG))
    layout = orbital_layout(CONFIG, np.array([7, 1, 1, 1]))

    def total(params, positions):
        moved = graph._replace(nodes={**graph.nodes, "positions": positions})
        return jnp.sum(assemble(HamiltonianModel(CONFIG).apply(params, moved), moved, layout) ** 2)

    gradients = jax.jit(jax.grad(total, argnums=(0, 1)))(params, graph.nodes["positions"])
    leaves = jax.tree.leaves(gradients)
    assert all(np.isfinite(leaf).all() and leaf.dtype == dtype for leaf in leaves)
    # d–d pairs do not occur in this molecule, and they alone have |M| = 4
    silent = [
        jax.tree_util.keystr(path) for path, leaf in jax.tree.leaves_with_path(gradients) if not np.any(leaf)
    ]
    assert silent == ["[0]['params']['PairBlocks_0']['offsite_m4']['kernel']"]


def test_every_block_can_be_reached():
    """The couplings are an orthogonal basis of all B² matrix elements."""
    even, odd = o2.block_couplings(CONFIG.slots)
    size = odd.shape[-1]
    rows = np.concatenate([part.reshape(-1, size**2) for part in even] + [odd.reshape(-1, size**2)])
    assert rows.shape == (size**2, size**2)
    gram = rows @ rows.T
    np.testing.assert_array_equal(gram, np.diag(np.diagonal(gram)))


def test_rotations_are_orthogonal_and_align_the_edge():
    import e3nn_jax as e3nn

    vectors = np.concatenate(
        [np.random.default_rng(0).normal(size=(5, 3)), np.eye(3), -np.eye(3), np.zeros((1, 3))]
    )
    for l, matrices in enumerate(edge_rotations(jnp.asarray(vectors), 4)):
        products = np.einsum("eij,ekj->eik", matrices, matrices)
        np.testing.assert_allclose(products, np.tile(np.eye(2 * l + 1), (len(vectors), 1, 1)), atol=1e-12)
        harmonics = e3nn.spherical_harmonics(
            l, e3nn.IrrepsArray("1o", jnp.asarray(vectors[:-1, [1, 2, 0]])), True
        )
        aligned = np.einsum("eij,ej->ei", matrices[:-1], harmonics.array)
        np.testing.assert_allclose(np.delete(aligned, l, axis=1), 0.0, atol=1e-6)


def test_layout_follows_pyscf_orbital_order():
    numbers, _ = _molecule()
    mole = gto.M(atom=[(int(z), tuple(p)) for z, p in zip(*_molecule(), strict=True)], basis=BASIS, verbose=0)
    layout = orbital_layout(CONFIG, numbers)
    assert layout.atom.tolist() == [int(label[0]) for label in mole.ao_labels(fmt=None)]
    momenta = np.repeat(CONFIG.slots, [2 * l + 1 for l in CONFIG.slots])
    assert ["spdf"[momenta[s]] for s in layout.slot] == [label[2][1] for label in mole.ao_labels(fmt=None)]


def test_layout_errors():
    with pytest.raises(ValueError, match=r"knows the elements \[1, 6, 7, 8\], not \[16\]"):
        orbital_layout(CONFIG, np.array([16, 1, 1]))
    with pytest.raises(ValueError, match="24 orbitals do not fit into 20"):
        orbital_layout(CONFIG, np.array([8, 1, 1]), n=20)
