"""The molecular graph with bonds: tables by hand, orientations against RDKit's labels and geometries."""

import numpy as np
import pytest
from rdkit import Chem

from jaxphys.data import bond_graph, embed_conformers, parse_smiles, positions_of
from jaxphys.molecule import to_graph

SPECIFIED = [
    "C[C@H](O)C(=O)O",
    "C[C@@H](O)C(=O)O",
    "N[C@@H](Cc1ccccc1)C(=O)O",
    "F[C@](Cl)(Br)I",
    "C/C=C/C",
    "C/C=C\\C",
    "C/C=C/C=C\\C",
    "F/C(Cl)=C(/Br)I",
    "C/C=N/O",
    "C/C=N\\O",
    "F/N=N/F",
    "O[C@H](F)[C@@H](O)F",
    "O[C@H](F)[C@H](O)F",
    "C[C@H]1C[C@@H]1C",
    "C[C@H]1C[C@H]1C",
    "C[C@H]1CC[C@@H](C)CC1",
    "C[C@H]1CC[C@H](C)CC1",
    "C[C@H]1CO1",
    "C1CC[C@@H]2O[C@@H]2C1",
    "O[C@@H]1C[C@@H]2CC[C@H]1C2",
    "CC1(C)[C@@H]2CC[C@@]1(C)C(=O)C2",
    "C[C@H](C#N)N",
    "C[C@@H](F)NC(C)=O",
    "CC[N@@+](C)(O)CF",
    "C[S@](=O)(=N)F",
    "OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O",
    "C[C@@H](O)/C=C/[C@H](C)O",
    "C1CCC/C=C/CC1",
    "CC(=O)N[C@H](C)c1ccccc1",
    "O=C1/C(=C/c2ccccc2)CCCC1",
]
_CLOCKWISE = Chem.ChiralType.CHI_TETRAHEDRAL_CW
_CHIRAL = (_CLOCKWISE, Chem.ChiralType.CHI_TETRAHEDRAL_CCW)
_CIS = (Chem.BondStereo.STEREOZ, Chem.BondStereo.STEREOCIS)
_TRANS = (Chem.BondStereo.STEREOE, Chem.BondStereo.STEREOTRANS)


def _even(order, reference):
    """Whether the order is an even permutation of the reference."""
    places = [list(reference).index(item) for item in order]
    return sum(a > b for i, a in enumerate(places) for b in places[i + 1 :]) % 2 == 0


def _tables(mol, **options):
    """The edges of a graph as tables (n, n) by receiver and sender."""
    graph, n = bond_graph(mol, **options), mol.GetNumAtoms()
    tables = {name: np.zeros((n, n), int) for name in graph.edges}
    for edge, ends in enumerate(zip(graph.receivers, graph.senders, strict=True)):
        for name, values in graph.edges.items():
            assert max(ends) < n or values[edge] == 0
            if max(ends) < n:
                tables[name][ends] = values[edge]
    return graph, tables


def _check_labels(mol, graph, planar):
    """The orientations of a graph are those of RDKit's tags; returns how many tags there are."""
    found = 0
    for atom in mol.GetAtoms():
        if atom.GetChiralTag() in _CHIRAL and atom.GetDegree() == 4:
            around = [bond.GetOtherAtomIdx(atom.GetIdx()) for bond in atom.GetBonds()]
            # seen from the first neighbour the others run clockwise where the signed volume is positive
            even = _even(graph.nodes["tetrahedron"][atom.GetIdx()], around)
            assert even == (atom.GetChiralTag() == _CLOCKWISE), atom.GetIdx()
            found += 1
    for bond in mol.GetBonds():
        if bond.GetStereo() in _CIS + _TRANS:
            assert planar[tuple(bond.GetStereoAtoms())] == (1 if bond.GetStereo() in _CIS else 2)
            found += 1
    return found


