"""What the functions of this system take as pictures."""

import numpy as np


def checked(pictures: np.ndarray, *, square: bool = True) -> np.ndarray:
    """Pictures that are what they should be.

    Args:
        pictures: uint8 (n, height, width, 3).
        square: whether height and width must be equal.

    Returns:
        The pictures.

    Raises:
        ValueError: for another shape or dtype.
    """
    pictures = np.asarray(pictures)
    shape = pictures.shape
    fits = pictures.ndim == 4 and shape[-1] == 3 and pictures.dtype == np.uint8
    if not fits or (square and shape[1] != shape[2]):
        wanted = "(n, size, size, 3)" if square else "(n, height, width, 3)"
        raise ValueError(
            f"Pictures must be uint8 {wanted}. "
            f"Received: {pictures.dtype} of shape {shape}"
        )
    return pictures
