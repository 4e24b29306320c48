"""Hostile arrays and JSON are one error; copies are found."""

import io
import zipfile

import numpy as np
import pytest

from tfpriv.support import files


def header(shape):
    """An array's file that promises a shape and holds nothing."""
    file = io.BytesIO()
    what = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, what)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        header((10**14,)),  # 400 TB
        header((2**62, 2**62)),
        header((-5,)),
        header((3,)),
        b"",
        b"\x93NUMPY\x01\x00\xff\xff{",
        b"no array",
    ],
)
def test_hostile_arrays_are_one_error(tmp_path, content):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(ValueError, match=r"damaged.*Received: .*a\.npz"):
        files.read_arrays(tmp_path / "a.npz")


def test_one_array_is_no_archive(tmp_path):
    (tmp_path / "a.npz").write_bytes(header((0,)))
    with pytest.raises(ValueError, match=r"damaged.*Received: .*a\.npz"):
        files.read_arrays(tmp_path / "a.npz")


def test_objects_in_arrays_are_never_read(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{}, None]))
    with pytest.raises(ValueError, match=r"may run code.*a\.npz"):
        files.read_arrays(tmp_path / "a.npz")


def npy(text):
    """An .npy file with this instead of a header."""
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        npy(b"{'descr': '<f8', 'shape': (1: (1, 4), }   \n"),  # tokenize.TokenError
        npy(b"{'descr': '<,f8', 'fortran_order': False, 'shape': (1,), }\n"),
        npy(b"  {\n a\n  b\n"),  # IndentationError
        npy(b"{'descr': '<U0', 'fortran_order': False, 'shape': (2147483648,), }\n"),
        npy(b"{'descr': '<U1', 'fortran_order': False, 'shape': (1,), }\n")
        + b"\xff" * 4,
    ],
)
def test_other_errors_of_numpys_readers(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged.*Received: .*a\.npy"):
        files.read_array(tmp_path / "a.npy")


@pytest.mark.parametrize(("offset", "value"), [(6, 1), (8, 99), (4, 250)])
def test_archives_of_kinds_that_are_not_read(tmp_path, offset, value):
    """Encrypted, compressed otherwise, of a later version."""
    path = tmp_path / "a.npz"
    np.savez(path, x=np.ones(3))
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\1\2")
    content[offset] = content[directory + 2 + offset] = value
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged.*Received: .*a\.npz"):
        files.read_arrays(path)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000])
def test_what_is_no_json_object(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"Received: .*a\.json"):
        files.read_json(tmp_path / "a.json")


@pytest.mark.parametrize("name", ["", "..", ".", "/a", "a/b", "../a", "a/", "/"])
def test_names_that_lead_elsewhere(name):
    assert not files.is_plain_name(name)
    assert files.is_plain_name("a.b..c")


@pytest.mark.parametrize("order", "<>")
def test_characters_that_do_not_exist_are_refused(tmp_path, order):
    names = np.array(["ab", "c"], f"{order}U2")
    np.savez(tmp_path / "a.npz", names=names)
    np.testing.assert_array_equal(files.read_arrays(tmp_path / "a.npz")["names"], names)
    names.view(f"{order}u4")[1] = 0x110000
    np.savez(tmp_path / "a.npz", names=names)
    with pytest.raises(ValueError, match=r"damaged.*a\.npz"):
        files.read_arrays(tmp_path / "a.npz")


def test_copies_are_found_by_their_content(tmp_path):
    contents = [b"a" * 9000, b"b" + b"a" * 8999, b"a" * 9000, b"", b"", b"a" * 8999]
    paths = [tmp_path / str(i) for i in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    (tmp_path / "link").symlink_to(paths[1])
    paths.append(tmp_path / "link")
    found = files.same_contents(paths)
    assert [[p.name for p in group] for group in found] == [
        ["0", "2"],
        ["1", "link"],
        ["3", "4"],
    ]
    assert files.same_contents(map(str, paths[:2])) == []


def test_only_files_that_may_be_copies_are_read_whole(tmp_path, monkeypatch):
    read = []
    real = files._digest
    monkeypatch.setattr(files, "_digest", lambda p: read.append(p.name) or real(p))
    for name, content in {"a": b"xy", "b": b"xyz", "c": b"ab", "d": b"xy"}.items():
        (tmp_path / name).write_bytes(content)
    files.same_contents(sorted(tmp_path.iterdir()))
    assert read == ["a", "d"]


def test_equal_rows_are_found():
    rows = np.array([[1, 2], [1, 3], [1, 2], [1, 2]], "uint8")
    assert files.same_rows(rows) == [[0, 2, 3]]
    assert files.same_rows(rows[:2]) == []
