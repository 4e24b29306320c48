"""Faces turned upright and cut out, as generators and recognisers expect them."""

import numpy as np
from PIL import Image

from tfpriv.support import images

_SMOOTH = 2  # pixels are drawn so much finer, and averaged


def align(picture: np.ndarray, landmarks: np.ndarray, size: int) -> np.ndarray:
    """Cuts a face out as FFHQ's pictures are cut.

    The square stands on the line between the eyes and the one from them to the mouth;
    its side is four times the distance of the eyes, or 3.6 times that to the mouth if
    this is more. What lies outside of the photograph repeats its edge.

    Args:
        picture: uint8 (height, width, 3).
        landmarks: (5, 2), as `find_faces` gives them.
        size: side of the result in pixels, at least 8.

    Returns:
        uint8 (size, size, 3).

    Raises:
        ValueError: for other shapes, or landmarks that lie on one point.

    Reference: T. Karras et al., "A Style-Based Generator Architecture for Generative
    Adversarial Networks", arXiv:1812.04948, appendix A.
    """
    landmarks = np.asarray(landmarks, float)
    if landmarks.shape != (5, 2) or not np.isfinite(landmarks).all() or size < 8:
        raise ValueError(
            "A face is aligned by 5 finite points, to at least 8 pixels. Received: "
            f"landmarks of shape {landmarks.shape}, size={size}"
        )
    corners = square(landmarks)
    left, top = np.floor(corners.min(0)).astype(int)
    right, bottom = np.ceil(corners.max(0)).astype(int)
    area = with_edges(np.asarray(picture), left - 2, top - 2, right + 2, bottom + 2)
    corners = corners - (left - 2, top - 2)
    # A large face is made smaller first: the turn below reads four pixels only.
    shrink = max(1, int(np.linalg.norm(corners[1] - corners[0]) / (_SMOOTH * size)))
    turned = (
        images.from_array(area)
        .reduce(shrink)
        .transform(
            (_SMOOTH * size,) * 2,
            Image.Transform.QUAD,
            # Pillow goes round by the lower left corner.
            tuple((corners[[0, 3, 2, 1]] / shrink).ravel()),
            Image.Resampling.BILINEAR,
        )
    )
    return np.asarray(turned.reduce(_SMOOTH))


def square(landmarks: np.ndarray) -> np.ndarray:
    """The corners of the square that `align` cuts out.

    Args:
        landmarks: (5, 2), as `find_faces` gives them.

    Returns:
        float (4, 2), (x, y) of the upper left, upper right, lower right and lower left
        corner, as the face stands.

    Raises:
        ValueError: if the landmarks lie on one point.
    """
    eyes = landmarks[:2].mean(0)
    across = landmarks[1] - landmarks[0]
    down = landmarks[3:].mean(0) - eyes
    # Half a side to the face's right: the eyes' line and the upright one, averaged.
    half = across + np.array([down[1], -down[0]])
    length = np.linalg.norm(half)
    if length == 0:
        raise ValueError(
            f"The landmarks must not lie on one point. Received: {landmarks}"
        )
    half *= max(2.0 * np.linalg.norm(across), 1.8 * np.linalg.norm(down)) / length
    below = np.array([-half[1], half[0]])
    middle = eyes + 0.1 * down
    return middle + np.stack([-half - below, half - below, half + below, -half + below])


def with_edges(
    picture: np.ndarray, left: int, top: int, right: int, bottom: int
) -> np.ndarray:
    """A part of a picture that may reach over its edges, which are then repeated.

    Args:
        picture: (height, width, ...).
        left: first column.
        top: first row.
        right: the column behind the last one.
        bottom: the row behind the last one.

    Returns:
        (bottom - top, right - left, ...).
    """
    rows = np.clip(np.arange(top, bottom), 0, picture.shape[0] - 1)
    columns = np.clip(np.arange(left, right), 0, picture.shape[1] - 1)
    return picture[rows][:, columns]
