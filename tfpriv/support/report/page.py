"""Renders sections as one HTML file, which loads nothing and runs nothing.

All escaping is here: a section holds plain text, and no section holds HTML.
"""

import base64
import html as html_module
import importlib.resources
import os
from collections.abc import Iterable, Sequence

import numpy as np

import tfpriv
from tfpriv.support import images
from tfpriv.support.outputs import atomic_file
from tfpriv.support.report import charts
from tfpriv.support.report.sections import (
    Charts,
    Code,
    Facts,
    Group,
    Images,
    Section,
    Strips,
    Table,
    Text,
)

PAGE = "report.html"  # file name of a command's report in its output folder
LARGEST = 480  # pixels of the longer side of an image on a page
_TINY = 96  # up to this many pixels, images are stored losslessly
# The content security policy forbids scripts and the network to the browser.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
{title}
<style>
{style}</style>
</head>
<body>
<main>
{content}
</main>
{foot}
</body>
</html>
"""


class _Html(str):
    """HTML, in which all text is escaped."""

    __slots__ = ()


def report(
    path: str | os.PathLike,
    title: str,
    sections: Sequence[Section],
    *,
    private: bool = False,
) -> None:
    """Writes a report, completely or not at all. An existing file is replaced.

    Args:
        path: The HTML file.
        title: Title of the report.
        sections: Its sections, from top to bottom.
        private: Whether only the file's owner may read it: for pages with originals.

    Raises:
        TypeError: A section is none.
        ValueError: A table's row has another number of cells than its head.
    """
    page = html(title, sections)
    with atomic_file(path, private=private) as file:
        file.write(page.encode())


def html(title: str, sections: Sequence[Section]) -> str:
    """A report as HTML.

    Args:
        title: As for `report`.
        sections: As for `report`.

    Raises:
        TypeError: A section is none.
        ValueError: A table's row has another number of cells than its head.
    """
    style = importlib.resources.files("tfpriv.support.report").joinpath("style.css")
    return _FRAME.format(
        policy=_POLICY,
        title=_element("title", title),
        style=style.read_text(encoding="utf-8"),
        content=_joined([_element("h1", title), *map(_rendered, sections)]),
        foot=_element("footer", f"Written by tfpriv {tfpriv.__version__}."),
    )


def _rendered(section: Section) -> _Html:
    match section:
        case Text(text, warning=False):
            return _element("p", text)
        case Text(text):
            return _element("p", text, class_="warning", role="note")
        case Code(text):
            lines = _joined(_Html(_escaped(line)) for line in text.split("\n"))
            return _element("pre", _element("code", lines))
        case Facts(pairs):
            return _element("dl", *(_fact(*pair) for pair in pairs.items()))
        case Table(head, rows):
            return _table(head, rows)
        case Images(shown, captions):
            figures = [
                _element("figure", _image(one, says), _element("figcaption", says))
                for one, says in zip(shown, captions, strict=True)
            ]
            return _element("div", _joined(figures), class_="gallery")
        case Strips(rows):
            strips = [_strip(*row) for row in rows.items()]
            return _element("div", _joined(strips), class_="strips")
        case Charts(drawn):
            inside = [
                _img(charts.svg(one), "svg+xml", one.description, class_="chart")
                for one in drawn
            ]
            return _element("div", _joined(inside), class_="charts")
        case Group(title, sections, folded):
            outer, inner = ("details", "summary") if folded else ("section", "h2")
            content = _joined(map(_rendered, sections))
            return _element(outer, _element(inner, title), content)
    raise TypeError(
        "A report has sections such as `Text` and `Table` of `tfpriv.support.report`. "
        f"Received: {section!r}"
    )


def _escaped(text: object) -> str:
    """Text as HTML shows it.

    Characters that cannot be seen (controls, marks that turn the direction of writing,
    undecodable bytes of a file's name) are shown by their numbers.
    """
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))
    return html_module.escape(shown)


def _element(tag: str, *inside: str, **attributes: object) -> _Html:
    """An HTML element; what is inside it is escaped unless it is HTML already.

    A trailing underscore of an attribute's name is dropped.
    """
    given = "".join(
        f' {name.rstrip("_")}="{_escaped(value)}"' for name, value in attributes.items()
    )
    content = "".join(x if isinstance(x, _Html) else _escaped(x) for x in inside)
    return _Html(f"<{tag}{given}>{content}</{tag}>")


def _joined(elements: Iterable[_Html]) -> _Html:
    return _Html("\n".join(elements))


def _fact(name: str, value: str | Sequence[str]) -> _Html:
    if not isinstance(value, str):
        value = _element("ul", *(_element("li", line) for line in value))
    return _joined([_element("dt", name), _element("dd", value)])


def _table(head, rows) -> _Html:
    lines = []
    for row in rows:
        cells = list(row)
        if len(cells) != len(head):
            raise ValueError(
                f"A row has {len(head)} cells, as the head has. Received: {cells}"
            )
        name = _element("th", cells[0], scope="row")
        lines.append(_element("tr", name, *(_element("td", c) for c in cells[1:])))
    titles = _element("tr", *(_element("th", name, scope="col") for name in head))
    body = _element("tbody", _joined(lines))
    table = _element("table", _element("thead", titles), body)
    # The keyboard must reach what may have to be scrolled.
    return _element("div", table, class_="wide", tabindex=0)


def _strip(caption, shown) -> _Html:
    row = [_image(one, f"{caption}, {i}") for i, one in enumerate(shown, 1)]
    strip = _element("div", *row, class_="strip")
    return _element("figure", _element("figcaption", caption), strip)


def _image(image, says: str) -> _Html:
    if isinstance(image, str | os.PathLike):
        image = images.load(image)
    if isinstance(image, np.ndarray):
        image = images.from_array(image)
    if max(image.size) <= _TINY:
        return _img(images.encode(image, ".png"), "png", says, class_="tiny")
    image = image.copy()
    image.thumbnail((LARGEST, LARGEST))
    return _img(images.encode(image, ".jpg", quality=90), "jpeg", says)


def _img(content: bytes, kind: str, says: str, **attributes) -> _Html:
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    img = _element("img", src=source, alt=says, **attributes)
    return _Html(img.removesuffix("</img>"))  # a void element of HTML
