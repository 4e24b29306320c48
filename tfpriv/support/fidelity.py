"""How much of pictures came back: PSNR, SSIM, and the share that is exact."""

import dataclasses
import math

import numpy as np

from tfpriv.support import extras

with extras.needs("all"):
    from skimage.metrics import structural_similarity

_LARGEST_WINDOW = 7  # of SSIM, in pixels; smaller pictures get a smaller one


@dataclasses.dataclass(frozen=True)
class Fidelity:
    """What pictures that came back are worth.

    Attributes:
        psnr: in dB, of the squared error averaged over all pictures; infinite if they
            are equal.
        ssim: structural similarity, averaged over the pictures; 1 if they are equal.
        exact: share of the pictures that are equal to the last bit.
    """

    psnr: float
    ssim: float
    exact: float


def fidelity(plain: np.ndarray, recovered: np.ndarray) -> Fidelity:
    """Compares what an attack got back with the truth.

    Args:
        plain: uint8 pictures `(n, height, width, channels)`, at least 3x3.
        recovered: the same shape and type.

    Returns:
        The figures.

    Raises:
        ValueError: for arrays that cannot be compared.
    """
    if plain.shape != recovered.shape or plain.ndim != 4 or not len(plain):
        raise ValueError(
            "Expected two arrays of one shape (n, height, width, channels). Received: "
            f"shapes {plain.shape} and {recovered.shape}"
        )
    if not plain.dtype == recovered.dtype == np.uint8:
        raise ValueError(
            f"Expected uint8 pictures. Received: {plain.dtype} and {recovered.dtype}"
        )
    error = np.mean((plain.astype(np.float64) - recovered) ** 2)
    equal = (plain == recovered).all(axis=(1, 2, 3))
    return Fidelity(
        psnr=10 * math.log10(255**2 / error) if error else math.inf,
        ssim=float(np.mean(structural_similarities(plain, recovered))),
        exact=float(equal.mean()),
    )


def structural_similarities(plain: np.ndarray, recovered: np.ndarray) -> np.ndarray:
    """SSIM of each pair of pictures.

    Args:
        plain: uint8 pictures `(n, height, width, channels)`, at least 3x3.
        recovered: the same shape and type.

    Returns:
        float (n,), 1 for equal pictures.

    Reference: Z. Wang et al., "Image Quality Assessment: From Error Visibility to
    Structural Similarity", IEEE Transactions on Image Processing 13, 2004.
    """
    side = min(_LARGEST_WINDOW, *plain.shape[1:3])
    window = side - 1 + side % 2  # odd
    return np.array(
        [
            structural_similarity(
                a, b, win_size=window, channel_axis=-1, data_range=255
            )
            for a, b in zip(plain, recovered, strict=True)
        ]
    )


def mean_colours(shuffled: np.ndarray) -> np.ndarray:
    """What needs no attack: each picture as one patch of its mean colour.

    No order matters to it, so that an attack has found something about the places only
    where it does better.

    Args:
        shuffled: uint8 pictures `(n, height, width, channels)`.

    Returns:
        uint8 pictures of the same shape.
    """
    means = shuffled.mean(axis=(1, 2), keepdims=True)
    return np.broadcast_to(np.rint(means).astype(np.uint8), shuffled.shape)


def mean_picture(shuffled: np.ndarray, known: np.ndarray) -> np.ndarray:
    """What needs no attack either: the average picture, in each picture's mean colour.

    Args:
        shuffled: uint8 pictures `(n, height, width, channels)`.
        known: plain pictures of the same kind, of that size.

    Returns:
        uint8 pictures of the same shape as `shuffled`.
    """
    average = known.mean(axis=0)
    painted = average - average.mean(axis=(0, 1)) + mean_colours(shuffled)
    return np.clip(np.rint(painted), 0, 255).astype(np.uint8)
