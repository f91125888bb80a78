"""Labels of many molecules in one HDF5 file that no kill can damage.

    /labels/<key>              one label, under the hash of what it depends on
        numbers, positions, energy, …      datasets, each with its `unit` and `axes`
    /molecules/<index>_<formula>           the frames of the latest input: links to labels, equal ones to one
    /failures/<index>_<formula>            frames without a label, with attributes index, name and reason
    /shells/<element>          angular momenta of the element's shells, in the order of the orbitals

HDF5 keeps no journal: a kill in the midst of a write may cost the whole file. So a file is never changed. New
labels go to files of their own in the folder `<file>.parts`; in the end they and the old file are copied to a
new file, which takes the old one's place at once. What a kill leaves behind counts at the next run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

VERSION = 1
"""Of this layout; other layouts are refused."""

# The earliest version of HDF5's own format whose metadata carry checksums throughout.
LIBVER = ("v110", "v110")

UNITS = {
    "numbers": ("1", "atom"),
    "positions": ("Angstrom", "atom, xyz"),
    "energy": ("Ha", ""),
    "forces": ("Ha/Bohr", "atom, xyz"),
    "dipole": ("e*Bohr", "xyz"),
    "fock": ("Ha", "orbital, orbital"),
    "overlap": ("1", "orbital, orbital"),
    "density": ("electrons", "orbital, orbital"),
    "orbital_energies": ("Ha", "level"),
    "occupation": ("electrons", "level"),
    "coefficients": ("1", "orbital, level"),
}
"""Unit and axes of each dataset; for an open shell those of orbitals and levels have a first axis, spin."""

_SPINLESS = {"numbers", "positions", "energy", "forces", "dipole", "overlap"}

NOTES = {
    "units": "Hartree and Bohr, positions in Angstrom; each dataset names its own in the attribute `unit`",
    "orbital_order": "PySCF's real spherical Gaussians: atoms in the order of `numbers`, on each atom its "
    "shells as under /shells, in a shell m = -l..l, but x, y, z for l = 1; each function is normalised",
    "forces": "the negative gradient of the energy",
    "dipole": "about the origin of the positions",
    "spin": "attribute of a label: number of unpaired electrons; first axis up, down where it is not 0",
    "charge": "attribute of a label: total charge in e",
    "seconds": "attribute of a label: wall time, with integrals, and with compilation where it was the first "
    "of its size; of a batch, its share",
}

# Not `warnings`: see labels.py.
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Label:
    """One label: arrays without padding, named and in the units of `UNITS`, and its attributes."""

    arrays: Mapping[str, np.ndarray]
    attributes: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a file is to show beside its labels.

    molecules: name to key. failures: name to attributes. shells: element to angular momenta.
    """

    molecules: Mapping[str, str]
    failures: Mapping[str, Mapping[str, Any]]
    shells: Mapping[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class LabelFile:
    """An HDF5 file of labels that this process alone may write; from `open_label_file`.

    header: what all its labels share; a file with another header is refused.
    """

    path: Path
    header: Mapping[str, Any]

    @property
    def parts(self) -> Path:
        """Folder of labels that are not yet in the file."""
        return self.path.with_name(f"{self.path.name}.parts")

    def keys(self) -> set[str]:
        """Keys of all labels, in the file and beside it; a damaged part is logged and left out.

        Raises ValueError as `open_label_file` does.
        """
        return _stored_keys(self.path, self.header) | set(self._sound_parts())

    def write(self, key: str, label: Label) -> None:
        """Keep a label, complete or not at all."""
        # In memory: HDF5 itself takes a full disk badly, and leaves open files behind.
        with h5py.File(key, "w", driver="core", backing_store=False, libver=LIBVER) as file:
            file.attrs.update(self.header)
            group = file.create_group("label")
            group.attrs.update({"key": key, **label.attributes})
            for name, array in label.arrays.items():
                _write_array(group, name, np.asarray(array))
            file.flush()
            image = file.id.get_file_image()
        temporary = self.parts / f"{key}.tmp"
        with open(temporary, "wb") as raw:
            raw.write(image)
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(temporary, self.parts / f"{key}.h5")

    def merge(self, contents: Contents, notes: Mapping[str, Any]) -> None:
        """Take all parts into the file, which then shows `contents`; complete or not at all.

        notes: attributes beside the header, for a new file.
        """
        parts = self._sound_parts()
        if not parts and self.path.exists() and _shows(self.path, contents):
            return
        temporary = self.parts / "merged.tmp"
        if self.path.exists():
            shutil.copyfile(self.path, temporary)
        else:
            temporary.unlink(missing_ok=True)
        with h5py.File(temporary, "a", libver=LIBVER) as file:
            if "labels" not in file:
                file.attrs.update({**self.header, **NOTES, **notes})
            _merge_parts(file.require_group("labels"), parts)
            _show(file, contents)
        with open(temporary, "rb+") as raw:
            os.fsync(raw.fileno())
        os.replace(temporary, self.path)
        for part in parts.values():
            part.unlink()

    def _sound_parts(self) -> dict[str, Path]:
        parts = {}
        for path in sorted(self.parts.glob("*.h5")):
            try:
                with h5py.File(path) as file:
                    _check_header(path, dict(file.attrs), self.header)
                    if file["label"].attrs["key"] != path.stem:
                        raise OSError("it belongs to another label")
            except (OSError, RuntimeError, KeyError) as error:
                _log.warning("%s: not usable, computed anew (%s)", path, _one_line(error))
                continue
            parts[path.stem] = path
        return parts


@contextlib.contextmanager
def open_label_file(path: str | Path, header: Mapping[str, Any]) -> Iterator[LabelFile]:
    """A file to add labels to, new or of the same header; no other run may open it meanwhile.

    Raises ValueError, and leaves everything as it is, if the file is not of HDF5, damaged, of another header,
    or taken.
    """
    path = Path(path)
    path = path.resolve() if path.is_symlink() else path  # the link would be replaced
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a file; name one to write labels to, e.g. labels.h5")
    store = LabelFile(path, {"format": "jaxphys labels", "version": VERSION, **header})
    _stored_keys(path, store.header)  # before anything is made
    store.parts.mkdir(parents=True, exist_ok=True)
    folder = os.open(store.parts, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system ends it with the process
        except BlockingIOError:
            raise ValueError(f"another run is writing {path}; wait for it, or choose another file") from None
        for left in store.parts.glob("*.tmp"):
            left.unlink()
        yield store
    finally:
        with contextlib.suppress(OSError):  # not empty
            store.parts.rmdir()
        os.close(folder)


def _stored_keys(path: Path, header: Mapping[str, Any]) -> set[str]:
    """Keys of the labels in a file, none if there is no file."""
    if not path.exists():
        return set()
    if not h5py.is_hdf5(path):
        raise ValueError(f"{path} is not an HDF5 file; it is left as it is: choose another file")
    keys: dict[str, str] = {}
    try:
        with h5py.File(path) as file:
            attributes = dict(file.attrs)
            if attributes.get("format") == header["format"]:
                labels = file["labels"]
                keys = {key: labels[key].attrs["key"] for key in labels}  # `items` gives None for damage
    except BlockingIOError:
        raise ValueError(f"{path} is open for writing in another program; close it there") from None
    except Exception as error:  # an OSError, RuntimeError, KeyError, UnicodeDecodeError or other
        raise ValueError(
            f"{path} is damaged ({_one_line(error)}) and left as it is; move it away to start a new one"
        ) from None
    _check_header(path, attributes, header)
    return set(keys)


def _check_header(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    if found.get("format") != wanted["format"]:
        raise ValueError(f"{path} does not hold labels of jaxphys; it is left as it is: choose another file")
    for name, value in wanted.items():
        if found.get(name) != value:
            raise ValueError(
                f"{path} holds labels of {name} {found.get(name)!s}, not {value!s}; it is left as it is: "
                "choose another file, or the same settings"
            )


def _write_array(group: h5py.Group, name: str, array: np.ndarray) -> None:
    if array.ndim:
        dataset = group.create_dataset(name, data=array, fletcher32=True)
    else:
        # Checksums are for chunks, and a number has none; but in the header, it shares the header's.
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_layout(h5py.h5d.COMPACT)
        space, kind = h5py.h5s.create(h5py.h5s.SCALAR), h5py.h5t.py_create(array.dtype, logical=True)
        dataset = h5py.Dataset(h5py.h5d.create(group.id, name.encode(), kind, space, dcpl=layout))
        dataset[()] = array
    unit, axes = UNITS[name]
    open_shell = name not in _SPINLESS and array.ndim > len(axes.split(","))
    dataset.attrs.update({"unit": unit, "axes": f"spin, {axes}" if open_shell else axes})


def _merge_parts(labels: h5py.Group, parts: Mapping[str, Path]) -> None:
    for key, path in parts.items():
        if key in labels:
            continue  # a kill came between the replacement of the file and the end of its parts
        with h5py.File(path) as part:
            part.copy("label", labels, name=key)


def _show(file: h5py.File, contents: Contents) -> None:
    for name in {"molecules", "failures"} & set(file):
        del file[name]
    molecules, failures = file.create_group("molecules"), file.create_group("failures")
    for name, key in contents.molecules.items():
        molecules[name] = h5py.SoftLink(f"/labels/{key}")
    for name, attributes in contents.failures.items():
        failures.create_group(name).attrs.update(attributes)
    shells = file.require_group("shells")
    for element in set(contents.shells) - set(shells):
        shells[element] = np.array(contents.shells[element])


def _shows(path: Path, contents: Contents) -> bool:
    with h5py.File(path) as file:
        if not {"molecules", "failures"} <= set(file):
            return False
        molecules, failures = file["molecules"], file["failures"]
        links = {name: molecules.get(name, getlink=True).path for name in molecules}
        known = {name: dict(group.attrs) for name, group in failures.items()}
    wanted = {name: f"/labels/{key}" for name, key in contents.molecules.items()}
    return links == wanted and known == {name: dict(value) for name, value in contents.failures.items()}


def group_name(index: int, formula: str, last: int) -> str:
    """Name of a frame's group, e.g. 000012_CH4, that sorts as the indices up to `last` do."""
    return f"{index:0{max(6, len(str(last)))}d}_{formula}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
