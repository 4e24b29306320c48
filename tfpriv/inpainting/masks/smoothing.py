"""From gradients to masks, as OpenCV enlarges and blurs: NumPy alone."""

import numpy as np
from scipy import ndimage

SHARE = 0.25  # of the pixels have the largest gradients
CUT = 50  # of 255, above which the blurred picture of these is covered
BLUR, DEVIATION = 13, 11.0  # of the kernel, in pixels of a picture of
PUBLISHED_SIZE = 512
_CUBIC = -0.75  # OpenCV's slope; Pillow and TensorFlow have -0.5


def resized(values: np.ndarray, size: int, kind: str) -> np.ndarray:
    """Brings maps to another size, reading the nearest values without averaging.

    Args:
        values: float (height, width) or (height, width, channels).
        size: height and width of the result.
        kind: "linear" or "cubic".

    Returns:
        float (size, size) or (size, size, channels).
    """
    rows, columns = (_reading(given, size, kind) for given in values.shape[:2])
    return np.einsum("ah,hw...,bw->ab...", rows, values, columns, optimize=True)


def around_largest(gradient: np.ndarray, size: int) -> np.ndarray:
    """Where the largest gradients are, and near them.

    Args:
        gradient: float (height, width, channels), of one picture.
        size: of the mask in pixels.

    Returns:
        bool (size, size).
    """
    strength = np.abs(resized(gradient, size, "cubic")).mean(-1)
    largest = strength > np.quantile(strength, 1 - SHARE)
    return blurred(255.0 * largest, size / PUBLISHED_SIZE) > CUT


def blurred(values: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Blurs as published, at a picture's own scale.

    Args:
        values: float (height, width).
        scale: of the picture, 1 at 512 pixels.

    Returns:
        float (height, width).
    """
    reach = round((BLUR // 2) * scale)
    places = np.arange(-reach, reach + 1)
    kernel = np.exp(-(places**2) / (2 * (DEVIATION * scale) ** 2))
    kernel /= kernel.sum()
    for axis in (0, 1):
        values = ndimage.correlate1d(values, kernel, axis, mode="mirror")
    return values


def _reading(given, wanted, kind):
    """(wanted, given): how much of each given value is in each wanted one."""
    places = (np.arange(wanted) + 0.5) * given / wanted - 0.5
    first = np.floor(places).astype(int)
    weights, steps = (_linear, (0, 1)) if kind == "linear" else (_cubic, (-1, 0, 1, 2))
    matrix = np.zeros((wanted, given))
    for step in steps:
        index = np.clip(first + step, 0, given - 1)  # edges go on
        part = weights(np.abs(places - first - step))
        np.add.at(matrix, (np.arange(wanted), index), part)
    return matrix


def _linear(distance):
    return 1 - distance


def _cubic(distance):
    a, d = _CUBIC, distance
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d <= 1, near, far)