@pytest.mark.parametrize("smiles", SPECIFIED)
def test_orientations_are_those_of_the_labels_with_and_without_a_geometry(smiles):
    mol = parse_smiles(smiles)
    drawn, tables = _tables(mol, seed=3)
    assert _check_labels(mol, drawn, tables["planar"])
    geometry = positions_of(embed_conformers(mol, 1, seed=5))[0]
    read, tables = _tables(mol, positions=geometry)
    assert _check_labels(mol, read, tables["planar"])


@pytest.mark.parametrize("smiles", ["CC(C)C=C", "C1C2CC1C2", "c1ccncc1C#N", "C[N+](C)(C)C", "NC(=O)C1CC1"])
def test_every_orientation_is_that_of_the_geometry(smiles):
    """Signed volumes, and dihedral angles of the pairs across stiff bonds."""
    mol = parse_smiles(smiles)
    x = positions_of(embed_conformers(mol, 1, seed=1))[0]
    graph, tables = _tables(mol, positions=x)
    for atom in mol.GetAtoms():
        corners = graph.nodes["tetrahedron"][atom.GetIdx()]
        if atom.GetDegree() == 4:
            assert sorted(corners) == sorted(a.GetIdx() for a in atom.GetNeighbors())
            assert np.linalg.det(x[corners[1:]] - x[corners[0]]) > 0
        else:
            assert (corners == atom.GetIdx()).all()
    stiff = 0
    for p, i, j, q in mol.GetSubstructMatches(Chem.MolFromSmarts("*~[#6,#7]=,:[#6,#7]~*"), uniquify=False):
        one, other = np.cross(x[p] - x[i], x[j] - x[i]), np.cross(x[q] - x[j], x[j] - x[i])
        assert tables["planar"][p, q] == tables["planar"][q, p] == (1 if one @ other > 0 else 2)
        stiff += 1
    assert (stiff > 0) == ((tables["planar"] > 0).any()) == ("=C" in smiles or "c" in smiles)


def test_the_mirror_image_has_the_other_order_of_every_tetrahedron():
    mol = parse_smiles("C[C@H](O)F")
    x = positions_of(embed_conformers(mol, 1, seed=1))[0]
    one, other = bond_graph(mol, x), bond_graph(mol, -x)
    for atom in (0, 1):
        assert not _even(other.nodes["tetrahedron"][atom], one.nodes["tetrahedron"][atom])
    np.testing.assert_array_equal(one.edges["planar"], other.edges["planar"])


def test_swapping_two_substituents_in_the_text_flips_the_order():
    orders = [bond_graph(parse_smiles(s)).nodes["tetrahedron"][1] for s in ("C[C@H](O)F", "C[C@@H](O)F")]
    assert sorted(orders[0]) == sorted(orders[1]) and not _even(*orders)


def test_bridgeheads_face_each_other_without_positions():
    """Of bicyclo[1.1.1]pentane: seen from outside, the same three bridges run opposite ways round."""
    for seed in range(3):
        mol = parse_smiles("C1C2CC1C2")
        corners = bond_graph(mol, seed=seed).nodes["tetrahedron"]
        outside = [max(corners[atom]) for atom in (1, 3)]
        first, second = (
            [0 if atom == out else atom + 1 for atom in row]
            for row, out in zip(corners[[1, 3]], outside, strict=True)
        )
        assert sorted(first) == sorted(second) and not _even(first, second)


def test_what_the_graph_leaves_open_is_drawn_by_the_seed():
    mol = parse_smiles("CC(O)F")
    orders = [bond_graph(mol, seed=seed).nodes["tetrahedron"][1] for seed in range(8)]
    assert len({_even(order, sorted(order)) for order in orders}) == 2
    again = bond_graph(mol, seed=2)
    np.testing.assert_array_equal(again.nodes["tetrahedron"][1], orders[2])


