"""The page itself: one file that loads nothing."""

import importlib.resources
import os

import tfpriv
from tfpriv.support.outputs import atomic_file
from tfpriv.support.report.pieces import Piece, element, joined

PAGE = "report.html"  # what a command's page is called in its folder
# The browser is told as well: no script, nothing from elsewhere.
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


def html(title: str, *pieces: Piece) -> str:
    """A page.

    Args:
        title: What it is about.
        *pieces: What it says, from top to bottom.

    Raises:
        TypeError: A piece is plain text, which nobody has escaped.
    """
    style = importlib.resources.files("tfpriv.support.report").joinpath("style.css")
    return _FRAME.format(
        policy=_POLICY,
        title=element("title", title),
        style=style.read_text(encoding="utf-8"),
        content=joined([element("h1", title), *pieces]),
        foot=element("footer", f"Written by tfpriv {tfpriv.__version__}."),
    )


def write(
    path: str | os.PathLike, title: str, *pieces: Piece, private: bool = False
) -> None:
    """Writes a page, whole or not at all; one that is there is replaced.

    Args:
        path: Where to.
        title: As for `html`.
        *pieces: As for `html`.
        private: Whether its owner alone may read it: for pages with originals.
    """
    page = html(title, *pieces)
    with atomic_file(path, private=private) as file:
        file.write(page.encode())
