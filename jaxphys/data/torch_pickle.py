"""Pickled records of torch_geometric as NumPy arrays, without torch, and without running what they ask for.

A pickle may name any function and have it called. This reader knows the few names that a record of tensors
needs, each replaced by one of its own, and refuses every other.
"""

from __future__ import annotations

import dataclasses
import io
import pickle
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001

_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}


def read_record(content: bytes) -> dict[str, Any]:
    """The fields of a pickled `torch_geometric.data.Data` of any version, tensors as NumPy arrays.

    Up to version 1 they are the object's attributes, None where unset, here left out; from 2 on a mapping in
    its storage.
    Raises ValueError if it is no such record, is damaged, or names anything but tensors, numbers and text.
    """
    record = read_pickle(content)
    if not isinstance(record, _Object):
        raise ValueError(f"expected a record of torch_geometric, got {type(record).__name__}")
    store = record.state.get("_store")
    fields = store.state.get("_mapping") if isinstance(store, _Object) else record.state
    if not isinstance(fields, dict):
        raise ValueError("a record of torch_geometric without fields")
    return {key: value for key, value in fields.items() if value is not None}


def read_pickle(content: bytes) -> Any:
    """A pickled object of numbers, text, containers, tensors and records. Raises as `read_record` does."""
    try:
        return _Unpickler(io.BytesIO(content)).load()
    except (
        pickle.UnpicklingError,
        EOFError,
        LookupError,
        TypeError,
        AttributeError,
        OverflowError,
        struct.error,
    ) as error:
        raise ValueError(f"cannot read the record ({error})") from None


class _Object:
    """A record or its storage: its state and nothing else."""

    def __init__(self):
        self.state: dict = {}

    def __new__(cls, *args):
        if args:
            raise pickle.UnpicklingError("a record made with arguments")
        self = super().__new__(cls)
        self.state = {}
        return self

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError(f"the state of a record is a {type(state).__name__}, not a dict")
        self.state = state


@dataclasses.dataclass
class _DType:
    """NumPy's dtype of a scalar: its code, such as f8."""

    code: str
    order: str = "<"

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]


def _dtype(code: str, align: bool = False, copy: bool = True) -> _DType:
    return _DType(code)


def _scalar(dtype: _DType, content: bytes) -> np.generic:
    kind = np.dtype(dtype.code)
    if not isinstance(dtype, _DType) or kind.kind not in "fiub" or dtype.order not in "<|=":
        raise pickle.UnpicklingError(f"a NumPy scalar of kind {dtype}")
    return np.frombuffer(content, dtype=kind, count=1)[0]


def _tensor(storage: np.ndarray, offset: int, size: tuple, stride: tuple, *rest: Any) -> np.ndarray:
    """A strided view of a storage, copied. rest: whether it needs gradients, and hooks."""
    if not isinstance(storage, np.ndarray) or len(size) != len(stride):
        raise pickle.UnpicklingError("a tensor without a storage of its own")
    size, stride = tuple(map(int, size)), tuple(map(int, stride))
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    empty = 0 in size
    outside = offset < 0 or min(size, default=0) < 0 or min(stride, default=0) < 0 or last >= len(storage)
    if not empty and (outside or np.prod(size, dtype=float) > len(storage)):
        raise pickle.UnpicklingError(f"a tensor of shape {size} beyond its storage of {len(storage)}")
    if empty:
        return np.zeros(size, dtype=storage.dtype)
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides).copy()


def _storage(content: bytes) -> np.ndarray:
    """A storage as torch.save wrote it before zip files: four pickles, then count and bytes of the data."""
    stream = io.BytesIO(content)
    if _StorageUnpickler(stream).load() != _MAGIC or _StorageUnpickler(stream).load() != _PROTOCOL:
        raise pickle.UnpicklingError("a tensor in another form than torch.save's of one storage")
    system = _StorageUnpickler(stream).load()
    if not system.get("little_endian"):
        raise pickle.UnpicklingError("a tensor written on a big-endian machine")
    announced = _StorageUnpickler(stream).load()
    keys = _StorageUnpickler(stream).load()
    if not isinstance(announced, _Announced) or keys != [announced.key]:
        raise pickle.UnpicklingError("a tensor with several storages")
    (count,) = struct.unpack("<q", stream.read(8))
    data = stream.read()
    if count != announced.count or len(data) != count * announced.dtype.itemsize:
        raise pickle.UnpicklingError(
            f"a tensor's storage is truncated: {len(data)} bytes for {announced.count} {announced.dtype}"
        )
    return np.frombuffer(data, dtype=announced.dtype)


@dataclasses.dataclass(frozen=True)
class _Announced:
    """What a storage says of itself ahead of its data."""

    dtype: np.dtype
    key: str
    count: int


class _StorageUnpickler(pickle.Unpickler):
    """Of the pickles in a storage: plain values, and one storage."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"a tensor of kind {module}.{name}")

    def persistent_load(self, identity: Any) -> _Announced:
        kind, dtype, key, _, count, *view = identity
        if kind != "storage" or dtype not in _STORAGES.values() or any(part is not None for part in view):
            raise pickle.UnpicklingError("a tensor's storage of another form")
        return _Announced(np.dtype(dtype), key, count)


class _Function:
    """A function that a pickle may call, and do nothing else to."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]):
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("refused: a change to a function")


_KNOWN = {
    ("torch_geometric.data.data", "Data"): _Object,
    ("torch_geometric.data.data", "DataEdgeAttr"): _Object,
    ("torch_geometric.data.data", "DataTensorAttr"): _Object,
    ("torch_geometric.data.storage", "GlobalStorage"): _Object,
    ("torch._utils", "_rebuild_tensor_v2"): _Function(_tensor),
    ("torch.storage", "_load_from_bytes"): _Function(_storage),
    ("collections", "OrderedDict"): _Function(dict),
    ("numpy", "dtype"): _Function(_dtype),
    ("numpy.core.multiarray", "scalar"): _Function(_scalar),
    ("numpy._core.multiarray", "scalar"): _Function(_scalar),
}


class _Unpickler(pickle.Unpickler):
    """Knows the names of `_KNOWN` and no other."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(
                f"refused: {module}.{name} is nothing that a record of tensors needs"
            )
        return _KNOWN[module, name]