def test_tables_of_a_zwitterion_by_hand():
    """[O-]C(=O)C#C[NH3+]: atoms O0 C1 O2 C3 C4 N5, then hydrogens."""
    mol = parse_smiles("[O-]C(=O)C#C[NH3+]")
    graph, tables = _tables(mol)
    assert graph.nodes["formal_charge"].tolist()[:6] == [-1, 0, 0, 0, 0, 1]
    assert tables["bond"][1].tolist()[:5] == [1, 0, 2, 1, 0] and tables["bond"][3, 4] == 3
    assert tables["separation"][0].tolist() == [0, 1, 2, 2, 3, 4, 5, 5, 5]
    assert not tables["planar"].any()
    for table in tables.values():
        np.testing.assert_array_equal(table, table.T)


def test_rings_and_double_bonds_by_hand():
    """Benzene: everything in the ring and neighbouring hydrogens cis, hydrogens and ring atoms trans."""
    _, tables = _tables(parse_smiles("c1ccccc1"))
    assert (tables["bond"][0, 1], tables["bond"][0, 6]) == (4, 1)
    planar = tables["planar"]
    assert (planar[0, 3], planar[6, 7], planar[6, 2], planar[6, 8], planar[0, 1]) == (1, 1, 2, 0, 0)
    assert tables["separation"].max() == 5 and tables["separation"][6, 9] == 5
    assert not _tables(parse_smiles("C=C=C"))[1]["planar"].any()  # an allene is not planar


def test_a_twisted_double_bond_has_two_pairs_of_each_kind():
    mol = parse_smiles("C=C")
    x = positions_of(embed_conformers(mol, 1, seed=1))[0]
    axis, turned = (x[1] - x[0]) / np.linalg.norm(x[1] - x[0]), x.copy()
    for atom in (4, 5):
        turned[atom] = x[1] + np.cross(axis, x[atom] - x[1]) + axis * (axis @ (x[atom] - x[1]))
    planar = _tables(mol, positions=turned)[1]["planar"][2:4, 4:]
    assert sorted(planar[0]) == sorted(planar[1]) == [1, 2] and planar[0, 0] != planar[1, 0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_rest_is_that_of_to_graph(dtype):
    mol = parse_smiles("CO")
    x = positions_of(embed_conformers(mol, 1, seed=1))[0].astype(dtype)
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    graph, plain = bond_graph(mol, x, n_node=12), to_graph(numbers, x, n_node=12)
    for name in ("numbers", "positions"):
        np.testing.assert_array_equal(graph.nodes[name], plain.nodes[name])
        assert graph.nodes[name].dtype == plain.nodes[name].dtype
    for name in ("receivers", "senders", "n_node", "n_edge"):
        np.testing.assert_array_equal(getattr(graph, name), getattr(plain, name))
    assert all(table.dtype == np.int32 and table.shape == (110,) for table in graph.edges.values())
    assert (graph.nodes["tetrahedron"][6:] == np.arange(6, 12)[:, None]).all()
    bare = bond_graph(mol)
    assert bare.nodes["positions"].dtype == np.float32 and not bare.nodes["positions"].any()


def test_a_lone_atom_and_two():
    for smiles, bonds in (("[Ne]", 0), ("[H][H]", 2)):
        assert np.count_nonzero(bond_graph(parse_smiles(smiles)).edges["bond"]) == bonds


def test_what_cannot_be_made_a_graph():
    with pytest.raises(ValueError, match=r"6 implicit hydrogens; Chem.AddHs"):
        bond_graph(Chem.MolFromSmiles("CC"))
    with pytest.raises(ValueError, match=r"positions of 8 atoms must have shape \(8, 3\), got \(3, 3\)"):
        bond_graph(parse_smiles("CC"), np.zeros((3, 3)))
    dative = Chem.AddHs(Chem.MolFromSmiles("N->B"))
    with pytest.raises(ValueError, match="DATIVE between atoms 0 and 1"):
        bond_graph(dative, np.zeros((dative.GetNumAtoms(), 3)))
