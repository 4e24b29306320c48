"""Faces in photographs of any size, within the memory that a tile takes."""

from collections.abc import Callable

import numpy as np

from tfpriv.faces.detection import Face, find_faces
from tfpriv.support import images

TILE = 2048  # pixels of a side that are looked at together
OVERLAP = 512  # of neighbouring tiles: a face of up to so many is whole in one of them
_SAME = 0.4  # boxes that share so much of what they cover together are of one face


def find_faces_in_large(
    photograph: np.ndarray,
    find: Callable[[np.ndarray], list[Face]] = find_faces,
) -> list[Face]:
    """Finds the faces of a photograph of any size, the surest first.

    One with a side of more than 2,048 pixels is looked at at half its size, in tiles
    that overlap, and at a size at which it is one tile. Its faces of less than some 40
    pixels are not found.

    Args:
        photograph: uint8 (height, width, 3).
        find: looks at one tile.

    Returns:
        The faces, in the photograph's pixels.
    """
    if max(photograph.shape[:2]) <= TILE:
        return find(photograph)
    found, shrink = [], 2
    while True:
        smaller = np.asarray(images.from_array(photograph).reduce(shrink))
        whole = max(smaller.shape[:2]) <= TILE
        if whole or shrink == 2:
            for top in _starts(smaller.shape[0]):
                for left in _starts(smaller.shape[1]):
                    tile = smaller[top : top + TILE, left : left + TILE]
                    found += [_moved(f, left, top, shrink) for f in find(tile)]
        if whole:
            return _distinct(found)
        shrink *= 2


def _starts(size):
    """Where tiles begin: evenly, the last one at the end."""
    count = 1 + max(0, -(-(size - TILE) // (TILE - OVERLAP)))
    return np.linspace(0, max(0, size - TILE), count).astype(int).tolist()


def _moved(face, left, top, shrink):
    x, y, width, height = face.box
    box = tuple(shrink * n for n in (x + left, y + top, width, height))
    landmarks = shrink * (face.landmarks + np.array([left, top]))
    return Face(box, landmarks, face.confidence)


def _distinct(faces):
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.confidence):
        if all(overlap(face.box, other.box) < _SAME for other in kept):
            kept.append(face)
    return kept


def overlap(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """What two boxes (left, top, width, height) share of what they cover together."""
    sides = [
        min(one[i] + one[i + 2], other[i] + other[i + 2]) - max(one[i], other[i])
        for i in (0, 1)
    ]
    shared = max(0, sides[0]) * max(0, sides[1])
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)
