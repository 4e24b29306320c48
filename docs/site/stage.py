"""Lays out what the documentation's site is built from: `python docs/site/stage.py`.

The pages are those that are read in the repository. They lie in the same places here,
so that a link that works there works here; notebooks become pages, and what a page
links to comes along. The API's pages name the public functions and classes, whose
docstrings are read from the source, which is not imported.
"""

import re
import shutil
import sys
from pathlib import Path

import api
import notebook_pages

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/*.md", "benchmarks/*.md")
_LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)\s]*)?\))")


def stage(target: Path) -> None:
    """Fills a folder anew.

    Args:
        target: what is in it is deleted.
    """
    shutil.rmtree(target, ignore_errors=True)
    for pattern in PAGES:
        for path in sorted(ROOT.glob(pattern)):
            _page(target, path, path.read_text(encoding="utf-8"))
    for path in sorted(ROOT.glob("notebooks/*.ipynb")):
        _page(target, path.with_suffix(".md"), notebook_pages.page(path))
    for name, text in api.pages(ROOT).items():
        _write(target / "api" / f"{name}.md", text)


def _page(target, path, text):
    for _, link, _ in _LINK.findall(text):
        linked = path.parent / link
        if linked.is_file() and linked.suffix not in (".md", ".ipynb"):
            # What is linked to and is not there stays a broken link, and is reported.
            copy = target / linked.resolve().relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(linked, copy)
    _write(target / path.relative_to(ROOT), _LINK.sub(_to_page, text))


def _to_page(link):
    name = re.sub(r"\.ipynb$", ".md", link[2])
    return link[1] + name + link[3]


def _write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    stage(Path(sys.argv[1]))
