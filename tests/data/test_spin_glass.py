"""Files of couplings: what is read, what is a lattice, what is refused; graphs of them."""

import json

import numpy as np
import pytest

from jaxphys.data import (
    SpinGlass,
    as_lattice,
    from_lattice,
    ground_states,
    random_lattices,
    read_couplings,
    read_spin_glass,
    spin_graph,
)


def written(path, glass):
    bonds = zip(glass.senders, glass.receivers, glass.couplings, strict=True)
    lines = [f"{glass.spins} {len(glass.couplings)}", *(f"{i + 1} {j + 1} {J!r}" for i, j, J in bonds)]
    path.write_text("\n".join(lines).replace("np.float64(", "").replace(")", "") + "\n")
    return path


def test_a_folder_is_read_in_natural_order_with_its_energies(tmp_path):
    right, down = random_lattices(3, 3, 4, seed=0)
    (tmp_path / "EA").mkdir()
    for k, seed in enumerate((1, 2, 10)):
        written(tmp_path / "EA" / f"s{seed}.txt", from_lattice(right[k], down[k]))
    energies = ground_states(right, down)[1]
    (tmp_path / "exact.json").write_text(json.dumps({"instances": {"EA/s10": {"E0": energies[2]}}}))
    glasses = read_spin_glass(tmp_path)
    assert [glass.name for glass in glasses] == ["s1", "s2", "s10"]
    assert [glass.energy for glass in glasses] == [None, None, energies[2]]
    for k, glass in enumerate(glasses):
        np.testing.assert_array_equal(as_lattice(glass), (right[k], down[k]))


@pytest.mark.parametrize(("rows", "columns"), [(1, 5), (2, 2), (3, 2), (2, 7), (4, 4)])
def test_lattices_are_recognised(rows, columns):
    right, down = random_lattices(1, rows, columns, seed=1)
    found = as_lattice(from_lattice(right[0], down[0]))
    assert found is not None
    np.testing.assert_array_equal(found, (right[0], down[0]))


@pytest.mark.parametrize("bond", [(0, 4), (2, 3), (0, 6)])
def test_other_graphs_are_no_lattices(bond):
    """A diagonal, a bond from a row's end to the next row, one over two rows."""
    right, down = (part[0] for part in random_lattices(1, 3, 3, seed=2))
    glass = from_lattice(right, down)
    more = SpinGlass(
        np.append(glass.couplings, 1.0),
        np.append(glass.senders, bond[0]),
        np.append(glass.receivers, bond[1]),
        9,
    )
    assert as_lattice(more) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "promises 0 spins and 0 bonds, and lists 0"),
        ("3 2\n1 2 0.5\n", "promises 3 spins and 2 bonds, and lists 1"),
        ("3 1\n1 2\n", "line 2: must be i j J, two whole numbers and a number, got '1 2'"),
        ("3 x\n1 2 1\n", "line 1: must be N M, both whole numbers"),
        ("3 1\n1 2 nan\n", "bond 1 2 nan must be finite"),
        ("3 1\n1 4 1\n", "bond 1 4 1 must be of two of the 3 spins"),
        ("3 1\n2 2 1\n", "bond 2 2 1 must be of two different spins"),
        ("3 2\n1 2 1\n2 1 -1\n", "bond 2 1 -1 is listed twice"),
    ],
)
def test_damaged_files_are_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "glass.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"glass\.txt") as error:
        read_couplings(path)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_missing_folders_files_and_energies_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        read_spin_glass(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="no text files of couplings"):
        read_spin_glass(tmp_path)
    (tmp_path / "a.txt").write_text("2 1\n1 2 1\n")
    (tmp_path / "exact.json").write_text("[]")
    with pytest.raises(ValueError, match=r"exact.json: no energies of ground states by name"):
        read_spin_glass(tmp_path)


def test_graphs_have_each_bond_both_ways_and_inert_padding():
    right, down = (part[0] for part in random_lattices(1, 2, 3, seed=3))
    glass = from_lattice(right, down)
    graph = spin_graph(glass, n_node=8, n_edge=20)
    assert graph.n_node.tolist() == [6, 2] and graph.n_edge.tolist() == [14, 6]
    dense = np.zeros((8, 8))
    np.add.at(dense, (graph.senders, graph.receivers), graph.edges["couplings"])
    np.testing.assert_array_equal(dense, dense.T)
    np.testing.assert_allclose(dense[glass.senders, glass.receivers], glass.couplings, rtol=1e-6)
    assert not dense[6:].any() and (graph.nodes["reference"][6:] == 1).all()
    with pytest.raises(ValueError, match="padding edges need a padding node"):
        spin_graph(glass, n_edge=20)
