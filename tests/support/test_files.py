"""Results appear whole or not at all: killed, full, forbidden; hostile arrays."""

import io
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from tfpriv.support import files

KILLED = """
import os, pathlib, signal, sys
from tfpriv.support import files
path = pathlib.Path(sys.argv[1])
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "before its name":
    os.replace = pathlib.Path.rename = die
if path.suffix:
    with files.atomic_file(path) as file:
        file.write(b"new")
        file.flush()
        sys.argv[2] == "half" and die()
else:
    with files.new_directory(path) as folder:
        (folder / "a").write_text("new")
        sys.argv[2] == "half" and die()
"""


@pytest.mark.parametrize("when", ["half", "before its name"])
@pytest.mark.parametrize("name", ["old.txt", "new.txt", "folder"])
def test_a_kill_leaves_what_was_there(tmp_path, name, when):
    (tmp_path / "old.txt").write_text("old")
    command = [sys.executable, "-c", KILLED, str(tmp_path / name), when]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert (tmp_path / "old.txt").read_text() == "old"
    left = {path.name for path in tmp_path.iterdir()}
    assert {name for name in left if name[0] != "."} == {"old.txt"}
    assert len(left) == 2  # a hidden file or folder, under no name that is read


def test_a_disk_that_fills_up_leaves_what_was_there(tmp_path, full_disk):
    files.write_json(tmp_path / "a.json", {"a": 1})
    before = (tmp_path / "a.json").read_bytes()
    with full_disk(5):
        with pytest.raises(OSError, match="large"):
            files.write_json(tmp_path / "a.json", {"a": 2})
        with (
            pytest.raises(OSError, match="large"),
            files.new_directory(tmp_path / "folder") as folder,
        ):
            (folder / "b").write_text("more than fits")
    assert (tmp_path / "a.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_read_only_folder_stays_as_it_was(read_only):
    files.write_json(read_only.folder / "a.json", {"a": 1})
    with read_only as folder:
        with pytest.raises(PermissionError):
            files.write_json(folder / "a.json", {"a": 2})
        with pytest.raises(PermissionError), files.new_directory(folder / "new"):
            raise AssertionError("the folder was made")
        assert files.read_json(folder / "a.json") == {"a": 1}
        assert [path.name for path in folder.iterdir()] == ["a.json"]


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


def test_a_new_folder_goes_where_a_link_leads(tmp_path):
    (tmp_path / "there").mkdir()
    for name in ("there", "not yet"):
        link = tmp_path / f"link to {name}"
        link.symlink_to(tmp_path / name)
        with files.new_directory(link) as folder:
            (folder / "a").write_text("new")
        assert (tmp_path / name / "a").read_text() == "new"
        assert link.is_symlink()


def test_a_bad_place_for_a_new_folder_is_refused_before_the_work(
    tmp_path, read_only, monkeypatch
):
    (tmp_path / "file").write_text("old")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    bad = {
        tmp_path / "file": "exists already",
        tmp_path / "loop": "exists already",
        tmp_path / "file" / "run" / "1": "is none",
        ".": "name one inside",
    }
    for path, message in bad.items():
        with pytest.raises(OSError, match=message):
            files.check_new(path)
    with read_only as folder, pytest.raises(PermissionError, match="written into"):
        files.check_new(folder / "run" / "1")


def test_an_output_is_none_of_the_inputs_by_any_name(tmp_path):
    photo, link = tmp_path / "a" / "photo.png", tmp_path / "link.png"
    photo.parent.mkdir()
    photo.write_bytes(b"a photograph")
    link.symlink_to(photo)
    hard = tmp_path / "hard.png"
    hard.hardlink_to(photo)
    (tmp_path / "links").symlink_to(photo.parent)
    same = [
        (photo, photo),
        (link, photo),
        (photo, link),
        (hard, photo),
        (photo.parent, photo),  # where NAME.png would be written
        (photo.parent, link),
        (tmp_path, link),
        (tmp_path / "links", photo.parent),
    ]
    for output, given in same:
        with pytest.raises(ValueError, match="replace what is read"):
            files.check_output(output, None, given)
    files.check_output(tmp_path / "new", photo)
    files.check_output(tmp_path / "links.png", photo, tmp_path / "none")
    files.check_output(tmp_path, photo.parent)  # its files lie in a folder below


def test_a_bad_place_for_a_file_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("old")
    bad = {
        tmp_path: "a folder",
        tmp_path / "none" / "a.json": "no such folder",
        tmp_path / "file" / "a.json": "is none",
    }
    for path, message in bad.items():
        with pytest.raises(OSError, match=message):
            files.check_output_file(path)
    files.check_output_file(tmp_path / "file")
    files.check_output_file(tmp_path / "new.json", tmp_path / "file")
    with pytest.raises(ValueError, match="replace what is read"):
        files.check_output_file(tmp_path / "file", tmp_path / "file")


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
