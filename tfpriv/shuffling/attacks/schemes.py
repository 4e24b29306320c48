"""The ways of shuffling that are attacked: both modes, and blocks to compare with."""

import dataclasses

import numpy as np

from tfpriv.shuffling.attacks import orders
from tfpriv.shuffling.keys import KEY_BYTES, Key
from tfpriv.shuffling.pictures import NONCE_BYTES, shuffle, unshuffle

BLOCK = 4  # pixels: the side of the blocks


@dataclasses.dataclass(frozen=True)
class Shuffled:
    """Pictures after shuffling.

    Attributes:
        images: uint8 array `(n, height, width, channels)`.
        orders: the truth that attacks look for: int array `(n, places)`.
        nonces: uint8 array `(n, 12)`; `None` without.
    """

    images: np.ndarray
    orders: np.ndarray
    nonces: np.ndarray | None = None


class KeyedScheme:
    """Pictures shuffled with a key, in one of the two modes.

    Args:
        per_picture: a permutation for each picture; else one for all.
        rng: key and nonces are drawn from it, so that a run can be repeated. Never
            draw a key that shall be secret like this.
    """

    block = 1

    def __init__(self, per_picture: bool, rng: np.random.Generator):
        self.name = "per picture" if per_picture else "fixed"
        self._per_picture, self._rng = per_picture, rng
        self._bits = rng.bytes(KEY_BYTES)
        self._another = Key(rng.bytes(KEY_BYTES))

    def shuffle(self, images: np.ndarray) -> Shuffled:
        """Shuffles pictures, with fresh nonces in the mode that has them."""
        count, height, width, _ = images.shape
        nonces = None
        if self._per_picture:
            drawn = self._rng.bytes(count * NONCE_BYTES)
            nonces = np.frombuffer(drawn, np.uint8).reshape(count, NONCE_BYTES)
        key = Key(self._bits)
        places = np.arange(height * width).reshape(1, height, width, 1)
        shown = shuffle(np.tile(places, (count, 1, 1, 1)), key, nonces)
        return Shuffled(shuffle(images, key, nonces), shown.reshape(count, -1), nonces)

    def opened_wrongly(self, shuffled: Shuffled) -> dict[str, np.ndarray]:
        """What wrong keys make of shuffled pictures, by what is wrong with the key."""
        flipped = bytes([self._bits[0] ^ 1]) + self._bits[1:]
        keys = {
            "another key": self._another,
            "the key with one bit flipped": Key(flipped),
        }
        return {
            name: unshuffle(shuffled.images, key, shuffled.nonces)
            for name, key in keys.items()
        }


class BlockScheme:
    """The usual weaker scrambler: blocks moved whole, alike in all pictures.

    Args:
        size: (height, width) of the pictures, multiples of `BLOCK`.
        rng: where the order of the blocks is drawn from.
    """

    name = f"blocks of {BLOCK}x{BLOCK}"
    block = BLOCK

    def __init__(self, size: tuple[int, int], rng: np.random.Generator):
        self._order = orders.block_order(*size, BLOCK, rng)

    def shuffle(self, images: np.ndarray) -> Shuffled:
        """Moves the blocks of pictures."""
        rows = np.tile(self._order, (len(images), 1))
        return Shuffled(orders.apply(images, rows), rows)

    def opened_wrongly(self, shuffled: Shuffled) -> dict[str, np.ndarray]:
        """Nothing: blocks are moved without a key here."""
        del shuffled
        return {}


Scheme = KeyedScheme | BlockScheme


def schemes(size: tuple[int, int], seed: int) -> tuple[Scheme, ...]:
    """All ways of shuffling that are compared.

    Args:
        size: (height, width) of the pictures, multiples of `BLOCK`.
        seed: of keys, nonces and blocks.

    Returns:
        The fixed mode, a permutation per picture, and blocks.
    """
    rng = np.random.default_rng([seed, 1])
    return KeyedScheme(False, rng), KeyedScheme(True, rng), BlockScheme(size, rng)
