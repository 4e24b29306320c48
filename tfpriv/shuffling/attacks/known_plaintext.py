"""Known plaintext: the permutation from pictures whose shuffled form is known too."""

import dataclasses

import numpy as np

from tfpriv.shuffling.attacks.orders import block_places


@dataclasses.dataclass(frozen=True)
class RecoveredOrder:
    """What pairs of a picture and its shuffled form say about a permutation.

    Attributes:
        order: int array `(places,)`: the permutation, guessed where it is not certain.
        certain: share of the places that nothing is left to guess about.
        pairs: how many pairs, from the first on, one permutation can explain. If fewer
            than were given, the pictures do not share one.
    """

    order: np.ndarray
    certain: float
    pairs: int


def recover_order(
    plain: np.ndarray, shuffled: np.ndarray, rng: np.random.Generator, side: int = 1
) -> RecoveredOrder:
    """Finds the permutation that leads from pictures to their shuffled forms.

    A place (or block) is known by the colours that it has in all pairs together. Where
    several have the same colours, they are matched at random among themselves.

    Args:
        plain: pictures `(n, height, width, channels)`, any integer type; n >= 1.
        shuffled: their shuffled forms, in the same order.
        rng: for the guesses.
        side: of the blocks that the permutation moves, in pixels; 1 for single pixels.

    Returns:
        The permutation, of the longest run of pairs from the first on that one
        permutation explains.

    Raises:
        ValueError: for arrays of different shapes, or if the first pair is none: the
            shuffled picture holds other colours than the plain one.
    """
    if plain.shape != shuffled.shape or plain.ndim != 4 or not len(plain):
        raise ValueError(
            "Expected pictures (n, height, width, channels) and as many shuffled ones. "
            f"Received: shapes {plain.shape} and {shuffled.shape}"
        )
    found, blocks = None, block_places(*plain.shape[1:3], side)
    before, after = _signatures(plain, blocks), _signatures(shuffled, blocks)
    for pairs in range(1, len(plain) + 1):
        matched = _match(before[:, :pairs], after[:, :pairs], rng)
        if matched is None:
            break
        match, certain = matched
        order = np.empty(blocks.size, np.int64)
        order[blocks] = blocks[match]
        found = RecoveredOrder(order, certain, pairs)
    if found is None:
        raise ValueError(
            "A shuffled picture has the colours of the plain one. Received: a first "
            "pair whose colours differ"
        )
    return found


def _match(before, after, rng):
    """(match, certain), or `None` if no permutation leads from one to the other."""
    both = np.concatenate([before, after]).reshape(2 * len(before), -1)
    _, groups = np.unique(both, axis=0, return_inverse=True)
    true, shown = np.split(groups.ravel(), 2)
    sizes = np.bincount(true, minlength=groups.max() + 1)
    if not np.array_equal(sizes, np.bincount(shown, minlength=len(sizes))):
        return None
    # Both sorted by signature, equal ones at random: what stands side by side matches.
    chance = rng.permutation(len(true))
    match = np.empty_like(true)
    match[np.argsort(shown, kind="stable")] = np.lexsort((chance, true))
    return match, float(np.mean(sizes[true] == 1))


def _signatures(pictures, blocks):
    """Each block's colours in each picture: `(blocks, pictures, values)`."""
    flat = pictures.reshape(len(pictures), blocks.size, -1)[:, blocks]
    return flat.swapaxes(0, 1).reshape(len(blocks), len(pictures), -1)
