"""The HDF5 store of labels: what it keeps, what it refuses, and what a kill leaves behind."""

import logging
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from jaxphys.data.label_file import Contents, Label, group_name, open_label_file

HEADER = {"basis": "sto-3g", "tolerance": 1e-8}


def label(value=1.0, n=3):
    arrays = {"energy": np.array(value), "fock": np.full((n, n), value), "numbers": np.arange(1, 4)}
    return Label(arrays, {"name": "é", "charge": -1})


def contents(*keys, failures=None, shells=None):
    names = {group_name(index, "CH4", 9): key for index, key in enumerate(keys)}
    return Contents(names, failures or {}, shells or {})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "labels.h5"


def fill(path, *keys, merge=True):
    with open_label_file(path, HEADER) as store:
        for key in keys:
            store.write(key, label(float(key)))
        if merge:
            store.merge(contents(*sorted(store.keys())), {"jaxphys_version": "1"})
        return store.keys()


def test_what_is_written_is_read_back(path):
    shells, failures = {"C": (0, 0, 1)}, {"000002_H2": {"index": 2, "reason": "no"}}
    with open_label_file(path, HEADER) as store:
        store.write("1", label(1.5))
        store.merge(contents("1", "1", failures=failures, shells=shells), {"jaxphys_version": "7"})
    with h5py.File(path) as file:
        assert file.attrs["basis"] == "sto-3g" and file.attrs["jaxphys_version"] == "7"
        assert list(file["molecules"]) == ["000000_CH4", "000001_CH4"]
        assert file["molecules/000001_CH4"] == file["molecules/000000_CH4"]
        group = file["molecules/000000_CH4"]
        assert dict(group.attrs) == {"key": "1", "name": "é", "charge": -1}
        assert group["energy"][()] == 1.5 and group["energy"].attrs["unit"] == "Ha"
        np.testing.assert_array_equal(group["fock"], np.full((3, 3), 1.5))
        assert group["fock"].attrs["axes"] == "orbital, orbital"
        assert file["shells/C"][:].tolist() == [0, 0, 1]
        assert dict(file["failures/000002_H2"].attrs) == failures["000002_H2"]
    assert list(path.parent.iterdir()) == [path]


def test_open_shells_name_the_axis_of_spins(path):
    with open_label_file(path, HEADER) as store:
        store.write("1", Label({"fock": np.zeros((2, 3, 3)), "overlap": np.zeros((3, 3))}, {}))
        store.merge(contents("1"), {})
    with h5py.File(path) as file:
        assert file["labels/1/fock"].attrs["axes"] == "spin, orbital, orbital"
        assert file["labels/1/overlap"].attrs["axes"] == "orbital, orbital"


def test_labels_are_added_and_the_latest_contents_shown(path):
    assert fill(path, "1", "2") == {"1", "2"}
    with open_label_file(path, HEADER) as store:
        assert store.keys() == {"1", "2"}
        store.write("3", label(3.0))
        assert store.keys() == {"1", "2", "3"}
        store.merge(contents("3", "1"), {})
    with h5py.File(path) as file:
        assert [group["energy"][()] for group in file["molecules"].values()] == [3.0, 1.0]
        assert sorted(file["labels"]) == ["1", "2", "3"]


def test_nothing_new_leaves_the_file_untouched(path):
    fill(path, "1")
    before = path.stat()
    fill(path)
    assert path.stat().st_ino == before.st_ino and path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_link_stays_a_link(path, tmp_path):
    path.symlink_to(tmp_path / "elsewhere.h5")
    fill(path, "1")
    assert path.is_symlink() and fill(path) == {"1"}


def test_an_exception_keeps_the_labels_and_the_folder(path):
    with pytest.raises(KeyboardInterrupt), open_label_file(path, HEADER) as store:
        store.write("1", label())
        raise KeyboardInterrupt
    assert not path.exists()
    assert fill(path) == {"1"} and path.exists()
    assert list(path.parent.iterdir()) == [path]


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from jaxphys.data import label_file
from test_label_file import HEADER, contents, label

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

with label_file.open_label_file(sys.argv[2], HEADER) as store:
    store.write("3", label(3.0))
    {stage}
    store.write("4", label(4.0))
    store.merge(contents(*sorted(store.keys())), {{}})
