"""OC20's LMDB files: records of old and new torch_geometric without torch, and what is refused."""

import os
import pickle
import sys

import lmdb
import numpy as np
import pytest
from oc20_records import RECORDS

from jaxphys.data import read_oc20_is2re
from jaxphys.data.torch_pickle import read_pickle, read_record

POSITIONS = np.array([[0, 0, 0], [2.5, 0, 0], [1.25, 2, 0], [1.25, 0.8, 1.25]])
CELL = np.array([[5, 0, 0], [1.25, 4, 0], [0, 0, 20]])
FIELDS = {"atomic_numbers", "pos", "cell", "natoms", "tags", "edge_index", "cell_offsets", "fixed", "force"}
FIELDS |= {"pos_relaxed", "y_init", "y_relaxed", "sid"}


def write(path, *values, **others):
    with lmdb.open(str(path), subdir=False, map_size=2**22) as database, database.begin(write=True) as entry:
        for i, value in enumerate(values):
            entry.put(str(i).encode(), value)
        for key, value in others.items():
            entry.put(key.encode(), value)
    return path


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "data.lmdb", *RECORDS.values(), length=pickle.dumps(3, protocol=-1))


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_is_its_arrays(name):
    fields = read_record(RECORDS[name])
    assert fields.keys() == FIELDS
    assert {key: fields[key].dtype.str for key in ("pos", "tags", "fixed")} == {
        "pos": "<f4",
        "tags": "<i8",
        "fixed": "<f4",
    }
    np.testing.assert_array_equal(fields["edge_index"], [[0, 1], [1, 0]])
    np.testing.assert_array_equal(fields["cell"], CELL[None])
    assert "torch" not in sys.modules


def test_structures_and_energies(path):
    initial = read_oc20_is2re(path, state="initial", forces=True)
    relaxed = read_oc20_is2re(path)
    assert initial.energy.tolist() == [6.25, 5.25, 6.25] and relaxed.energy.tolist() == [-0.5, -1.5, -0.5]
    assert initial.group.tolist() == relaxed.group.tolist() == ["1000", "1001", "1000"]
    assert initial.reference == "adsorption"
    for one, other, oxygen in zip(initial, relaxed, (1.25, 1.5, 1.25), strict=True):
        expected = POSITIONS.copy()
        expected[3, 2] = oxygen
        np.testing.assert_allclose(one.positions, expected, rtol=1e-7)
        np.testing.assert_array_equal(one.forces[:, 2], [-0.5, -0.25, -0.25, 1.0])
        np.testing.assert_allclose(other.positions[:, 2], [0, 0, 0.125, oxygen - 0.25])
        np.testing.assert_array_equal(other.cell, CELL)
        assert other.pbc.all() and other.forces is None
        assert other.numbers.tolist() == [29, 29, 29, 8]
        assert other.tags.tolist() == [0, 1, 1, 2] and other.fixed.tolist() == [True, True, False, False]


def test_files_without_a_length(tmp_path):
    assert len(read_oc20_is2re(write(tmp_path / "a.lmdb", *RECORDS.values()))) == 3


def test_a_folder(tmp_path, path):
    (tmp_path / "folder").mkdir()
    os.rename(path, tmp_path / "folder" / "data.mdb")
    assert len(read_oc20_is2re(tmp_path / "folder")) == 3


OLD = RECORDS["old"]


@pytest.mark.parametrize(
    ("values", "others", "message"),
    [
        ([], {}, "empty; it should hold at least one record"),
        ([OLD], {"length": pickle.dumps(2)}, "its length is 2, but there are 1 records"),
        ([OLD], {"length": pickle.dumps("1")}, "its length is '1', not a number of records"),
        ([OLD], {"7": OLD}, "record 1 of 2 is missing"),
        ([OLD, OLD[:500]], {}, "record 1: cannot read the record"),
        ([OLD.replace(b"y_relaxed", b"y_relaxes")], {}, "record 0: no y_relaxed; the test sets"),
        ([OLD.replace(b"\x04tags", b"\x04tagz")], {}, "record 0: no tags; there are atomic_numbers"),
        (
            [OLD.replace(b"natoms\x94K\x04", b"natoms\x94K\x05")],
            {},
            r"atomic_numbers must have shape \(5,\), got \(4,\)",
        ),
        ([pickle.dumps({"pos": 1})], {}, "record 0: expected a record of torch_geometric, got dict"),
    ],
)
def test_errors(tmp_path, values, others, message):
    path = write(tmp_path / "some.lmdb", *values, **others)
    with pytest.raises(ValueError, match=message):
        read_oc20_is2re(path)


