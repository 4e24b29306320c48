"""Squares around faces, cut out of photographs and put back."""

import dataclasses

import numpy as np
from PIL.Image import Resampling

from tfpriv.faces import alignment
from tfpriv.support import images

# The square's side, in longer sides of the face's box: what is around a face tells an
# inpainter about light, hair and clothes.
PADDING = 2.0


@dataclasses.dataclass(frozen=True)
class Frame:
    """A square in a photograph, which it may reach over.

    Attributes:
        left: in pixels; may be negative.
        top: in pixels; may be negative.
        side: in pixels.
    """

    left: int
    top: int
    side: int

    @classmethod
    def around(
        cls, box: tuple[int, int, int, int], padding: float = PADDING
    ) -> "Frame":
        """The square in whose middle a box (left, top, width, height) lies.

        Args:
            box: in pixels.
            padding: the square's side, in longer sides of the box.
        """
        left, top, width, height = box
        side = round(padding * max(width, height))
        return cls(left + (width - side) // 2, top + (height - side) // 2, side)

    def cut(self, picture: np.ndarray) -> np.ndarray:
        """The square of a picture or a mask; beyond the edges these are repeated.

        Args:
            picture: (height, width, ...).

        Returns:
            (side, side, ...).
        """
        right, bottom = self.left + self.side, self.top + self.side
        return alignment.with_edges(picture, self.left, self.top, right, bottom)

    def inside(self, shape: tuple[int, ...]) -> tuple[tuple, tuple]:
        """Where the square and a photograph meet.

        Args:
            shape: (height, width, ...) of the photograph.

        Returns:
            Indices of that part in the photograph, and in the square.
        """
        spans = [
            (slice(max(0, first), min(size, first + self.side)), first)
            for first, size in zip((self.top, self.left), shape[:2], strict=True)
        ]
        whole = tuple(span for span, _ in spans)
        part = tuple(slice(s.start - first, s.stop - first) for s, first in spans)
        return whole, part


def resized(picture: np.ndarray, size: int) -> np.ndarray:
    """A square picture at another size: averaged if that is smaller.

    Args:
        picture: uint8 (s, s, 3).
        size: in pixels.

    Returns:
        uint8 (size, size, 3).
    """
    if len(picture) == size:
        return picture
    method = Resampling.BICUBIC if size > len(picture) else Resampling.BILINEAR
    return np.asarray(images.from_array(picture).resize((size, size), method))


def touched(mask: np.ndarray, size: int) -> np.ndarray:
    """A mask at another size: all pixels that the given one touches.

    Args:
        mask: bool (s, s).
        size: in pixels.

    Returns:
        bool (size, size).
    """
    # The rows that lie, in part at least, in the n-th of `size` equal stripes.
    places = np.arange(size)
    first = places * len(mask) // size
    last = -(-(places + 1) * len(mask) // size)
    for axis in (0, 1):
        sums = np.cumsum(mask, axis, dtype=np.int64)
        sums = np.concatenate([np.zeros_like(sums.take([0], axis)), sums], axis)
        mask = sums.take(last, axis) > sums.take(first, axis)
    return mask
