"""Photographs with bright squares for faces, and what finds them."""

import io

import numpy as np
from PIL import Image

from tfpriv.faces import Face


def scene(*places, size=(64, 80), seed=0) -> np.ndarray:
    """A dim photograph with a white square of 12 pixels at each (left, top)."""
    picture = np.random.default_rng(seed).integers(0, 100, (*size, 3), np.uint8)
    for left, top in places:
        picture[top : top + 12, left : left + 12] = 255
    return picture


def find(picture) -> list[Face]:
    """The white squares, as `find_faces` gives faces."""
    white = (picture.min(-1) > 200).astype(np.uint8)
    found = []
    while white.sum() > 60:  # JPEG's edges are no faces
        top = int(white.any(1).argmax())
        left = int(white[top : top + 12].any(0).argmax())
        white[top : top + 13, max(0, left - 1) : left + 13] = 0
        found.append(Face((left, top, 12, 12), np.zeros((5, 2)), 0.99))
    return found


def encoded(picture, kind="PNG", mode="RGB", **options) -> bytes:
    """The content of a file."""
    with io.BytesIO() as file:
        Image.fromarray(picture).convert(mode).save(file, kind, **options)
        return file.getvalue()


def decoded(content) -> np.ndarray:
    """The pixels of a file's content, as they are."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
