"""Folders: the whole tree there and back, past what is broken, nothing half-written."""

import base64
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from viewing import pixels_of

from tfpriv.shuffling import Key, jobs

PICTURES = {
    "a.png",
    "b.png",
    "cats/c.png",
    "cats/d.png",
    "cats/black/e.png",
    "cats/black/f.png",
}


def tree(root) -> set[str]:
    """The files below a folder."""
    found = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)) for path in found}


@pytest.mark.parametrize("fixed", [True, False])
def test_a_folder_there_and_back(folder, tmp_path, key, fixed):
    shuffled, back = tmp_path / "shuffled", tmp_path / "new" / "back"
    seen = []
    report = jobs.protect(
        folder, shuffled, key, fixed=fixed, progress=lambda *at: seen.append(at)
    )
    assert report == (6, [], 2, 0, ())
    assert seen[-1] == (6, 6)
    assert tree(shuffled) == PICTURES
    report = jobs.unprotect(shuffled, back, key)
    assert report == (6, [], 0, 6, ())
    assert tree(back) == PICTURES
    for path in folder.rglob("*.*"):
        if path.suffix == ".csv" or path.name.startswith("."):
            continue
        name = path.relative_to(folder).with_suffix(".png")
        plain, hidden = pixels_of(path), pixels_of(shuffled / name)
        np.testing.assert_array_equal(pixels_of(back / name), plain)
        # All in place with probability 1 / 108!, but for equal pixels.
        assert (hidden != plain).any()
        # The same pixels, elsewhere.
        one, other = (
            sorted(map(tuple, array.reshape(-1, array.shape[-1])))
            for array in (hidden, plain)
        )
        assert one == other


def test_links_to_folders_are_counted_among_what_is_left_out(folder, tmp_path, key):
    before = jobs.protect(folder, tmp_path / "a", key).others
    (folder / "link").symlink_to(folder / "cats")
    assert jobs.protect(folder, tmp_path / "b", key).others == before + 1


def test_a_single_picture(folder, tmp_path, key):
    jobs.protect(folder / "b.jpg", tmp_path / "new" / "x.png", key)
    jobs.unprotect(tmp_path / "new" / "x.png", tmp_path / "y.PNG", key)
    np.testing.assert_array_equal(
        pixels_of(tmp_path / "y.PNG"), pixels_of(folder / "b.jpg")
    )


def test_what_is_broken_is_named_and_the_rest_done(folder, tmp_path, key):
    whole = (folder / "b.jpg").read_bytes()
    (folder / "broken.jpg").write_bytes(whole[:300])
    (folder / "cats" / "empty.png").touch()
    (folder / "secret.png").write_bytes(b"nothing for you")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    os.mkfifo(folder / "pipe.png")
    report = jobs.protect(folder, tmp_path / "out", key)
    assert report.done == 6
    assert report.others == 4  # a text, a hidden file, a dead link, a pipe
    assert len(report.failures) == 3
    for name in ("broken.jpg", "cats/empty.png", "secret.png"):
        assert sum(str(folder / name) in line for line in report.failures) == 1
    assert tree(tmp_path / "out") == PICTURES


def test_two_pictures_for_one_file_are_both_left_out(folder, tmp_path, key):
    shutil.copy(folder / "b.jpg", folder / "a.jpg")
    report = jobs.protect(folder, tmp_path / "out", key)
    assert report.done == 5
    assert len(report.failures) == 2
    assert all("rename one" in line for line in report.failures)
    assert tree(tmp_path / "out") == PICTURES - {"a.png"}


def test_nothing_is_replaced_unasked(folder, tmp_path, key):
    out = tmp_path / "out"
    jobs.protect(folder, out, key)
    before = (out / "a.png").read_bytes()
    for source, target in ((folder, out), (folder / "a.png", out / "a.png")):
        with pytest.raises(FileExistsError, match="--overwrite"):
            jobs.protect(source, target, key)
    assert (out / "a.png").read_bytes() == before
    assert jobs.protect(folder, out, key, overwrite=True).done == 6
    assert (out / "a.png").read_bytes() != before
    assert tree(out) == PICTURES


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("b.jpg", "x.jpg", "destroyed for ever"),
        ("b.jpg", "x.JPEG", "destroyed for ever"),
        ("b.jpg", "x.webp", "destroyed for ever"),
        ("b.jpg", "x.gif", "must end in .png"),
        ("b.jpg", "x", "must end in .png"),
        ("b.jpg", "x.npz", "must end in .png"),
        ("a.png", "plain/a.png", "is the input"),
        ("cats", "plain/cats", "outside"),
        ("cats", "plain/cats/new", "outside"),
        ("cats/labels.csv", "x.png", "cannot be decoded"),
    ],
)
@pytest.mark.parametrize("work", [jobs.protect, jobs.unprotect])
def test_outputs_that_would_lose_something(
    folder, tmp_path, key, work, source, output, message
):
    before = tree(tmp_path)
    with pytest.raises(ValueError, match=message):
        work(folder / source, tmp_path / output, key, overwrite=True)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("work", [jobs.protect, jobs.unprotect])
