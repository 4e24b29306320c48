"""Masks of faces in photographs: functions of the square around a face.

The face's box lies in the middle of the square, and its longer side is half of the
square's (`crops.PADDING`). What is fixed in the square follows from the box alone.
"""

import functools
from collections.abc import Callable

import numpy as np

from tfpriv.inpainting.masks import geometric
from tfpriv.support.images import checked

# In the square, its side being 1: an ellipse that reaches over the box on all sides, to
# the hair, the ears and below the chin; and (left, top, right, bottom).
_WHOLE_FACE = geometric.ellipse((0.5, 0.49), (0.27, 0.35))
_EYES_TO_MOUTH = geometric.rectangle(0.33, 0.33, 0.67, 0.74)


def whole_face(squares: np.ndarray) -> np.ndarray:
    """Covers the whole face, with an ellipse.

    Args:
        squares: uint8 (n, size, size, 3), as `crops.Frame` cuts them out.

    Returns:
        bool (n, size, size).
    """
    return _inside(squares, _WHOLE_FACE)


def landmarks(squares: np.ndarray) -> np.ndarray:
    """Covers eyes, nose and mouth of an upright face, with a rectangle.

    The outline of the face, its ears and its chin stay.

    Args:
        squares: as for `whole_face`.

    Returns:
        bool (n, size, size).
    """
    return _inside(squares, _EYES_TO_MOUTH)


def named(name: str, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """A mask function by its name.

    Args:
        name: one of `settings.MASKS`.
        seed: of what it draws, if it does.
    """
    drawn = functools.partial(geometric.random_patches, seed=seed)
    return {"whole_face": whole_face, "landmarks": landmarks, "random": drawn}[name]


def _inside(squares, region):
    size = checked(squares).shape[1]
    middles = (np.arange(size) + 0.5) / size  # of pixels, the square's side being 1
    return np.repeat(region(middles[None, :], middles[:, None])[None], len(squares), 0)
