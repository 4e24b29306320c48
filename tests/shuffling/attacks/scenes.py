"""Small pictures whose neighbours are alike, and shuffled forms of them."""

import numpy as np
from scipy.ndimage import gaussian_filter

SIZE = (12, 12)
PLACES = SIZE[0] * SIZE[1]


def smooth(rng, count, size=SIZE):
    """Pictures of smooth noise, smoother from side to side than up and down."""
    noise = rng.normal(size=(count, *size, 3))
    noise = gaussian_filter(noise, (0, 1.5, 2.5, 0), mode="nearest")
    noise = noise / noise.std() * 50 + 128
    return np.clip(noise + rng.normal(0, 2, noise.shape), 0, 255).astype(np.uint8)


def one_order(rng, images):
    """One permutation for all pictures: (shuffled, order)."""
    order = rng.permutation(images.shape[1] * images.shape[2])
    return moved(images, np.tile(order, (len(images), 1))), order


def own_orders(rng, images):
    """A truly random permutation for each picture: (shuffled, orders)."""
    places = images.shape[1] * images.shape[2]
    orders = np.stack([rng.permutation(places) for _ in images])
    return moved(images, orders), orders


def moved(images, orders):
    """The obvious loop."""
    result = np.empty_like(images)
    width = images.shape[2]
    for image, order, out in zip(images, orders, result, strict=True):
        for q, true in enumerate(order):
            out[q // width, q % width] = image[true // width, true % width]
    return result