def test_a_key_is_never_replaced(folder, tmp_path, key, work):
    (tmp_path / "out").mkdir()
    kept = tmp_path / "out" / "a.png"
    key.save(kept)
    for source, output in ((folder / "a.png", kept), (folder, tmp_path / "out")):
        with pytest.raises(ValueError, match="A key that is overwritten"):
            work(source, output, key, overwrite=True)
    assert Key.load(kept) == key
    assert tree(tmp_path / "out") == {"a.png"}


def test_pictures_are_not_written_over_those_that_are_read(folder, tmp_path, key):
    inner = folder / "cats" / "cats"
    inner.mkdir()
    (folder / "cats" / "c.png").rename(inner / "c.png")
    (inner / "cats").mkdir()
    (folder / "a.png").rename(inner / "cats" / "c.png")
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match="is the input"):
        jobs.protect(inner, folder / "cats", key, overwrite=True)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


def test_sources_that_are_none(folder, tmp_path, key):
    with pytest.raises(FileNotFoundError, match="Received"):
        jobs.protect(folder / "none.png", tmp_path / "x.png", key)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no pictures in the folder"):
        jobs.protect(tmp_path / "empty", tmp_path / "out", key)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="no folder"):
        jobs.protect(folder, tmp_path / "file", key)


def test_a_wrong_key_is_told_for_each_picture(folder, tmp_path, key):
    out, back = tmp_path / "out", tmp_path / "back"
    jobs.protect(folder, out, key, check_value=True)
    report = jobs.unprotect(out, back, Key.generate())
    assert report.done == 0
    assert len(report.failures) == 6
    assert all("not the key" in line for line in report.failures)
    assert not tree(back)
    assert jobs.unprotect(out, back, key) == (6, [], 0, 0, ())


def test_plain_pictures_among_protected_ones(folder, tmp_path, key):
    out = tmp_path / "out"
    jobs.protect(folder, out, key)
    shutil.copy(folder / "b.jpg", out / "new.jpg")
    report = jobs.unprotect(out, tmp_path / "back", key)
    assert report.done == 6
    assert "not protected" in report.failures[0]
    report = jobs.protect(out, tmp_path / "again", key)
    assert report.done == 1
    assert sum("protected already" in line for line in report.failures) == 6


