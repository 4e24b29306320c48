"""Two masks exactly as the published scripts make them, to compare with.

They differ from what their description says, and from ours:

* `patches` draws 144 times, with replacement, among the 9 x 9 patches from the fifth to
  the thirteenth of 16: some 83 % of these, a quarter of the picture, and nothing else.
* `gradient_masks` reads a colour picture of three channels' largest gradients in Lab,
  blurs one component and colours it: what comes out covers where pixels with a large
  green gradient and no large blue one are neither rare nor common nearby.

Reference: github.com/AakankshaSanctis/PrivacyPreservingDiffusion, `pipeline/`.
"""

import numpy as np

from tfpriv.inpainting.masks import geometric, smoothing
from tfpriv.support.images import checked

DRAWS, FIRST, LAST = 144, 4, 12
GREEN, BLUE = 1, 2
# The shades that OpenCV's JET colours with more than 50 of 255 of green.
JET_GREEN = (45, 210)


def patches(pictures: np.ndarray, seed: int = 0) -> np.ndarray:
    """The random patches of `generate_with_random_masks.py`.

    Args:
        pictures: uint8 (n, size, size, 3), the size a multiple of 16.
        seed: not negative.

    Returns:
        bool (n, size, size).
    """
    pictures, random = checked(pictures), np.random.default_rng(seed)
    chosen = np.zeros((len(pictures), geometric.GRID, geometric.GRID), bool)
    for one in chosen:
        rows, columns = random.integers(FIRST, LAST + 1, (2, DRAWS))
        one[rows, columns] = True
    return geometric.spread(chosen, pictures.shape[1])


def gradient_masks(gradients: np.ndarray) -> np.ndarray:
    """The masks of `generate_with_saliency_gradients_masks.py`.

    Args:
        gradients: float (n, height, width, 3), of the input, red first.

    Returns:
        bool (n, 512, 512), but for rounding where a value is just at a threshold.
    """
    found = [_gradient_mask(gradient) for gradient in gradients]
    size = smoothing.PUBLISHED_SIZE
    return np.reshape(found, (len(gradients), size, size)).astype(bool)


def _gradient_mask(gradient):
    image = np.abs(smoothing.resized(gradient, smoothing.PUBLISHED_SIZE, "cubic"))
    low, high = image.min(), image.max()
    image = ((image - low) * (1 / (high - low) * 255)).astype(np.uint8)
    large = image > np.percentile(image, 75)
    # Of the eight colours, Lab's first component is at most 100 of 255 for these two.
    dark = large[..., GREEN] & ~large[..., BLUE]
    shade = np.rint(smoothing.blurred(255.0 * ~dark))
    return (shade >= JET_GREEN[0]) & (shade <= JET_GREEN[1])
