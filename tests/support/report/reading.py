"""Reads a page as a browser would, and says what is wrong with it."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

VOID = {"br", "hr", "img", "link", "meta"}
LOADING = {"src", "href", "srcset", "poster", "data", "action", "background", "style"}


class Reading(HTMLParser):
    """What a page shows, what it would load, and which tags do not fit together.

    Attributes:
        faults: one line each: tags that are not balanced, scripts, handlers, addresses.
        pictures: the sources of its pictures.
        words: its text, without the style.
    """

    def __init__(self, page: str):
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.pictures: list[str] = []
        self._open: list[str] = []
        self._text: list[str] = []
        self.feed(page)
        self.close()
        self.faults += [f"<{tag}> is never closed" for tag in self._open]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self._text).split())

    @property
    def pixels(self) -> list[np.ndarray]:
        """Its pictures, but for drawings of lines."""
        contents = [
            base64.b64decode(source.split(",", 1)[1])
            for source in self.pictures
            if not source.startswith("data:image/svg")
        ]
        return [np.asarray(Image.open(io.BytesIO(content))) for content in contents]

    def handle_starttag(self, tag, attrs):
        if tag in ("script", "iframe", "object", "embed", "link", "base", "form"):
            self.faults.append(f"<{tag}>")
        for name, value in attrs:
            if name.startswith("on"):
                self.faults.append(f"{name}={value}")
            if name in LOADING and not (value or "").startswith("data:image/"):
                self.faults.append(f"{name}={value}")
        if tag == "img":
            given = dict(attrs)
            self.pictures.append(given["src"])
            if not given.get("alt"):
                self.faults.append("a picture without words")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if not self._open or self._open[-1] != tag:
            self.faults.append(f"</{tag}> after {self._open[-1:]}")
        else:
            self._open.pop()

    def handle_data(self, data):
        if self._open[-1:] == ["style"]:
            if "url(" in data or "@import" in data:
                self.faults.append("the style loads something")
        else:
            self._text.append(data)


def read(path: Path) -> Reading:
    """A page that is as it should be.

    Raises:
        AssertionError: it is not.
    """
    found = Reading(path.read_text(encoding="utf-8"))
    assert not found.faults
    return found
