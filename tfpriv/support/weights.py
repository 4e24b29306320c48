"""Weights: their digest, and arrays out of PyTorch's files and pickles.

A pickle is a program. These readers run it with a table of a few harmless functions of
our own in place of everything that it may name; any other name ends the reading. No
class of a file is imported, no code in it is run, and PyTorch is not needed.
"""

import hashlib
import io
import math
import os
import pickle
import pickletools
import types
import zipfile
from pathlib import Path

import numpy as np

_STORAGES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # begins files of PyTorch before 1.6
_LEGACY_VERSION = 1001
_MEMO = {"PUT", "BINPUT", "LONG_BINPUT"}
_EXTENSIONS = {"EXT1", "EXT2", "EXT4"}


class _Refused(pickle.UnpicklingError):
    """The file asks for something that is not an array."""


class Record:
    """What an object of a pickle was: its class's name and its state, nothing more.

    Args:
        kind: Module and name of the class, as the file has it.
        state: What the object was to be restored from.
    """

    kind = ""
    state = None

    def __setstate__(self, state):
        self.state = state


def digest_of(variables):
    """SHA-256 over the values of Keras variables, in order."""
    digest = hashlib.sha256()
    for variable in variables:
        value = np.ascontiguousarray(np.asarray(variable))
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def read_torch(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of a `state_dict` that PyTorch saved, in either of its formats.

    Args:
        path: File that `torch.save` wrote; tensors only, by their names.

    Returns:
        Dict from name to array.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, or holds something else than tensors; nothing of it
            was executed.
    """
    path = _existing(path)
    try:
        if zipfile.is_zipfile(path):
            found = _read_torch_zip(path)
        else:
            found = _read_torch_legacy(path)
        return _tensors(found)
    except _Refused as refusal:
        raise ValueError(f"{refusal} Received: {path}") from refusal
    except Exception as error:  # what damaged bytes lead to can be anything
        raise ValueError(_damaged("PyTorch file", error, path)) from error


def read_pickle(
    path: str | os.PathLike,
    records: tuple[str, ...] = (),
    dictionaries: tuple[str, ...] = (),
):
    """Plain values and arrays of a pickle; objects of named classes become `Record`s.

    Args:
        path: A pickle.
        records: Classes, as `"module.Name"`, whose objects may occur.
        dictionaries: Classes of dictionaries that may occur; they become `dict`s.

    Returns:
        What was pickled: numbers, strings, bytes, lists, tuples, dicts, sets, NumPy
        arrays and scalars, and `Record`s.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, or asks for anything else; nothing was executed.
    """
    path = _existing(path)
    table = _numpy_table() | {
        tuple(name.rsplit(".", 1)): _record_class(name) for name in records
    }
    for name in ("collections.OrderedDict", *dictionaries):
        table[tuple(name.rsplit(".", 1))] = type("Dictionary", (dict,), {})
    try:
        return _restored(_load(io.BytesIO(path.read_bytes()), table))
    except _Refused as refusal:
        raise ValueError(f"{refusal} Received: {path}") from refusal
    except Exception as error:
        raise ValueError(_damaged("pickle", error, path)) from error


def _existing(path):
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no such file. Received: {path}")
    return path


def _damaged(what, error, path):
    return (
        f"The file is no {what}, or damaged ({type(error).__name__}: {error}). "
        f"Received: {path}"
    )


# --- Pickles ---


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream, table, persistent=None):
        super().__init__(stream)
        self._table, self._persistent = table, persistent

    def find_class(self, module, name):
        if (module, name) not in self._table:
            raise _Refused(
                f"The file asks for `{module}.{name}`, which is neither an array nor a "
                "plain value. Nothing was executed."
            )
        return self._table[module, name]

    def persistent_load(self, identifier):
        if self._persistent is None:
            raise _Refused("The file refers to objects outside of it.")
        return self._persistent(identifier)


def _load(stream, table, persistent=None):
    """One pickle of a stream, which then stands behind it."""
    start = stream.tell()
    _check_opcodes(stream)
    stream.seek(start)
    return _Unpickler(stream, table, persistent).load()


def _check_opcodes(stream):
    """Refuses what a table of names cannot: registered extensions, huge memos."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if opcode.name in _EXTENSIONS:
            raise _Refused("The file asks for a registered extension.")
        if opcode.name in _MEMO and argument > count:
            raise _Refused("The file numbers its objects as no pickle does.")


def _record_class(name):
    # New for each reading: a pickle may set attributes of whatever its table holds.
    return type("Record", (Record,), {"kind": name})


class _Array:
    """A NumPy array that is still to be rebuilt."""

    def __setstate__(self, state):
        _, self.shape, self.dtype, self.column_major, self.content = state

    def rebuilt(self):
        order = "F" if self.column_major else "C"
        return _from_bytes(self.content, self.dtype, self.shape, order)


class _Dtype:
    """A NumPy dtype of a pickle: its code and byte order."""

    def __init__(self, code, align=False, copy=False):
        self.code, self.order = code, "="

    def __setstate__(self, state):
        self.order = state[1]

    def plain(self):
        """The dtype, if it is one of numbers."""
        dtype = np.dtype(self.code) if isinstance(self.code, str) else None
        if dtype is None or dtype.kind not in "biuf" or dtype.names:
            raise _Refused("The file holds an array of something else than numbers.")
        return dtype if self.order == "|" else dtype.newbyteorder(self.order)


def _from_bytes(content, dtype, shape, order):
    dtype, size = dtype.plain(), math.prod(shape)
    if min(shape, default=0) < 0 or len(content) != size * dtype.itemsize:
        raise ValueError(f"{len(content)} bytes for an array of shape {shape}")
    array = np.frombuffer(bytes(content), dtype).reshape(shape, order=order)
    return array.astype(dtype.newbyteorder("="))


def _numpy_table():
    """Stand-ins for what NumPy's arrays and scalars are pickled as."""

    class Array(_Array):
        pass

    class Dtype(_Dtype):
        pass

    def reconstruct(*_):
        return Array()

    def scalar(dtype, content):
        return _from_bytes(content, dtype, (), "C")[()]

    def from_buffer(content, dtype, shape, order):
        return _from_bytes(content, dtype, shape, order)

    def encode(text, encoding):
        if encoding != "latin1":
            raise _Refused("The file asks for an encoding.")
        return text.encode("latin1")

    def no_bytes():
        return b""

    table = {
        ("numpy", "ndarray"): Array,
        ("numpy", "dtype"): Dtype,
        ("_codecs", "encode"): encode,  # how protocol 2 writes bytes,
        ("__builtin__", "bytes"): no_bytes,  # and none
    }
    for core in ("numpy.core", "numpy._core"):
        table[f"{core}.multiarray", "_reconstruct"] = reconstruct
        table[f"{core}.multiarray", "scalar"] = scalar
        table[f"{core}.numeric", "_frombuffer"] = from_buffer
    return table


def _restored(value, done=None):
    """A pickle's content with arrays for what stands for arrays."""
    done = {} if done is None else done
    if id(value) in done:
        return done[id(value)][0]
    result = value
    if isinstance(value, _Array):
        result = value.rebuilt()
    elif isinstance(value, dict):
        result = {}
    elif isinstance(value, list):
        result = []
    # The value is kept as well, so that its id is not given to another.
    done[id(value)] = result, value
    if isinstance(value, dict):
        result.update(
            (_restored(k, done), _restored(v, done)) for k, v in value.items()
        )
    elif isinstance(value, list):
        result.extend(_restored(item, done) for item in value)
    elif isinstance(value, tuple):
        result = tuple(_restored(item, done) for item in value)
    elif isinstance(value, Record):
        value.state = _restored(value.state, done)
    return result


# --- PyTorch ---


class _Storage:
    """Numbers that tensors are views of; read after the pickle."""

    def __init__(self, dtype, key, size):
        self.dtype, self.key, self.size = dtype, key, size
        self.values = None

    def fill(self, content):
        if len(content) != self.size * self.dtype.itemsize:
            raise ValueError(f"storage {self.key!r} has {len(content)} bytes")
        self.values = np.frombuffer(content, self.dtype)


class _Tensor:
    """A view of a storage, as a pickle describes it."""

    def __init__(self, storage, offset, shape, strides):
        self.storage, self.offset = storage, offset
        self.shape, self.strides = tuple(shape), tuple(strides)

    def array(self):
        values, shape, strides = self.storage.values, self.shape, self.strides
        numbers = (self.offset, *shape, *strides)
        if len(shape) != len(strides) or any(
            type(number) is not int or number < 0 for number in numbers
        ):
            raise ValueError(f"a tensor of shape {shape}, strides {strides}")
        size = math.prod(shape)
        last = self.offset + sum(
            (n - 1) * step for n, step in zip(shape, strides, strict=True)
        )
        if size > len(values) or (size and last >= len(values)):
            raise ValueError(f"a tensor of shape {shape} outside of its storage")
        if not size:
            return np.zeros(shape, values.dtype)
        steps = [step * values.itemsize for step in strides]
        view = np.lib.stride_tricks.as_strided(values[self.offset :], shape, steps)
        return np.array(view, order="C")


def _torch_table():
    """Stand-ins for what PyTorch's `state_dict`s are pickled as."""

    def tensor(storage, offset, shape, strides, *_):
        if not isinstance(storage, _Storage):
            raise ValueError("a tensor without a storage")
        return _Tensor(storage, offset, shape, strides)

    def parameter(content, *_):
        return content

    table = {
        ("torch", name): types.SimpleNamespace(dtype=dtype)
        for name, dtype in _STORAGES.items()
    }
    return table | {
        ("torch._utils", "_rebuild_tensor_v2"): tensor,
        ("torch._utils", "_rebuild_parameter"): parameter,
        ("collections", "OrderedDict"): type("Dictionary", (dict,), {}),
    }


def _storages():
    """The storages by their keys, and the function that a pickle finds them with."""
    known = {}

    def find(identifier):
        what, kind, key, _, size, *view = identifier
        if what != "storage" or (view and view[0] is not None):
            raise _Refused("The file refers to something else than a storage.")
        if key not in known:
            known[key] = _Storage(kind.dtype, key, size)
        return known[key]

    return known, find


def _read_torch_zip(path):
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if n.endswith("/data.pkl")]
        (name,) = names or [""]
        folder = name.removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and (
            archive.read(f"{folder}byteorder") != b"little"
        ):
            raise ValueError("its numbers are big-endian")
        known, find = _storages()
        table = _torch_table()
        found = _load(io.BytesIO(_stored(archive, name)), table, find)
        for key, storage in known.items():
            storage.fill(_stored(archive, f"{folder}data/{key}"))
    return found


def _stored(archive, name):
    """A member as it lies in the file: PyTorch compresses none, which could swell."""
    member = archive.getinfo(name)
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    return archive.read(member)


def _read_torch_legacy(path):
    with open(path, "rb") as stream:
        if _load(stream, {}) != _LEGACY_MAGIC or _load(stream, {}) != _LEGACY_VERSION:
            raise ValueError("it does not begin as one")
        if not _load(stream, {}).get("little_endian", True):
            raise ValueError("its numbers are big-endian")
        known, find = _storages()
        found = _load(stream, _torch_table(), find)
        for key in _load(stream, {}):
            storage = known[key]
            (size,) = np.frombuffer(stream.read(8), "<i8")
            if size != storage.size:
                raise ValueError(f"storage {key!r} has another size")
            storage.fill(stream.read(int(size) * storage.dtype.itemsize))
    return found


def _tensors(found):
    if not isinstance(found, dict):
        raise _Refused("The file holds something else than a dictionary of tensors.")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, _Tensor):
            raise _Refused(f"The entry {name!r} of the file is no tensor.")
    return {name: tensor.array() for name, tensor in found.items()}