def test_a_full_disk_ends_the_run(folder, tmp_path, key, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        jobs.protect(folder, tmp_path / "out", key)
    assert not tree(tmp_path / "out")


def test_a_disk_that_fills_up_leaves_no_half_picture(folder, tmp_path, key, full_disk):
    with full_disk(60), pytest.raises(OSError, match="large"):
        jobs.protect(folder, tmp_path / "out", key)
    assert not tree(tmp_path / "out")


def test_a_read_only_folder(folder, read_only, key):
    shutil.copytree(folder, read_only.folder / "plain")
    before = tree(read_only.folder)
    with read_only as place, pytest.raises(PermissionError):
        jobs.protect(place / "plain", place / "out", key)
    assert tree(read_only.folder) == before


def test_many_pictures_on_many_threads(tmp_path, key, rng, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(jobs.pipeline, "_BYTES_TOGETHER", 3000)
    (tmp_path / "plain").mkdir()
    wanted = {}
    for i in range(150):
        size = (1 + i % 13, 40 - i % 7, 3)
        wanted[f"{i}.png"] = rng.integers(0, 256, size, dtype="uint8")
        Image.fromarray(wanted[f"{i}.png"]).save(tmp_path / "plain" / f"{i}.png")
    before = os.umask(0o027)
    try:
        jobs.protect(tmp_path / "plain", tmp_path / "out", key)
        jobs.unprotect(tmp_path / "out", tmp_path / "back", key)
    finally:
        assert os.umask(before) == 0o027
    for name, pixels in wanted.items():
        assert (tmp_path / "back" / name).stat().st_mode & 0o777 == 0o640
        np.testing.assert_array_equal(pixels_of(tmp_path / "back" / name), pixels)


KILLED = """
import os, signal, sys
from tfpriv.shuffling import Key, jobs
replace, done = os.replace, []
def count(*names):
    if len(done) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(replace(*names))
os.replace = count
os.sched_getaffinity = lambda _: {0}
jobs.protect(sys.argv[1], sys.argv[2], Key(bytes(32)))
"""


def whole(root) -> bool:
    """Whether every file that has its name opens."""
    shutil.rmtree(root.parent / "back", ignore_errors=True)
    return not jobs.unprotect(root, root.parent / "back", Key(bytes(32))).failures


@pytest.mark.slow
def test_a_kill_leaves_no_half_picture(folder, tmp_path):
    out = tmp_path / "out"
    run = [sys.executable, "-c", KILLED, folder, out]
    assert subprocess.run(run, check=False).returncode == -signal.SIGKILL
    left = tree(out)
    assert len(left & PICTURES) == 4
    assert all(os.path.basename(name).startswith(".") for name in left - PICTURES)
    assert whole(out)
    (name, *_) = left & PICTURES
    content = (out / name).read_bytes()
    (out / name).write_bytes(content[: len(content) // 2])  # what it might have left
    assert not whole(out)
    assert jobs.protect(folder, out, Key(bytes(32)), overwrite=True).done == 6
    assert whole(out)


GOLDEN = {
    "fixed": (
        "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAECAIAAADJUWIXAAAAEnRFWHR0ZnByaXYtc2h1ZmZs"
        "aW5nADGrC7HTAAAAEXRFWHR0ZnByaXYtbW9kZQBmaXhlZP1G4WUAAAAPdEVYdHRmcHJpdi1z"
        "aXplADR4Nc7uK9IAAAAddEVYdHRmcHJpdi1jaGVjawAwOTcwODgwYWI0OGQwYTk2tcuZVAAA"
        "AEdJREFUeAEFwYMBwAAMALDOtm3b+v+vJbDth+cHGE5IssKwHNiO23Z9VTe8IOZFCWEUA4Im"
        "aXZeN0nR8LyfqunDOBmmNS/rD8xvButIX69aAAAAAElFTkSuQmCC"
    ),
    "per picture": (
        "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAECAIAAADJUWIXAAAAEnRFWHR0ZnByaXYtc2h1ZmZs"
        "aW5nADGrC7HTAAAAF3RFWHR0ZnByaXYtbW9kZQBwZXIgcGljdHVyZaNOZlcAAAAPdEVYdHRm"
        "cHJpdi1zaXplADR4Nc7uK9IAAAAldEVYdHRmcHJpdi1ub25jZQAzYzgyZDgxNDkyN2VlYjkw"
        "NmI2NDBhYmIwTfWNAAAAHXRFWHR0ZnByaXYtY2hlY2sAMDk3MDg4MGFiNDhkMGE5NrXLmVQA"
        "AABHSURBVHgBBcGDAcAADACwzrZt2/r/ryWA4QQviCRFt12/7QeEUWw7LsNy53UbpgWqpgOC"
        "VnXzvF+SZjCMkyQrnh/My5oX5Q/ECAbrT/5MZQAAAABJRU5ErkJggg=="
    ),
}


@pytest.mark.parametrize("mode", ["fixed", "per picture"])
def test_old_files_open(tmp_path, mode):
    """Pinned: written by the first version."""
    key = Key(bytes(range(32)))
    (tmp_path / "x.png").write_bytes(base64.b64decode(GOLDEN[mode]))
    jobs.unprotect(tmp_path / "x.png", tmp_path / "y.png", key)
    wanted = np.arange(60, dtype="uint8").reshape(4, 5, 3)
    np.testing.assert_array_equal(pixels_of(tmp_path / "y.png"), wanted)
    with pytest.raises(ValueError, match="not the key"):
        jobs.unprotect(tmp_path / "x.png", tmp_path / "z.png", Key.generate())
