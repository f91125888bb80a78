"""Opening the files of published data sets: what is missing or damaged is said in one line."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np


def existing_file(path: str | os.PathLike) -> Path:
    """The path, if it is a file. Raises FileNotFoundError."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    return path


def read_npz(path: str | os.PathLike, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of an npz file. Raises FileNotFoundError, or ValueError if it is damaged or misses a key."""
    path = existing_file(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("one array, not an archive of named ones")
            check_keys(path, file.files, keys)
            return {key: file[key] for key in keys}
    except MissingKeyError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not an npz file, or truncated ({one_line(error)})") from None


def npz_keys(path: str | os.PathLike) -> list[str]:
    """Names of the arrays of an npz file. Raises as `read_npz` does."""
    path = existing_file(path)
    try:
        with zipfile.ZipFile(path) as file:
            return [name.removesuffix(".npy") for name in file.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not an npz file, or truncated ({one_line(error)})") from None


@contextlib.contextmanager
def open_hdf5(path: str | os.PathLike) -> Iterator[h5py.File]:
    """An HDF5 file to read from.

    Raises FileNotFoundError; ValueError if it is none, or is truncated or damaged, on opening or later on.
    """
    path = existing_file(path)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(f"{path}: not an HDF5 file, truncated or damaged ({one_line(error)})") from None


class MissingKeyError(ValueError):
    """A file without an array that its format has."""


def check_keys(where: object, found: Sequence[str], keys: Sequence[str]) -> None:
    """Raise MissingKeyError, a ValueError, unless all keys are found."""
    missing = [key for key in keys if key not in found]
    if missing:
        raise MissingKeyError(f"{where}: no {', '.join(missing)}; there are {', '.join(found) or 'none'}")


def one_line(error: BaseException) -> str:
    """An exception's message without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
