"""The pieces of a page: text is escaped here, and nowhere else."""

import html
from collections.abc import Iterable, Mapping, Sequence


class Piece(str):
    """HTML that may stand in a page as it is."""

    __slots__ = ()


def escaped(text: object) -> str:
    """Text as HTML shows it, whoever wrote it.

    Characters that cannot be seen (controls, marks that turn the direction of writing,
    bytes of a file's name that are no text) are shown by their numbers.
    """
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))
    return html.escape(shown)


def element(tag: str, *inside: str, **attributes: object) -> Piece:
    """An element of HTML.

    Args:
        tag: its name.
        *inside: pieces, which stay as they are; other text is escaped.
        **attributes: a trailing underscore is cut off, others become hyphens.
    """
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for name, value in attributes.items()
    )
    content = "".join(x if isinstance(x, Piece) else escaped(x) for x in inside)
    return Piece(f"<{tag}{given}>{content}</{tag}>")


def joined(pieces: Iterable[Piece]) -> Piece:
    """Pieces one below the other.

    Raises:
        TypeError: one of them is plain text, which nobody has escaped.
    """
    pieces = list(pieces)
    for piece in pieces:
        if not isinstance(piece, Piece):
            raise TypeError(
                "A page is made of pieces, such as `report.text(...)` gives. "
                f"Received: {piece!r}"
            )
    return Piece("\n".join(pieces))


def text(*paragraphs: str) -> Piece:
    """Paragraphs."""
    return joined(element("p", p) for p in paragraphs)


def warning(paragraph: str) -> Piece:
    """A paragraph that is not to be missed."""
    return element("p", paragraph, class_="warning", role="note")


def bullets(lines: Iterable[str]) -> Piece:
    """A list, a line for each."""
    return element("ul", joined(element("li", line) for line in lines))


def command(line: str) -> Piece:
    """What was typed."""
    return element("pre", element("code", line))


def section(title: str, *pieces: Piece) -> Piece:
    """A heading and what belongs to it."""
    return element("section", element("h2", title), joined(pieces))


def details(summary: str, content: Piece) -> Piece:
    """What opens by a click."""
    return element("details", element("summary", summary), content)


def facts(pairs: Mapping[str, str | Piece]) -> Piece:
    """Names and what is to be said of each: text, or a piece."""
    return element(
        "dl",
        *(
            element(t, x)
            for pair in pairs.items()
            for t, x in zip(("dt", "dd"), pair, strict=True)
        ),
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Piece:
    """A table; a wide one is moved sideways on a small screen.

    Args:
        head: The columns' names.
        rows: The cells of each row, as many; the first one names the row.

    Raises:
        ValueError: A row has another number of cells.
    """
    rows = [list(row) for row in rows]
    for row in rows:
        if len(row) != len(head):
            raise ValueError(
                f"A row has {len(head)} cells, as the head has. Received: {row}"
            )
    titles = element("tr", *(element("th", name, scope="col") for name in head))
    lines = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            *(element("td", cell) for cell in row[1:]),
        )
        for row in rows
    ]
    inside = element("thead", titles), element("tbody", joined(lines))
    # Reached by the keyboard, because it may have to be moved.
    return element("div", element("table", *inside), class_="wide", tabindex=0)