"""

STAGES = {
    "in the write of a part": "os.replace = kill",
    "in the midst of the merge": "label_file._show = kill",
    "before the new file is in place": "label_file.os.replace = lambda a, b: kill() if b == store.path "
    "else os.rename(a, b)",
    "before the parts are gone": "label_file.Path.unlink = kill",
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_kill_costs_no_finished_label(path, stage):
    fill(path, "1", "2")
    script = KILLED.format(stage=STAGES[stage])
    run = subprocess.run(
        [sys.executable, "-c", script, Path(__file__).parent, path], capture_output=True, text=True
    )
    assert run.returncode == -9, run.stderr
    finished = {"1", "2", "3"} | ({"4"} if "write" not in stage else set())
    assert fill(path) == finished
    with h5py.File(path) as file:
        assert {group["fock"][0, 0] for group in file["molecules"].values()} == {
            float(key) for key in finished
        }
    assert list(path.parent.iterdir()) == [path]


def test_two_runs_cannot_write_one_file(path):
    with open_label_file(path, HEADER), pytest.raises(ValueError, match="another run is writing"):
        fill(path, "1")
    assert fill(path, "1") == {"1"}


def test_files_of_other_settings_or_kinds_are_refused(path):
    fill(path, "1")
    content = path.read_bytes()
    with (
        pytest.raises(ValueError, match="labels of basis sto-3g, not def2-svp; it is left as it is"),
        open_label_file(path, HEADER | {"basis": "def2-svp"}),
    ):
        pass
    assert path.read_bytes() == content
    other = path.with_name("other.h5")
    with h5py.File(other, "w") as file:
        file["x"] = 1
    text = path.with_name("text.h5")
    text.write_text("some words")
    folder = path.with_name("folder.h5")
    folder.mkdir()
    for wrong, reason in ((other, "no.* hold labels"), (text, "not an HDF5 file"), (folder, "not a file")):
        with pytest.raises(ValueError, match=reason):
            fill(wrong, "1")
    assert text.read_text() == "some words"
    assert sorted(path.parent.iterdir()) == sorted([folder, path, other, text])


def test_parts_of_other_settings_are_refused(path):
    fill(path, "1", merge=False)
    with (
        pytest.raises(ValueError, match="of tolerance 1e-08, not 1e-06"),
        open_label_file(path, HEADER | {"tolerance": 1e-6}) as store,
    ):
        store.keys()
    assert fill(path) == {"1"}


def test_truncated_files_are_refused_and_kept(path):
    fill(path, "1", "2")
    content = path.read_bytes()
    for length in range(1, len(content), 97):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"damaged .* left as it is|not an HDF5 file") as error:
            fill(path, "3")
        assert "\n" not in str(error.value)
        assert path.read_bytes() == content[:length]
    assert list(path.parent.iterdir()) == [path]


def test_flipped_bits_of_numbers_do_not_go_unnoticed(path):
    fill(path, "1")
    content = path.read_bytes()
    with h5py.File(path) as file:
        start = file["labels/1/fock"].id.get_chunk_info(0).byte_offset
    energy = content.index(np.float64(1.0).tobytes())
    for position in (start, start + 30, energy, energy + 7):
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        with pytest.raises((OSError, KeyError)), h5py.File(path) as file:
            file["labels/1/fock"][()], file["labels/1/energy"][()]


def test_a_damaged_part_is_logged_and_not_counted(path, caplog):
    fill(path, "1", "2", merge=False)
    part = path.with_name("labels.h5.parts") / "2.h5"
    part.write_bytes(part.read_bytes()[:-200])
    with caplog.at_level(logging.WARNING), open_label_file(path, HEADER) as store:
        assert store.keys() == {"1"}
        assert "2.h5: not usable, computed anew" in caplog.text
        store.write("2", label(2.0))
        store.merge(contents("1", "2"), {})
    assert fill(path) == {"1", "2"}


def test_a_full_disk_keeps_what_is_there(path, monkeypatch):
    fill(path, "1")
    content = path.read_bytes()

    def full(file):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            fill(path, "2")
    assert path.read_bytes() == content
    assert fill(path, "2") == {"1", "2"}


def test_names_sort_as_the_frames_do():
    names = [group_name(index, "H2O", 1_200_000) for index in (2, 10, 999_999, 1_000_000)]
    assert names == sorted(names)
    assert group_name(12, "CH4", 99) == "000012_CH4"
