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

from tfpriv.support.report import (
    Chart,
    Charts,
    Code,
    Facts,
    Group,
    Images,
    Strips,
    Table,
    Text,
    charts,
    html,
    report,
    without_epsilon,
)
from tfpriv.support.report.page import LARGEST

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


def all_sections(text):
    """A page that has the text wherever a text can stand."""
    image = np.full((8, 8, 3), 7, np.uint8)
    return html(
        text,
        [
            Text(text),
            Text(text, warning=True),
            Code(text),
            Group(text, [Facts({text: text, "b": [text, text]})]),
            Table([text, "b"], [[text, text]]),
            Images([image], [text or "nothing"]),
            Strips({text: [image, image]}),
            Group(text, [Text(text)], folded=True),
            without_epsilon(text, against=text, leaves=[text]),
        ],
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_shown_and_do_nothing(name, tmp_path):
    path = tmp_path / "page.html"
    report(path, name, [Images([np.zeros((4, 4, 3))], [name])])
    words = read(path).words
    if name.isprintable():
        assert name in words
    assert "\u202e" not in words
    assert not Reading(all_sections(name)).faults


@given(st.text(alphabet=st.characters(), max_size=30))
def test_any_text_is_text(text):
    page = all_sections(text)
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


def test_html_is_no_section():
    with pytest.raises(TypeError, match=r"Received: '<b>bold</b>'"):
        html("Title", ["<b>bold</b>"])
    with pytest.raises(TypeError, match="sections"):
        html("Title", [Group("Group", ["text"])])
    assert "&lt;b&gt;" in html("Title", [Text("<b>")])


def test_lines_of_code_stay_lines():
    assert "<pre><code>a\n &lt;b&gt;</code></pre>" in html("x", [Code("a\n <b>")])


def test_the_browser_is_told_to_load_nothing():
    page = html("x", [Text("y")])
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page


def test_small_pictures_are_exact_and_large_ones_small():
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (32, 20, 3), dtype="uint8")
    large = rng.integers(0, 256, (900, 1200, 3), dtype="uint8")
    found = Reading(html("x", [Images([small, large], ["a", "b"])]))
    exact, reduced = found.pixels
    assert np.array_equal(exact, small)
    assert reduced.shape == (LARGEST * 3 // 4, LARGEST, 3)
    given = Image.fromarray(large)
    html("x", [Images([given], ["it stays as it is"])])
    assert given.size == (1200, 900)


def test_pictures_carry_no_metadata():
    picture = Image.new("RGB", (200, 100), "red")
    exif = Image.Exif()
    exif[0x010E] = "a description"
    with io.BytesIO() as file:
        picture.save(file, "JPEG", exif=exif)
        picture = Image.open(io.BytesIO(file.getvalue()))
        picture.load()
    (source,) = Reading(html("x", [Images([picture], ["a"])])).pictures
    assert b"a description" not in base64.b64decode(source.split(",", 1)[1])


def test_files_are_read_upright(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype="uint8")
    Image.fromarray(values).save(tmp_path / "<a>.png")
    (pixels,) = Reading(html("x", [Images([tmp_path / "<a>.png"], ["a"])])).pixels
    assert np.array_equal(pixels, values)


CHART = Chart(
    "<b>SSIM</b>",
    'loss falls "<b>"',
    [0.5, 4.0],
    {"<i>one</i>": [2.0, 1.0], "two": [3.0, 1.0]},
    {"bound": [1.0, 1.0], "before": 1.5},
    log_y=True,
    y_range=(0.5, 4),
)


def test_charts_stand_in_the_page():
    found = Reading(html("x", [Charts([CHART, CHART])]))
    assert not found.faults
    assert len(found.pictures) == 2
    for source in found.pictures:
        drawing = base64.b64decode(source.split(",", 1)[1])
        assert b"<svg" in drawing
        assert b"<script" not in drawing


def test_a_figure_of_charts_shows_every_line():
    figure = charts.figure([CHART] * 4)
    assert len(figure.axes) == 4
    for axes in figure.axes:
        drawn = {line.get_label(): line for line in axes.lines}
        assert list(drawn) == ["<i>one</i>", "two", "bound", "before"]
        assert list(drawn["two"].get_xdata()) == [0.5, 4.0]
        assert list(drawn["two"].get_ydata()) == [3.0, 1.0]
        assert set(drawn["before"].get_ydata()) == {1.5}
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert axes.get_ylim() == (0.5, 4)
        assert [t.get_text() for t in axes.get_xticklabels()] == ["0.5", "4"]


def test_charts_as_a_file(tmp_path):
    charts.save([CHART], tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").format == "PNG"


def test_rows_have_the_columns_of_the_head():
    with pytest.raises(ValueError, match=r"Received: \['a'\]"):
        html("t", [Table(["x", "y"], [["a"]])])
    words = Reading(html("t", [Table(["x", "y"], [["a", "b"]])])).words
    assert "x y a b" in words.replace("  ", " ")


def test_pages_appear_whole_and_for_their_owner(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    report(path, "old", [Text("old")])
    assert stat.S_IMODE(os.stat(path).st_mode) & 0o600 == 0o600
    with pytest.raises(TypeError):
        report(path, "new", ["plain text"])
    monkeypatch.setattr(
        os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full"))
    )
    with pytest.raises(OSError, match="full"):
        report(path, "new", [])
    monkeypatch.undo()
    assert "old" in read(path).words
    assert os.listdir(tmp_path) == ["page.html"]
    report(path, "new", [], private=True)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert "new" in read(path).words
