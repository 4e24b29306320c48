"""Masks of faces in photographs: functions of the square around a face.

The face's box lies in the middle of the square, and its longer side is half of the
square's (`crops.PADDING`). What is fixed in the square follows from the box alone.
"""

import functools
from collections.abc import Callable

import numpy as np

from tfpriv.inpainting.masks import geometric
from tfpriv.support.images import checked

# In the square, its side being 1: middle and half axes of an ellipse that reaches over
# the box on all sides, to the hair, the ears and below the chin.
WHOLE_FACE = ((0.5, 0.49), (0.27, 0.35))
EYES_TO_MOUTH = (0.33, 0.33, 0.67, 0.74)  # left, top, right, bottom


def whole_face(squares: np.ndarray) -> np.ndarray:
    """Covers the whole face, with an ellipse.

    Args:
        squares: uint8 (n, size, size, 3), as `crops.Frame` cuts them out.

    Returns:
        bool (n, size, size).
    """
    (x0, y0), (across, down) = WHOLE_FACE
    x, y = _places(squares)
    inside = ((x - x0) / across) ** 2 + ((y - y0) / down) ** 2 <= 1
    return np.repeat(inside[None], len(squares), 0)


def landmarks(squares: np.ndarray) -> np.ndarray:
    """Covers eyes, nose and mouth of an upright face, with a rectangle.

    The outline of the face, its ears and its chin stay.

    Args:
        squares: as for `whole_face`.

    Returns:
        bool (n, size, size).
    """
    left, top, right, bottom = EYES_TO_MOUTH
    x, y = _places(squares)
    inside = (left <= x) & (x <= right) & (top <= y) & (y <= bottom)
    return np.repeat(inside[None], len(squares), 0)


def named(name: str, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """A mask function by its name.

    Args:
        name: one of `NAMES`.
        seed: of what it draws, if it does.

    Raises:
        ValueError: for another name.
    """
    if name == "random":
        return functools.partial(geometric.random_patches, seed=seed)
    if name not in _REGIONS:
        raise ValueError(
            f"The masks of photographs are {', '.join(NAMES)}. Received: {name!r}"
        )
    return _REGIONS[name]


_REGIONS = {"whole_face": whole_face, "landmarks": landmarks}
NAMES = (*_REGIONS, "random")


def _places(squares):
    """Of the pixels' middles, the square's side being 1: across and down."""
    size = checked(squares).shape[1]
    middles = (np.arange(size) + 0.5) / size
    return middles[None, :], middles[:, None]
