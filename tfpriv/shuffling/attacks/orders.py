"""Orders of a picture's places: applied, undone, compared, made block by block."""

import numpy as np


def apply(images: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Shuffles pictures by orders that are known.

    Args:
        images: `(n, height, width, channels)`.
        orders: int array `(places,)`, one for all pictures, or `(n, places)`.

    Returns:
        The pictures with `shuffled[:, q] = images[:, order[q]]` over their places.
    """
    count, height, width, channels = images.shape
    flat = images.reshape(count, height * width, channels)
    rows = np.broadcast_to(orders, flat.shape[:2])
    return np.take_along_axis(flat, rows[:, :, None], axis=1).reshape(images.shape)


def undo(shuffled: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Puts pictures in order by orders that are known or guessed.

    Args:
        shuffled: `(n, height, width, channels)`.
        orders: permutations of the places, `(places,)` or `(n, places)`.

    Returns:
        Pictures of the same shape, in plain order if `orders` are right.
    """
    return apply(shuffled, np.argsort(orders, axis=-1))


def agreement(orders: np.ndarray, guessed: np.ndarray) -> float:
    """The share of places whose true place was guessed right."""
    return float(np.mean(np.equal(orders, guessed)))


def block_order(
    height: int, width: int, side: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws an order that moves square blocks and leaves each as it is inside.

    The usual weaker scrambler, to compare with; with blocks of one pixel, a random
    permutation of all places.

    Args:
        height: of the pictures, a multiple of `side`.
        width: of the pictures, a multiple of `side`.
        side: of a block, in pixels.
        rng: where randomness comes from.

    Returns:
        int array `(height * width,)`.

    Raises:
        ValueError: for blocks that do not fill the picture.
    """
    blocks = block_places(height, width, side)
    order = np.empty(height * width, np.int64)
    order[blocks] = blocks[rng.permutation(len(blocks))]
    return order


def block_places(height: int, width: int, side: int) -> np.ndarray:
    """The places of each block: int array `(blocks, side * side)`.

    Args:
        height: of the pictures, a multiple of `side`.
        width: of the pictures, a multiple of `side`.
        side: of a block, in pixels.

    Raises:
        ValueError: for blocks that do not fill the picture.
    """
    if side < 1 or height % side or width % side:
        raise ValueError(
            f"Blocks must fill the picture. Received: side={side}, height={height}, "
            f"width={width}"
        )
    places = np.arange(height * width)
    grid = places.reshape(height // side, side, width // side, side)
    return grid.transpose(0, 2, 1, 3).reshape(-1, side * side)
