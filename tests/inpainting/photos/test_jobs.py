"""Folders of photographs: resumed, shared out, past the bad ones."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from photo_scenes import encoded, find, scene

from tfpriv.inpainting.photos import (
    boxes,
)
from tfpriv.inpainting.photos import (
    jobs as photo_jobs,
)
from tfpriv.inpainting.photos import (
    preview as photo_preview,
)
from tfpriv.inpainting.photos.anonymiser import NO_FACE, Anonymiser, Settings
from tfpriv.inpainting.photos.obfuscation import Fill
from tfpriv.inpainting.photos.recogniser import PhotoRecogniser, residual
from tfpriv.support import images

PLACES = [((10, 20),), ((50, 30), (5, 5)), ((30, 40),)]


def anonymiser(inpainter=None, **settings):
    return Anonymiser(Settings(**{"inpainter": "black"} | settings), inpainter, find)


@pytest.fixture
def folder(tmp_path):
    """Six photographs, in two folders, of three kinds; and a text."""
    source = tmp_path / "photos"
    (source / "more").mkdir(parents=True)
    for i, places in enumerate(2 * PLACES):
        name = f"{'more/' * (i % 2)}{i}.{('png', 'jpg', 'webp')[i % 3]}"
        picture = images.from_array(scene(*places, seed=i))
        picture.save(source / name, quality=95)
    (source / "notes.txt").write_text("x")
    return source


def contents(output: Path) -> dict[str, bytes]:
    return {
        p.relative_to(output).as_posix(): p.read_bytes()
        for p in sorted(output.rglob("*"))
        if p.is_file()
    }


def pictures(output: Path) -> dict[str, bytes]:
    found = contents(output)
    return {name: found[name] for name in found if name.endswith((".png", ".jpg"))}


def test_a_folder(folder, tmp_path):
    output = tmp_path / "out"
    seen = []
    report = photo_jobs.anonymise_folder(
        folder, output, anonymiser(), progress=lambda *step: seen.append(step)
    )
    assert (report.done, report.there, report.missing, report.others) == (6, 0, 0, 1)
    assert not report.remarks
    assert seen[-1] == (6, 6)
    names = {"0.png", "more/1.jpg", "2.png", "more/3.png", "4.jpg", "more/5.png"}
    assert set(pictures(output)) == names
    assert (output / "review.txt").read_text() == ""
    faces = boxes.read(output / "boxes.csv")
    assert [len(faces[name]) for name in sorted(faces)] == [1, 1, 2, 2, 1, 1]
    # Again: everything is there, and nothing changes.
    before = contents(output)
    report = photo_jobs.anonymise_folder(folder, output, anonymiser())
    assert (report.done, report.there, report.missing) == (0, 6, 0)
    assert contents(output) == before


def test_no_order_company_or_share_changes_a_result(folder, tmp_path):
    whole, shared, alone = tmp_path / "whole", tmp_path / "shared", tmp_path / "alone"
    settings = {"mask": "random"}
    photo_jobs.anonymise_folder(folder, whole, anonymiser(**settings))
    counts = [
        photo_jobs.anonymise_folder(
            folder, shared, anonymiser(**settings), share=(n, 3)
        ).done
        for n in (3, 1, 2)
    ]
    assert sum(counts) == 6
    assert max(counts) < 6
    assert pictures(shared) == pictures(whole)
    photo_jobs.anonymise_file(folder / "0.png", alone / "0.png", anonymiser(**settings))
    assert pictures(alone)["0.png"] == pictures(whole)["0.png"]
    parts = "".join((shared / f"boxes-{n}-of-3.csv").read_text() for n in (1, 2, 3))
    assert boxes.from_csv(parts, "all") == boxes.read(whole / "boxes.csv")


def test_boxes_that_were_written_give_the_same_again(folder, tmp_path):
    photo_jobs.anonymise_folder(folder, tmp_path / "one", anonymiser())
    again = anonymiser(boxes=str(tmp_path / "one" / "boxes.csv"))
    photo_jobs.anonymise_folder(folder, tmp_path / "two", again)
    assert pictures(tmp_path / "one") == pictures(tmp_path / "two")


@pytest.mark.parametrize(("if_no_face", "done"), [("fail", 6), ("copy", 7)])
def test_bad_photographs_are_left_out_and_listed(folder, tmp_path, if_no_face, done):
    (folder / "broken.jpg").write_bytes(encoded(scene(), "JPEG")[:500])
    (folder / "empty.png").write_bytes(encoded(scene()))
    (folder / "twin.png").write_bytes(encoded(scene((10, 10))))
    (folder / "twin.webp").write_bytes(encoded(scene((10, 10)), "WEBP"))
    output = tmp_path / "out"
    for there in (0, done):
        report = photo_jobs.anonymise_folder(
            folder, output, anonymiser(if_no_face=if_no_face)
        )
        assert (report.done, report.there) == (done - there, there)
        assert report.missing == 10 - done
        assert set(report.remarks) == {
            "broken.jpg",
            "empty.png",
            "twin.png",
            "twin.webp",
        }
        assert report.remarks["empty.png"] == NO_FACE
        lines = (output / "review.txt").read_text().splitlines()
        assert [line.split("\t")[0] for line in lines] == sorted(report.remarks)
        assert ("empty.png" in pictures(output)) == (if_no_face == "copy")
        assert not {"broken.jpg", "twin.png"} & set(pictures(output))
        assert "broken.jpg" not in boxes.read(output / "boxes.csv")


def test_results_of_other_settings_are_not_mixed(folder, tmp_path):
    output = tmp_path / "out"
    photo_jobs.anonymise_folder(folder, output, anonymiser())
    before = contents(output)
    with pytest.raises(ValueError, match=r"other settings.*mask, seed differed"):
        photo_jobs.anonymise_folder(folder, output, anonymiser(seed=1, mask="random"))
    with pytest.raises(ValueError, match="video differed"):
        photo_jobs.anonymise_folder(folder, output, anonymiser(), video=True)
    assert contents(output) == before


def test_outputs_that_are_refused(folder, tmp_path):
    run = anonymiser()
    for call, error in [
        (lambda: photo_jobs.anonymise_folder(folder, folder / "out", run), ValueError),
        (lambda: photo_jobs.anonymise_folder(folder, tmp_path, run), FileExistsError),
        (
            lambda: photo_jobs.anonymise_folder(folder / "0.png", folder, run),
            FileExistsError,
        ),
        (
            lambda: photo_jobs.anonymise_folder(tmp_path / "x", tmp_path / "y", run),
            FileNotFoundError,
        ),
        (
            lambda: photo_jobs.anonymise_folder(
                folder, tmp_path / "y", run, share=(3, 2)
            ),
            ValueError,
        ),
        (
            lambda: photo_jobs.anonymise_folder(
                folder, tmp_path / "y", run, share=(1, 2), video=True
            ),
            ValueError,
        ),
        (
            lambda: photo_jobs.anonymise_file(folder / "0.png", folder / "2.gif", run),
            ValueError,
        ),
        (
            lambda: photo_jobs.anonymise_file(
                folder / "0.png", folder / "more" / "1.jpg", run
            ),
            FileExistsError,
        ),
    ]:
        with pytest.raises(error, match="Received: "):
            call()
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="no pictures"):
        photo_jobs.anonymise_folder(empty, tmp_path / "y", run)


class Seeded:
    """Paints a shade that its seed tells."""

    def __call__(self, images, masks, seed=0, **options):
        return np.where(masks[..., None], np.uint8(seed % 200), images)


@pytest.fixture
def video(tmp_path):
    """12 pictures of two persons who move; in the sixth the detector misses one."""
    source = tmp_path / "frames"
    source.mkdir()
    for i in range(12):
        places = ((10 + i, 20),) if i == 5 else ((10 + i, 20), (50 - i // 2, 40))
        images.save(source / f"frame{i}.png", scene(*places, seed=i))
    return source


def test_a_video(video, tmp_path):
    output = tmp_path / "out"
    report = photo_jobs.anonymise_folder(
        video, output, anonymiser(Seeded()), video=True
    )
    assert report.done == 12
    shades = set()
    for i in range(12):
        result = images.load(output / f"frame{i}.png")
        shades.add((*result[26, 16 + i], *result[46, 56 - i // 2]))
    assert len(shades) == 1  # the missed one is covered, too
    # Killed after the third picture, or before the sixth one: the same again.
    for lost in (range(3, 12), (5,)):
        before = contents(output)
        for i in lost:
            (output / f"frame{i}.png").unlink()
        photo_jobs.anonymise_folder(video, output, anonymiser(Seeded()), video=True)
        assert contents(output) == before
    again = anonymiser(Seeded(), boxes=str(output / "boxes.csv"))
    photo_jobs.anonymise_folder(video, tmp_path / "again", again, video=True)
    assert pictures(tmp_path / "again") == pictures(output)


def test_a_name_of_two_lines_is_one_line_to_review(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a\nb.png").write_bytes(b"no picture")
    photo_jobs.anonymise_folder(tmp_path / "photos", tmp_path / "out", anonymiser())
    (line,) = (tmp_path / "out" / "review.txt").read_text().splitlines()
    assert line.startswith("a b.png\t")


def test_a_preview_is_for_its_owner(folder, tmp_path):
    report = photo_jobs.anonymise_folder(folder, tmp_path / "out", anonymiser())
    path = tmp_path / "preview.png"
    photo_preview.save(path, report.shown)
    assert path.stat().st_mode & 0o77 == 0
    assert len(report.shown) == 6
    assert images.load(path).shape[0] > 6 * 300
    again = photo_jobs.anonymise_folder(folder, tmp_path / "out", anonymiser())
    with pytest.raises(ValueError, match="made nothing"):
        photo_preview.save(path, again.shown)


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
import numpy as np
from photo_scenes import find
from tfpriv.inpainting.photos import jobs as photo_jobs
from tfpriv.inpainting.photos.anonymiser import Anonymiser, Settings

def slow(images, masks, seed=0, **options):
    time.sleep({wait})
    return np.where(masks[..., None], np.uint8(seed % 200), images)

run = Anonymiser(Settings(), slow, find)
print(photo_jobs.anonymise_folder({source!r}, {output!r}, run).done)
"""


