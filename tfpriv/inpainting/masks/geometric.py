"""Masks that no network is asked for: random patches, and regions from landmarks.

A mask is bool (n, size, size): True is to be covered and painted anew.
"""

from collections.abc import Callable, Sequence

import numpy as np

from tfpriv.faces import alignment
from tfpriv.support.images import checked

GRID, SHARE = 16, 0.75  # patches on a side, as published; how many of all
_CENTRED = 0.25  # how far from the middle patches are chosen, in sides of a picture
# In the square that `faces.align` cuts out, its side being 1: (left, top, right,
# bottom) round eyes, nose and mouth; middle and half axes of the whole face.
EYES_TO_MOUTH = (0.27, 0.36, 0.73, 0.84)
WHOLE_FACE = ((0.5, 0.55), (0.33, 0.44))


def random_patches(
    pictures: np.ndarray,
    share: float = SHARE,
    grid: int = GRID,
    seed: int | Sequence[int] = 0,
) -> np.ndarray:
    """Covers patches drawn at random, those in the middle more likely than others.

    They are drawn one after the other, without replacement, with a weight that falls
    with the distance from the middle like a normal density whose deviation is a quarter
    of the picture's side.

    Args:
        pictures: uint8 (n, size, size, 3); the size a multiple of `grid`.
        share: of all patches, in [0, 1].
        grid: patches on a side.
        seed: not negative; or one for each picture, whose mask is then the same in any
            company.

    Returns:
        bool (n, size, size), `round(share * grid * grid)` patches of each.

    Raises:
        ValueError: if an argument is out of range.

    Reference: K. He et al., "Masked Autoencoders Are Scalable Vision Learners",
    arXiv:2111.06377, whose masking the fourth of the published systems adopts.
    """
    pictures = checked(pictures)
    if not 0 <= share <= 1:
        raise ValueError(f"`share` must be in [0, 1]. Received: share={share}")
    place = (np.arange(grid) + 0.5) / grid - 0.5
    squares = (place[:, None] ** 2 + place**2).ravel()
    weights = np.exp(-squares / (2 * _CENTRED**2))
    chosen = np.zeros((len(pictures), grid * grid), bool)
    for row, random in zip(chosen, _generators(seed, len(pictures)), strict=True):
        # Whoever rings first: the order of exponential waiting times is that of
        # drawing one by one with these weights.
        waits = random.exponential(size=grid * grid) / weights
        row[np.argsort(waits)[: round(share * grid * grid)]] = True
    return spread(chosen.reshape(-1, grid, grid), pictures.shape[1])


def eyes_to_mouth(pictures: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Covers eyes, nose and mouth: a rectangle that stands as the face stands.

    Args:
        pictures: uint8 (n, size, size, 3).
        landmarks: (n, 5, 2), of each picture's face, as `faces.find_faces` gives them.

    Returns:
        bool (n, size, size).

    Raises:
        ValueError: for other shapes, or landmarks that are not finite or lie on one
            point: without a face there is no mask.
    """
    return _in_faces(pictures, landmarks, rectangle(*EYES_TO_MOUTH))


def whole_face(pictures: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Covers a face from hairline to chin and ear to ear, with an ellipse.

    Args:
        pictures: as for `eyes_to_mouth`.
        landmarks: as for `eyes_to_mouth`.

    Returns:
        bool (n, size, size).

    Raises:
        ValueError: as for `eyes_to_mouth`.
    """
    return _in_faces(pictures, landmarks, ellipse(*WHOLE_FACE))


def rectangle(left: float, top: float, right: float, bottom: float) -> Callable:
    """A function from x and y to whether they lie in a rectangle."""
    return lambda x, y: (left <= x) & (x <= right) & (top <= y) & (y <= bottom)


def ellipse(middle: tuple[float, float], axes: tuple[float, float]) -> Callable:
    """A function from x and y to whether they lie in an ellipse of two half axes."""
    (x0, y0), (across, down) = middle, axes
    return lambda x, y: ((x - x0) / across) ** 2 + ((y - y0) / down) ** 2 <= 1


def aligned_region(grid: int = GRID) -> np.ndarray:
    """Eyes, nose and mouth of any picture that `faces.align` made.

    It is the same for every picture, and therefore public.

    Args:
        grid: patches on a side.

    Returns:
        bool (grid, grid): the patches that `eyes_to_mouth`'s rectangle touches.
    """
    edges = np.arange(grid + 1) / grid
    left, top, right, bottom = EYES_TO_MOUTH
    columns = (edges[1:] > left) & (edges[:-1] < right)
    rows = (edges[1:] > top) & (edges[:-1] < bottom)
    return rows[:, None] & columns


def spread(patches: np.ndarray, size: int) -> np.ndarray:
    """Patches of a grid as masks.

    Args:
        patches: bool (n, grid, grid).
        size: of the pictures in pixels, a multiple of `grid`.

    Returns:
        bool (n, size, size).

    Raises:
        ValueError: if the size is no multiple.
    """
    grid = patches.shape[-1]
    if grid < 1 or size % grid:
        raise ValueError(
            f"`size` must be a multiple of `grid`. Received: size={size}, grid={grid}"
        )
    return patches.repeat(size // grid, 1).repeat(size // grid, 2)


def in_square(points: np.ndarray, shape: tuple[int, int], size: int) -> np.ndarray:
    """Where points of a picture lie in its middle square, brought to a size.

    Args:
        points: (..., 2), (x, y) in pixels.
        shape: height and width of the picture.
        size: of the square afterwards.

    Returns:
        float, of the same shape.
    """
    height, width = shape
    side = min(height, width)
    corner = np.array([width - side, height - side]) / 2
    return (np.asarray(points, float) - corner) * (size / side)


def _generators(seed, count):
    """A generator for each picture."""
    if np.ndim(seed) == 0:
        seed = [(seed, i) for i in range(count)]
    if len(seed) != count:
        raise ValueError(
            f"Expected one seed, or as many. Received: {len(seed)} for {count} pictures"
        )
    return [np.random.default_rng(s) for s in seed]


def _in_faces(pictures, landmarks, inside: Callable) -> np.ndarray:
    """What lies inside, by places in the square that `faces.align` cuts out."""
    pictures, landmarks = checked(pictures), np.asarray(landmarks, float)
    if landmarks.shape != (len(pictures), 5, 2) or not np.isfinite(landmarks).all():
        raise ValueError(
            f"Expected 5 finite points a picture. Received: shape {landmarks.shape}"
        )
    pixels = np.stack(np.mgrid[: pictures.shape[1], : pictures.shape[2]][::-1], -1)
    masks = np.zeros(pictures.shape[:3], bool)
    for mask, points in zip(masks, landmarks, strict=True):
        corner, right, _, below = alignment.square(points)
        axes = np.stack([right - corner, below - corner], 1)
        places = (pixels + 0.5 - corner) @ np.linalg.inv(axes).T
        mask[:] = inside(places[..., 0], places[..., 1])
    return masks