def test_truncated(path):
    """Without the check of the size the system would kill the process."""
    content = path.read_bytes()
    for size in (0, 100, 8192, len(content) // 2, len(content) - 4096):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="truncated"):
            read_oc20_is2re(path)


def test_what_is_not_there(tmp_path, path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_oc20_is2re(tmp_path / "other.lmdb")
    with pytest.raises(ValueError, match="forces belong to the initial structure"):
        read_oc20_is2re(path, forces=True)
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(ImportError, match=r'OC20 needs the package lmdb: pip install "jaxphys\[data\]"'):
        read_oc20_is2re(path)


class Command:
    """What a hostile record would have run."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "args", "name"),
    [
        (os.system, ("echo",), "posix.system"),
        (eval, ("1",), "builtins.eval"),
        (getattr, (1, "real"), "builtins.getattr"),
        (np.load, ("file",), "numpy.load"),
    ],
)
def test_every_other_name_is_refused(function, args, name):
    content = pickle.dumps({"pos": Command(function, *args)})
    with pytest.raises(ValueError, match=rf"refused: {name} is nothing that a record of tensors needs"):
        read_pickle(content)


def tensor(size, stride, offset=0, count=4, data=bytes(16), announced=4, magic=0x1950A86A20F9469CFC6C):
    """A pickled tensor of four floats, put together by hand: size and stride may lie."""
    legacy = pickle.dumps(magic, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    legacy += b"\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    legacy += (
        b"K" + bytes([announced]) + b"NtQ." + pickle.dumps(["0"], 2) + count.to_bytes(8, "little") + data
    )
    storage = b"ctorch.storage\n_load_from_bytes\n" + pickle.dumps((legacy,), 3)[2:-1] + b"R"
    shape = b"".join(pickle.dumps(part, 2)[2:-1] for part in (offset, size, stride))
    return b"\x80\x03ctorch._utils\n_rebuild_tensor_v2\n(" + storage + shape + b"\x89}tR."


def test_a_tensor_by_hand():
    data = np.arange(4, dtype="<f4").tobytes()
    np.testing.assert_array_equal(read_pickle(tensor((2, 2), (2, 1), data=data)), [[0, 1], [2, 3]])
    np.testing.assert_array_equal(read_pickle(tensor((2, 2), (1, 2), data=data)), [[0, 2], [1, 3]])
    np.testing.assert_array_equal(read_pickle(tensor((2,), (2,), 1, data=data)), [1, 3])
    np.testing.assert_array_equal(read_pickle(tensor((3,), (0,), 2, data=data)), [2, 2, 2])
    assert read_pickle(tensor((), (), 3, data=data)) == 3 and read_pickle(tensor((0, 3), (3, 1))).shape == (
        0,
        3,
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": (5,), "stride": (1,)}, r"a tensor of shape \(5,\) beyond its storage of 4"),
        ({"size": (2,), "stride": (1000,)}, "beyond its storage"),
        ({"size": (2,), "stride": (-1,)}, "beyond its storage"),
        ({"size": (2,), "stride": (1,), "offset": -1}, "beyond its storage"),
        ({"size": (10**9, 10**9), "stride": (0, 0)}, "beyond its storage"),
        ({"size": (2,), "stride": (1, 1)}, "a tensor without a storage of its own"),
        ({"size": (4,), "stride": (1,), "data": bytes(15)}, "truncated: 15 bytes for 4 float32"),
        ({"size": (4,), "stride": (1,), "announced": 9}, "truncated"),
        ({"size": (4,), "stride": (1,), "magic": 1}, "another form than torch.save's"),
    ],
)
def test_tensors_that_lie(changes, message):
    with pytest.raises(ValueError, match=message):
        read_pickle(tensor(**changes))


def test_functions_are_not_changed():
    """A pickle may also set the state of what it names."""
    content = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aK\x01sb."
    with pytest.raises(ValueError, match="refused: a change to a function"):
        read_pickle(content)
