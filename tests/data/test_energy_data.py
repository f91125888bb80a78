"""The flat storage of labelled structures: taken apart, put together, never mixed in silence."""

import dataclasses

import numpy as np
import pytest

from jaxphys.data import EnergyFrame, concatenate, from_arrays, from_frames

KIND = {"level": "PBE", "reference": "total"}
WATER = np.array([8, 1, 1])


def frame(n, **fields):
    """A chain of n helium atoms whose every number tells n."""
    positions = n + np.arange(3.0 * n).reshape(n, 3)
    return EnergyFrame(np.full(n, 2), positions, energy=-10.0 * n, forces=-positions, **fields)


@pytest.fixture
def chains():
    """Frames of 3, 1, 2 and 5 atoms."""
    return from_frames([frame(n, name=f"He{n}", group="ab"[n % 2], charge=n) for n in (3, 1, 2, 5)], **KIND)


def assert_same(one, other):
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        np.testing.assert_array_equal(a, b, err_msg=field.name, strict=isinstance(a, np.ndarray))


def test_a_frame_is_what_was_put_in(chains):
    assert len(chains) == 4
    for found, n in zip(chains, (3, 1, 2, 5), strict=True):
        put = frame(n)
        np.testing.assert_array_equal(found.positions, put.positions)
        np.testing.assert_array_equal(found.forces, put.forces)
        assert (found.energy, found.name, found.group, found.charge) == (-10.0 * n, f"He{n}", "ab"[n % 2], n)
        assert found.cell is None and found.tags is None
    assert chains[-1].name == "He5"
    with pytest.raises(IndexError, match="frame 4 of a set of 4"):
        chains[4]


@pytest.mark.parametrize(
    "index",
    [slice(None), slice(1, 3), slice(None, None, -1), [2, 0, 2], np.array([-1]), np.array([1, 0, 0, 1]) == 1],
)
def test_parts_are_those_of_a_list(chains, index):
    part = chains[index]
    expected = [chains[int(i)] for i in np.arange(4)[index]]
    assert_same(part, from_frames(expected, **KIND))


def test_a_mask_of_another_length_is_refused(chains):
    with pytest.raises(IndexError):
        chains[np.array([True, False])]


def test_select(chains):
    assert chains.select(max_atoms=2).name.tolist() == ["He1", "He2"]
    assert chains.select(groups=["b"]).name.tolist() == ["He3", "He1", "He5"]
    assert chains.select(names=["He2"], charge=2).energy.tolist() == [-20.0]
    with pytest.raises(ValueError, match="none of the 4 frames meets the conditions"):
        chains.select(names=["He2"], charge=1)


def test_select_elements():
    data = from_frames(
        [EnergyFrame(np.array(numbers), np.zeros((len(numbers), 3)), 0.0) for numbers in ([1], [8, 1], [6])],
        **KIND,
    )
    assert data.elements == (1, 6, 8)
    assert data.select(elements=(1, 8)).n_atoms.tolist() == [1, 2]


def test_halves_make_the_whole(chains):
    assert_same(concatenate([chains[:1], chains[1:]]), chains)


def test_arrays_are_conformations_of_one_molecule():
    positions, forces = np.random.default_rng(0).standard_normal((2, 4, 3, 3))
    data = from_arrays(WATER, positions, [0, 1, 2, 3], forces=forces, charge=-1, name="O", **KIND)
    for i, found in enumerate(data):
        np.testing.assert_array_equal(found.numbers, WATER)
        np.testing.assert_array_equal(found.positions, positions[i])
        np.testing.assert_array_equal(found.forces, forces[i])
        assert (found.energy, found.charge, found.name) == (i, -1, "O")


def test_a_hundred_thousand_frames_are_a_few_arrays():
    data = from_arrays(WATER, np.zeros((100_000, 3, 3)), np.arange(1e5), name="O", **KIND)
    both = concatenate([data, data])
    np.testing.assert_array_equal(both[::1000].energy, np.tile(np.arange(0, 1e5, 1000), 2))
    assert both.select(groups=[""]).n_atoms.sum() == 600_000


def test_frames_without_a_cell_count_as_isolated(chains):
    cell = EnergyFrame(
        np.array([2]), np.zeros((1, 3)), 0.0, np.zeros((1, 3)), 4 * np.eye(3), np.ones(3, bool)
    )
    both = concatenate([chains, from_frames([cell], **KIND)])
    assert both.pbc.tolist() == 4 * [[False] * 3] + [[True] * 3]
    assert both.cell.sum() == 12 and both[4].cell.trace() == 12
    with pytest.raises(ValueError, match="periodic structure is no molecule"):
        _ = both[4].molecule
    assert both[1].molecule.name == "He1" and both[1].molecule.charge == 1


@pytest.mark.parametrize(("what", "other"), [("level", "B3LYP"), ("reference", "atomisation")])
def test_kinds_are_mixed_on_request_only(chains, what, other):
    changed = dataclasses.replace(chains, **{what: other})
    with pytest.raises(ValueError, match=rf"energies of {what} '{KIND[what]}' and '{other}' do not compare"):
        concatenate([chains, changed])
    mixed = concatenate([chains, changed], mixed=True)
    assert len(mixed) == 8
    assert (mixed.level, mixed.reference) == (
        ("PBE + B3LYP", "total") if what == "level" else ("PBE", "mixed")
    )


def test_atomic_energies_of_a_mixture_are_those_of_both(chains):
    one, other = (dataclasses.replace(chains, atomic_energies={2: e}) for e in (-79.0, -80.0))
    assert concatenate([one, one]).atomic_energies == {2: -79.0}
    assert concatenate([one, other]).atomic_energies is None


def test_what_was_subtracted_is_never_mixed(chains):
    changed = dataclasses.replace(chains, subtracted={2: -79.0})
    with pytest.raises(
        ValueError, match=r"None and \{2: -79.0\} were subtracted; use restore_atomic_energies"
    ):
        concatenate([chains, changed], mixed=True)


def test_forces_of_some_frames_only_are_refused(chains):
    without = dataclasses.replace(chains, forces=None)
    with pytest.raises(ValueError, match="set 1 has no forces, others have; all or none must"):
        concatenate([chains, without])
    with pytest.raises(ValueError, match="frame 0 has no forces"):
        from_frames([without[0], chains[0]], **KIND)


def test_nothing_is_no_set():
    for make in (from_frames, lambda parts, **_: concatenate(parts)):
        with pytest.raises(ValueError, match=r"a set needs at least one .*, got none"):
            make([], **KIND)


def test_arrays_are_read_only(chains):
    with pytest.raises(ValueError, match="read-only"):
        chains.energy[0] = 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference": "raw"}, "reference must be one of total, valence, .*, got 'raw'"),
        ({"offsets": np.array([0, 3, 4, 6])}, "offsets must rise from 0 to the 11 atoms"),
        ({"offsets": np.array([0, 3, 3, 6, 11])}, "at least one atom a frame"),
        ({"cell": np.zeros((4, 3, 3))}, "cell and pbc come together"),
        ({"name": np.array(["a"])}, "name must have 4 rows, got 1"),
    ],
)
def test_arrays_that_do_not_fit(chains, changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(chains, **changes)


def test_shapes_of_conformations():
    with pytest.raises(ValueError, match=r"positions of 2 energies and 3 atoms must have shape \(2, 3, 3\)"):
        from_arrays(WATER, np.zeros((2, 4, 3)), np.zeros(2), **KIND)