@pytest.mark.slow
def test_killed_and_started_again(tmp_path):
    """As a process of its own, killed at three places; nothing is half-written."""
    source, output = tmp_path / "photos", tmp_path / "out"
    source.mkdir()
    for i in range(24):
        images.save(source / f"{i:02}.png", scene((i, 20), (60 - i, 45), seed=i))

    def start(wait):
        names = {"tests": str(Path(__file__).parent), "wait": wait}
        code = KILLED.format(source=str(source), output=str(output), **names)
        return subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
        )

    for least in (1, 4, 9):
        process = start(0.01)
        while len(list(output.glob("[!.]*.png"))) < least and process.poll() is None:
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        for path in output.glob("[!.]*.png"):
            images.load(path)
    there = len(list(output.glob("[!.]*.png")))
    assert there < 24
    # What a process leaves that is killed while it writes.
    (output / ".0123abcd.05.png").write_bytes(b"half")
    with open(output / "boxes.csv", "ab") as file:
        file.write(b"23.png,1,2,3,4,,no,\n23.png,5,6")
    process = start(0)
    assert int(process.communicate()[0]) == 24 - there
    assert process.returncode == 0
    whole = tmp_path / "whole"
    photo_jobs.anonymise_folder(source, whole, Anonymiser(Settings(), Seeded(), find))
    assert contents(output) == contents(whole)


