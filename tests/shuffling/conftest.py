"""A key, and pictures of all kinds on the disk."""

import pathlib
import sys

import pytest
from PIL import Image

from tfpriv.shuffling import Key

# Helpers lie beside these tests; the oracle of permutations, with the tests of the op;
# what reads pages, with the tests of reports.
HERE = pathlib.Path(__file__).parent
sys.path[:0] = [
    str(HERE),
    str(HERE.parent / "ops"),
    str(HERE.parent / "support" / "report"),
]


@pytest.fixture
def key():
    return Key.generate()


@pytest.fixture
def folder(tmp_path, rng):
    """A folder with six pictures of several formats and sizes, and a text."""
    root = tmp_path / "plain"
    (root / "cats" / "black").mkdir(parents=True)
    for name, mode in {
        "a.png": "RGB",
        "b.jpg": "RGB",
        "cats/c.png": "L",
        "cats/d.gif": "P",
        "cats/black/e.png": "RGBA",
        "cats/black/f.JPEG": "L",
    }.items():
        pixels = rng.integers(0, 256, (12, 9, 3), dtype="uint8")
        Image.fromarray(pixels).convert(mode).save(root / name)
    (root / "cats" / "labels.csv").write_text("c,1")
    (root / ".hidden.png").write_bytes(b"no picture")
    return root
