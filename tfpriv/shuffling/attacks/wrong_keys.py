"""Nearly right keys: permutations that are right at some of the places."""

import numpy as np


def nearly_right(
    orders: np.ndarray, share: float, rng: np.random.Generator
) -> np.ndarray:
    """Permutations that differ from the true ones at a number of places.

    Args:
        orders: the true permutations, `(places,)` or `(n, places)`.
        share: of the places that stay right, in [0, 1].
        rng: chooses the others. One of them alone could not be wrong: then two are.

    Returns:
        Permutations of the same shape.

    Raises:
        ValueError: for a share out of range.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"Expected a share from 0 to 1. Received: share={share}")
    if orders.ndim > 1:
        return np.stack([nearly_right(order, share, rng) for order in orders])
    wrong = round((1 - share) * len(orders))
    wrong = min(2, len(orders)) if wrong == 1 else wrong
    places = rng.permutation(len(orders))[:wrong]
    result = orders.copy()
    result[places] = orders[np.roll(places, 1)]  # one cycle: none of them stays right
    return result
