"""A page is one file that loads nothing, runs nothing, and shows text as it is."""

import base64
import io
import os
import stat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from reading import Reading, read

from tfpriv.support import report
from tfpriv.support.report.pictures import LARGEST

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>.png',
    "' onmouseover='alert(1)",
    "</style></main></html>",
    "a\u202egnp.exe",
    "\x1b[31mred\x00",
    b"\xff\xfe.jpg".decode(errors="surrogateescape"),
    "&lt;b&gt; http://example.com/x.js",
    "{title} {0}",
)


def all_pieces(text):
    """A page that has the text wherever a text can stand."""
    picture = np.full((8, 8, 3), 7, np.uint8)
    return report.html(
        text,
        report.text(text, text),
        report.warning(text),
        report.command(text),
        report.bullets([text]),
        report.section(text, report.facts({text: text, "b": report.text(text)})),
        report.table([text, "b"], [[text, text]]),
        report.gallery([picture], [text or "nothing"]),
        report.strips({text: [picture, picture]}),
        report.details(text, report.text(text)),
        report.without_epsilon(text, against=text, leaves=[text]),
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_shown_and_do_nothing(name, tmp_path):
    path = tmp_path / "page.html"
    report.write(path, name, report.gallery([np.zeros((4, 4, 3))], [name]))
    words = read(path).words
    if name.isprintable():
        assert name in words
    assert "\u202e" not in words
    assert not Reading(all_pieces(name)).faults


@given(st.text(alphabet=st.characters(), max_size=30))
def test_any_text_is_text(text):
    page = all_pieces(text)
    found = Reading(page)
    assert not found.faults
    assert page.encode()  # no half of a pair of surrogates is left
    shown = "".join(c for c in text if c.isprintable() and c != " ")
    if shown == "".join(text.split(" ")):
        assert shown in found.words.replace(" ", "")


@pytest.mark.parametrize(
    "page",
    [
        "<p>one<b>two</p>",
        "<p>",
        "</p>",
        "<script>x</script>",
        '<img src="http://example.com/x.png" alt="x">',
        '<img src="data:image/png;base64,x">',
        '<p onclick="x">y</p>',
        '<a href="https://example.com">y</a>',
        "<style>p { background: url(x.png) }</style>",
    ],
)
def test_the_reader_finds_what_is_wrong(page):
    assert Reading(page).faults


def test_what_nobody_escaped_is_no_piece():
    with pytest.raises(TypeError, match=r"Received: '<b>bold</b>'"):
        report.html("Title", "<b>bold</b>")
    with pytest.raises(TypeError, match="pieces"):
        report.section("Title", "text")
    assert "&lt;b&gt;" in report.text("<b>")


def test_the_browser_is_told_to_load_nothing():
    page = report.html("x", report.text("y"))
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page


def test_small_pictures_are_exact_and_large_ones_small():
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (32, 20, 3), dtype="uint8")
    large = rng.integers(0, 256, (900, 1200, 3), dtype="uint8")
    found = Reading(report.html("x", report.gallery([small, large], ["a", "b"])))
    exact, reduced = found.pixels
    assert np.array_equal(exact, small)
    assert reduced.shape == (LARGEST * 3 // 4, LARGEST, 3)
    given = Image.fromarray(large)
    report.gallery([given], ["it stays as it is"])
    assert given.size == (1200, 900)


def test_pictures_carry_no_metadata():
    picture = Image.new("RGB", (200, 100), "red")
    exif = Image.Exif()
    exif[0x010E] = "a description"
    with io.BytesIO() as file:
        picture.save(file, "JPEG", exif=exif)
        picture = Image.open(io.BytesIO(file.getvalue()))
        picture.load()
    (source,) = Reading(report.html("x", report.gallery([picture], ["a"]))).pictures
    assert b"a description" not in base64.b64decode(source.split(",", 1)[1])


def test_charts_stand_in_the_page():
    says = "loss falls"
    piece = report.chart(lambda axes: axes.plot([2, 1]), says)
    found = Reading(report.html("x", report.charts(piece, piece)))
    assert not found.faults
    for source in found.pictures:
        drawing = base64.b64decode(source.split(",", 1)[1])
        assert b"<svg" in drawing
        assert b"<script" not in drawing


def test_rows_have_the_columns_of_the_head():
    with pytest.raises(ValueError, match=r"Received: \['a'\]"):
        report.table(["x", "y"], [["a"]])
    words = Reading(report.html("t", report.table(["x", "y"], [["a", "b"]]))).words
    assert "x y a b" in words.replace("  ", " ")


def test_pages_appear_whole_and_for_their_owner(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    report.write(path, "old", report.text("old"))
    assert stat.S_IMODE(os.stat(path).st_mode) & 0o600 == 0o600
    with pytest.raises(TypeError):
        report.write(path, "new", "plain text")
    monkeypatch.setattr(
        os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full"))
    )
    with pytest.raises(OSError, match="full"):
        report.write(path, "new")
    monkeypatch.undo()
    assert "old" in read(path).words
    assert os.listdir(tmp_path) == ["page.html"]
    report.write(path, "new", private=True)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert "new" in read(path).words
