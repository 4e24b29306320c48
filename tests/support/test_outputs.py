"""Outputs appear whole or not at all: killed, full, forbidden."""

import contextlib
import signal
import subprocess
import sys

import pytest

from tfpriv.support import files, outputs

KILLED = """
import os, pathlib, signal, sys
from tfpriv.support import outputs
path = pathlib.Path(sys.argv[1])
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "before its name":
    os.replace = pathlib.Path.rename = die
if path.suffix:
    with outputs.atomic_file(path) as file:
        file.write(b"new")
        file.flush()
        sys.argv[2] == "half" and die()
else:
    with outputs.new_directory(path) as folder:
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
    outputs.write_json(tmp_path / "a.json", {"a": 1})
    before = (tmp_path / "a.json").read_bytes()
    with full_disk(5):
        with pytest.raises(OSError, match="large"):
            outputs.write_json(tmp_path / "a.json", {"a": 2})
        with (
            pytest.raises(OSError, match="large"),
            outputs.new_directory(tmp_path / "folder") as folder,
        ):
            (folder / "b").write_text("more than fits")
    assert (tmp_path / "a.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_read_only_folder_stays_as_it_was(read_only):
    outputs.write_json(read_only.folder / "a.json", {"a": 1})
    with read_only as folder:
        with pytest.raises(PermissionError):
            outputs.write_json(folder / "a.json", {"a": 2})
        with pytest.raises(PermissionError), outputs.new_directory(folder / "new"):
            raise AssertionError("the folder was made")
        assert files.read_json(folder / "a.json") == {"a": 1}
        assert [path.name for path in folder.iterdir()] == ["a.json"]


def test_a_new_folder_goes_where_a_link_leads(tmp_path):
    (tmp_path / "there").mkdir()
    for name in ("there", "not yet"):
        link = tmp_path / f"link to {name}"
        link.symlink_to(tmp_path / name)
        with outputs.new_directory(link) as folder:
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
            outputs.check_new(path)
    with read_only as folder, pytest.raises(PermissionError, match="written into"):
        outputs.check_new(folder / "run" / "1")


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
            outputs.check_output(output, None, given)
    outputs.check_output(tmp_path / "new", photo)
    outputs.check_output(tmp_path / "links.png", photo, tmp_path / "none")
    outputs.check_output(tmp_path, photo.parent)  # its files lie in a folder below


def test_a_bad_place_for_a_file_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("old")
    bad = {
        tmp_path: "a folder",
        tmp_path / "none" / "a.json": "no such folder",
        tmp_path / "file" / "a.json": "is none",
    }
    for path, message in bad.items():
        with pytest.raises(OSError, match=message):
            outputs.check_output_file(path)
    outputs.check_output_file(tmp_path / "file")
    outputs.check_output_file(tmp_path / "new.json", tmp_path / "file")
    with pytest.raises(ValueError, match="replace what is read"):
        outputs.check_output_file(tmp_path / "file", tmp_path / "file")


def test_a_new_file_replaces_nothing(tmp_path):
    path = tmp_path / "a.txt"
    for content in (b"first", b"second"):
        with (
            contextlib.suppress(FileExistsError),
            outputs.atomic_file(path, private=True, durable=True, new=True) as file,
        ):
            file.write(content)
    assert path.read_bytes() == b"first"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
    with outputs.atomic_file(path, durable=True) as file:
        file.write(b"third")
    assert path.read_bytes() == b"third"


def test_a_folder_is_resumed_with_the_same_settings_only(tmp_path):
    path = tmp_path / "out" / outputs.SETTINGS
    outputs.take_up(path, {"seed": 1, "sizes": (2, 3)})
    outputs.take_up(path, {"seed": 1, "sizes": (2, 3)})
    assert outputs.is_taken_up(path)
    with pytest.raises(ValueError, match="seed differed"):
        outputs.take_up(path, {"seed": 2, "sizes": (2, 3)})
    (tmp_path / "other.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds other files"):
        outputs.take_up(tmp_path / outputs.SETTINGS, {})


def test_a_folder_that_is_not_replaced_comes_back(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt), outputs.moved_aside(folder):
        raise KeyboardInterrupt
    assert (folder / "a").read_text() == "old"
    with outputs.moved_aside(folder):
        folder.mkdir()
    assert list(tmp_path.iterdir()) == [folder]
    assert not list(folder.iterdir())


def test_a_folder_stays_until_its_replacement_is_complete(tmp_path):
    folder = tmp_path / "run"
    for content in ("old", "new"):
        with outputs.replaced_directory(folder) as made:
            made.mkdir()
            assert folder.exists() == (content == "new")
            (made / "a").write_text(content)
    with (  # a folder that cannot be completed
        pytest.raises(FileNotFoundError),
        outputs.replaced_directory(folder) as made,
    ):
        (made / "a").write_text("half")
    assert (folder / "a").read_text() == "new"
    assert list(tmp_path.iterdir()) == [folder]
