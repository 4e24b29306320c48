"""Writes files as PyTorch and NVlabs' code do, without either.

Python pickles classes and functions by name and looks whether the name leads back to
them: modules of these names stand in while a file is written.
"""

import collections
import contextlib
import io
import pickle
import sys
import types
import zipfile
from pathlib import Path
from unittest import mock

import numpy as np

STORAGES = {
    "f8": "DoubleStorage",
    "f4": "FloatStorage",
    "f2": "HalfStorage",
    "i8": "LongStorage",
    "u1": "ByteStorage",
    "b1": "BoolStorage",
}


@contextlib.contextmanager
def modules(**members):
    """Modules in `sys.modules` for a while: from dotted name to a dict of members."""
    made = {}
    for name, content in members.items():
        module = types.ModuleType(name)
        for key, value in content.items():
            value.__module__, value.__qualname__ = name, key
            setattr(module, key, value)
        made[name] = module
    with mock.patch.dict(sys.modules, made):
        yield


class _Tensor:
    def __init__(self, array, key, rebuild):
        self.array, self.key, self.rebuild = np.asarray(array), key, rebuild

    def __reduce__(self):
        array = self.array
        strides = tuple(step // array.itemsize for step in array.strides)
        storage = _Storage(self.array, self.key)
        hooks = collections.OrderedDict()
        return self.rebuild, (storage, 0, array.shape, strides, False, hooks)


class _Storage:
    def __init__(self, array, key):
        self.array, self.key = array, key


def write_torch(path, arrays, *, legacy=False, others=None):
    """Writes arrays as `torch.save` does a `state_dict`.

    Args:
        path: Where to.
        arrays: Dict from name to array.
        legacy: The format of PyTorch before 1.6.
        others: Further entries that are no tensors.
    """

    def rebuild():
        raise AssertionError("stands for torch's function")

    kinds = {name: type(name, (), {}) for name in STORAGES.values()}

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if not isinstance(value, _Storage):
                return None
            kind = kinds[STORAGES[value.array.dtype.str[1:]]]
            rest = (None,) if legacy else ()
            return "storage", kind, value.key, "cpu", value.array.size, *rest

    content = collections.OrderedDict(
        (
            name,
            _Tensor(
                np.ascontiguousarray(array).reshape(np.shape(array)), str(key), rebuild
            ),
        )
        for key, (name, array) in enumerate(arrays.items())
    )
    content.update(others or {})
    stream = io.BytesIO()
    with modules(**{"torch": kinds, "torch._utils": {"_rebuild_tensor_v2": rebuild}}):
        Pickler(stream, protocol=2).dump(content)
    write = _write_legacy if legacy else _write_zip
    write(Path(path), stream.getvalue(), list(arrays.values()))


def _write_zip(path, pickled, arrays):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        for key, array in enumerate(arrays):
            archive.writestr(f"archive/data/{key}", np.asarray(array).tobytes())
        archive.writestr("archive/version", "3\n")


def _write_legacy(path, pickled, arrays):
    with open(path, "wb") as file:
        sizes = {"short": 2, "int": 4, "long": 4}
        system = {"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}
        for part in (0x1950A86A20F9469CFC6C, 1001, system):
            pickle.dump(part, file, protocol=2)
        file.write(pickled)
        pickle.dump([str(key) for key in range(len(arrays))], file, protocol=2)
        for array in arrays:
            file.write(np.asarray(np.size(array), "<i8").tobytes())
            file.write(np.asarray(array).tobytes())


def write_nvlabs(path, variables, options=None, *, source="raise SystemExit", **state):
    """Writes `(G, D, Gs)` as NVlabs' code pickles them; G and D are empty.

    Args:
        path: Where to.
        variables: Dict from part (`""`, `"mapping"`, `"synthesis"`) to a dict of its
            arrays by name.
        options: Arguments that the networks were built with.
        source: The source code that their pickles carry.
        state: Changes of the generator's state.
    """
    network = type("Network", (), {})
    dictionary = type("EasyDict", (dict,), {})

    def made(name, **changes):
        one = network()
        one.__dict__ = {
            "version": 3,
            "name": name,
            "static_kwargs": dictionary(options or {}),
            "components": {},
            "build_module_src": source,
            "build_func_name": name,
            "variables": list(variables.get(name, {}).items()),
        } | changes
        return one

    with modules(
        **{
            "dnnlib": {},
            "dnnlib.util": {"EasyDict": dictionary},
            "dnnlib.tflib": {},
            "dnnlib.tflib.network": {"Network": network},
        }
    ):
        parts = {name: made(name) for name in ("mapping", "synthesis")}
        whole = made("", **({"components": parts} | state))
        networks = (made("G"), made("D"), whole)
        Path(path).write_bytes(pickle.dumps(networks, protocol=4))