def test_a_full_disk_ends_the_run_which_goes_on_later(folder, tmp_path, full_disk):
    whole, output = tmp_path / "whole", tmp_path / "out"
    photo_jobs.anonymise_folder(folder, whole, anonymiser())
    size = max(len(content) for content in pictures(whole).values())
    with full_disk(size - 1), pytest.raises(OSError, match="large"):
        photo_jobs.anonymise_folder(folder, output, anonymiser())
    for name, content in pictures(output).items():
        assert content == pictures(whole)[name]
    photo_jobs.anonymise_folder(folder, output, anonymiser())
    assert contents(output) == contents(whole)


def test_a_read_only_folder_of_photographs_is_enough_and_of_results_is_not(
    folder, tmp_path, read_only
):
    shutil.copytree(folder, read_only.folder / "photos")
    (read_only.folder / "photos").chmod(0o555)
    with read_only as place, pytest.raises(PermissionError):
        photo_jobs.anonymise_folder(place / "photos", place / "out", anonymiser())
    assert {path.name for path in read_only.folder.iterdir()} == {"photos"}
    report = photo_jobs.anonymise_folder(
        read_only.folder / "photos", tmp_path / "out", anonymiser()
    )
    assert report.done == 6


def test_a_planted_fault_in_writing_is_caught(folder, tmp_path, monkeypatch):
    """Results written in place are taken for whole ones by the next run."""

    def write_half(path, content):
        path.write_bytes(content[: len(content) // 2])
        raise KeyboardInterrupt

    output = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(photo_jobs, "_write", write_half)
        with pytest.raises(KeyboardInterrupt):
            photo_jobs.anonymise_folder(folder, output, anonymiser())
    assert not (output / "review.txt").exists()
    photo_jobs.anonymise_folder(folder, output, anonymiser())
    whole = tmp_path / "whole"
    photo_jobs.anonymise_folder(folder, whole, anonymiser())
    assert pictures(output) != pictures(whole)


class Means:
    """Knows faces by the colour of their middle."""

    trained_on = "photographs"

    def embed(self, pictures):
        colours = [p[len(p) // 3 : -(len(p) // 3)].mean((0, 1)) for p in pictures]
        points = np.array(colours, np.float32).reshape(len(pictures), 3)
        return points / (np.linalg.norm(points, axis=-1, keepdims=True) + 1e-9)


def test_the_residual_rate_by_hand(tmp_path):
    """Four faces of four colours: nobody is found, or everybody who is not covered."""
    source, recogniser = tmp_path / "photos", PhotoRecogniser(Means())
    source.mkdir()
    lines = ["picture,left,top,width,height,kept"]
    colours = [(250, 10, 10), (10, 250, 10), (10, 10, 250), (200, 200, 10)]
    for i, colour in enumerate(colours):
        picture = scene(seed=i)
        picture[20:50, 10:40] = colour
        picture[5:15, 60:70] = 255
        images.save(source / f"{i}.png", picture)
        lines += [f"{i}.png,10,20,30,30,no", f"{i}.png,60,5,10,10,yes"]
    path = tmp_path / "boxes.csv"
    path.write_text("\n".join([*lines, ""]))
    for colour in ((250, 10, 10), (128, 128, 128)):
        run = Anonymiser(Settings(boxes=str(path)), Fill(colour), find)
        output = tmp_path / f"out{colour[0]}"
        report = photo_jobs.anonymise_folder(source, output, run)
        found = residual(recogniser, source, output, report.faces, run.settings.target)
        assert found.faces == 4
        assert found.recognised == 1  # all red, or all grey: one is the closest
    same = residual(recogniser, source, source, report.faces, run.settings.target)
    assert same == (4, 4)
    assert "4 of 4 repainted faces" in str(same)
    assert residual(recogniser, source, output, {}, str) == (0, 0)
