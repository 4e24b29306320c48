"""Readers of foreign weights: arrays come out as they went in, and nothing else."""

import collections
import contextlib
import io
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfpriv.support import weights

sys.path.insert(0, str(Path(__file__).parents[1] / "networks" / "stylegan"))

import foreign_files

DTYPES = ["<f8", "<f4", "<f2", "<i8", "u1", "?"]


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    found = {dtype: (9 * rng.normal(size=(2, 3))).astype(dtype) for dtype in DTYPES}
    return found | {"scalar": np.float32(2.5), "empty": np.zeros((0, 4), "<f4")}


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_as_they_were_saved(arrays, tmp_path, legacy):
    foreign_files.write_torch(tmp_path / "a.pth", arrays, legacy=legacy)
    found = weights.read_torch(tmp_path / "a.pth")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == np.asarray(array).dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_pickles(arrays, tmp_path, protocol):
    arrays |= {"turned": np.asfortranarray(arrays["<f4"]), "big": np.ones(3, ">f4")}
    content = collections.OrderedDict(arrays), (1, "two", b"three", [None, True, 4.5])
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol))
    found, rest = weights.read_pickle(tmp_path / "a.pkl")
    assert rest == content[1]
    assert type(found) is dict
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_what_is_met_twice_is_restored_once(tmp_path):
    array = np.arange(4.0)
    content = {"a": array, "b": [array, array]}
    content["self"] = content
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    found = weights.read_pickle(tmp_path / "a.pkl")
    assert found["self"] is found
    assert found["a"] is found["b"][0] is found["b"][1]


def view(path, offset, shape, strides, numbers=12):
    """A PyTorch file of one view of a storage, as given."""
    pickled = io.BytesIO()

    def rebuild():
        raise AssertionError

    storage, kind = object(), type("FloatStorage", (), {})

    class Tensor:
        def __reduce__(self):
            return rebuild, (storage, offset, shape, strides, False, {})

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", kind, "0", "cpu", numbers) if value is storage else None

    members = {"torch": {"FloatStorage": kind}}
    members["torch._utils"] = {"_rebuild_tensor_v2": rebuild}
    with foreign_files.modules(**members):
        Pickler(pickled, 2).dump({"a": Tensor()})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", pickled.getvalue())
        archive.writestr("x/data/0", np.arange(12, dtype="<f4").tobytes())
    return path


def test_views_of_a_storage(tmp_path):
    found = weights.read_torch(view(tmp_path / "a.pth", 1, (3, 2), (1, 4)))["a"]
    np.testing.assert_array_equal(found, [[1, 5], [2, 6], [3, 7]])


@pytest.mark.parametrize(
    ("offset", "shape", "strides", "numbers"),
    [
        (0, (13,), (1,), 12),
        (1, (3, 4), (4, 1), 12),
        (-1, (2,), (1,), 12),
        (0, (2,), (-1,), 12),
        (0, (10**12,), (0,), 12),  # would be 4 TB
        (0, (2, 2), (1,), 12),
        (0, (2,), (1,), 13),  # more than the storage holds
        (0, (1.5,), (1,), 12),
    ],
)
def test_views_outside_of_a_storage_are_refused(
    tmp_path, offset, shape, strides, numbers
):
    with pytest.raises(ValueError, match="damaged"):
        weights.read_torch(view(tmp_path / "a.pth", offset, shape, strides, numbers))


def test_compressed_storages_are_refused(arrays, tmp_path):
    foreign_files.write_torch(tmp_path / "a.pth", arrays)
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match="compressed"):
        weights.read_torch(tmp_path / "b.pth")


def test_entries_that_are_no_tensors_are_named(arrays, tmp_path):
    foreign_files.write_torch(tmp_path / "a.pth", arrays, others={"epoch": 3})
    with pytest.raises(ValueError, match="'epoch' of the file is no tensor"):
        weights.read_torch(tmp_path / "a.pth")


REFUSED = {
    "a function": b"cbuiltins\neval\n(S'1'\ntR.",
    "an import": b"cposix\nsystem\n.",
    "a class by its parts": b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    "an attribute's attribute": b"\x80\x04\x8c\x05numpy\x8c\x0bndarray.tofile\x93.",
    "an old instance": b"(S'1'\niposix\nsystem\n.",
    "an extension": b"\x80\x02\x82\x01.",
    "a huge memo": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "an object elsewhere": b"\x80\x02NQ.",
    "an array of objects": pickle.dumps(np.array([{}, None], dtype=object)),
    "an array of records": pickle.dumps(np.zeros(2, "f4,f4")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_everything_else_is_refused(tmp_path, name):
    (tmp_path / "a.pkl").write_bytes(REFUSED[name])
    with pytest.raises(ValueError, match=r"Received: .*a\.pkl"):
        weights.read_pickle(tmp_path / "a.pkl")


def test_a_file_cannot_spoil_the_next_one(tmp_path):
    """BUILD sets attributes of whatever lies on the stack, our stand-ins included."""
    spoiled = b"\x80\x02cnumpy\ndtype\nN}X\x05\x00\x00\x00plainNs\x86b."
    (tmp_path / "a.pkl").write_bytes(spoiled)
    with contextlib.suppress(ValueError):
        weights.read_pickle(tmp_path / "a.pkl")
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(np.arange(3.0)))
    np.testing.assert_array_equal(weights.read_pickle(tmp_path / "b.pkl"), [0, 1, 2])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damage_is_a_value_error_or_harmless(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damage")
    if data.draw(st.booleans()):
        path, read = folder / "a.pkl", weights.read_pickle
        path.write_bytes(pickle.dumps({"a": np.arange(5.0), "b": ("c", 1)}, 4))
    else:
        path, read = folder / "a.pth", weights.read_torch
        legacy = data.draw(st.booleans())
        foreign_files.write_torch(path, {"a": np.arange(5.0)}, legacy=legacy)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(ValueError):
        read(path)


def test_no_file(tmp_path):
    for read in (weights.read_torch, weights.read_pickle):
        with pytest.raises(FileNotFoundError, match="Received"):
            read(tmp_path / "none")
