"""Pictures of a batch that are painted shape by shape, with soft edges."""

import numpy as np


class Canvas:
    """n pictures, and the places of their pixels.

    The frame's middle is (0, 0), x grows to the right and y downwards; from the top to
    the bottom are 2 / zoom units. Numbers of a shape are floats or arrays (n,).

    Args:
        count: number of pictures.
        height: in pixels.
        width: in pixels.
        zoom: how much larger than in a frame of 2 units things appear.

    Attributes:
        pixels: float32 (n, height, width, 3), 0 to 1.
        x: float32 (1, 1, width), the pixels' places.
        y: float32 (1, height, 1).
    """

    def __init__(self, count: int, height: int, width: int, zoom: float = 1.0):
        self.pixels = np.zeros((count, height, width, 3), "float32")
        self._pixel = 2 / (height * zoom)
        self.x = self._places(width)[None, None, :]
        self.y = self._places(height)[None, :, None]

    def _places(self, size):
        return ((np.arange(size) + 0.5 - size / 2) * self._pixel).astype("float32")

    def paint(self, cover: np.ndarray, colour: np.ndarray) -> None:
        """Mixes a colour in.

        Args:
            cover: (n, height, width), 0 (nothing) to 1.
            colour: (3,) or (n, 3), 0 to 1.
        """
        colour = np.asarray(colour, "float32")
        colour = colour.reshape(-1, 1, 1, 3)
        self.pixels += cover[..., None].astype("float32") * (colour - self.pixels)

    def inside(self, distance: np.ndarray, soft: float = 0.0) -> np.ndarray:
        """What of each pixel lies within a shape.

        Args:
            distance: to the shape's edge, negative inside.
            soft: how far the edge is blurred beyond one pixel.

        Returns:
            0 to 1, of distance's shape.
        """
        return np.clip(0.5 - distance / (self._pixel + soft), 0, 1)

    def ellipse(self, x, y, width, height, angle=0.0) -> np.ndarray:
        """Distance to an ellipse of two radii, turned by an angle in radians."""
        x, y, width, height, angle = map(column, (x, y, width, height, angle))
        right, down = self.x - x, self.y - y
        turned = np.cos(angle) * right + np.sin(angle) * down
        down = np.cos(angle) * down - np.sin(angle) * right
        radius = np.sqrt((turned / width) ** 2 + (down / height) ** 2)
        return (radius - 1) * np.minimum(width, height)

    def curve(self, x, y, half_width, bend, thickness) -> np.ndarray:
        """Distance to a parabola's band; its ends lie `bend` above its middle."""
        x, y, half_width, bend, thickness = map(
            column, (x, y, half_width, bend, thickness)
        )
        along = (self.x - x) / half_width
        down = self.y - (y - bend * np.minimum(along, 2) ** 2)
        taper = np.sqrt(np.clip(1 - along**2, 0, 1))
        beyond = (np.abs(along) - 1) * half_width
        return np.maximum(np.abs(down) - thickness * taper, beyond)


def column(value) -> np.ndarray:
    """A number of each picture, or one for all, as (n or 1, 1, 1)."""
    return np.asarray(value, "float32").reshape(-1, 1, 1)
