"""Where noise and sampling get their randomness: the operating system.

Keys are drawn fresh, used once and never stored, so that nothing that is saved can
replay them. `keras.utils.set_random_seed` does not reach them.
"""

import collections
import contextlib
import hashlib
import os
import random
import threading

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from tfpriv.support.tracing import refuse_in_graph

KEY_BYTES = 32


@contextlib.contextmanager
def restored_generators():
    """Inside, the global generators of Python and NumPy may be seeded.

    Afterwards they go on from where they were before.
    """
    before = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def seed_generators(seed: bytes) -> None:
    """Seeds the global generators of Python and NumPy.

    Args:
        seed: 32 bytes.
    """
    random.seed(seed)
    np.random.seed(np.frombuffer(seed, np.uint32))


class Randomness:
    """A source of 256-bit keys and of uniform words made from them.

    Args:
        seed: `None` for the operating system. An integer makes every key a function
            of the seed, of its purpose and of how many were drawn for that purpose:
            for tests only, since anyone who knows the seed can subtract the noise.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed
        self._drawn: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    def key(self, purpose: str = "") -> bytes:
        """32 fresh bytes.

        Args:
            purpose: String. Operations of one graph may draw in any order; under a
                `seed` they draw the same nevertheless if their purposes differ.

        Raises:
            RuntimeError: TensorFlow traces a function: they would be a constant.
        """
        refuse_in_graph("Randomness.key()")
        if self.seed is None:
            return os.urandom(KEY_BYTES)
        with self._lock:
            self._drawn[purpose] += 1
            text = f"tfpriv test key {self.seed} {purpose} {self._drawn[purpose]}"
        return hashlib.sha256(text.encode()).digest()

    def words(self, count: int, purpose: str = "") -> np.ndarray:
        """Independent uniform 64-bit words, shape `(count,)`, dtype uint64."""
        stream = Cipher(algorithms.ChaCha20(self.key(purpose), bytes(16)), mode=None)
        zeros = bytes(8 * count)
        return np.frombuffer(stream.encryptor().update(zeros), dtype="<u8")

    def bernoulli(self, probability: float, count: int) -> np.ndarray:
        """Indices in `range(count)`, each present with `probability`, independently.

        The probability is rounded down to a multiple of 2**-64.
        """
        if probability >= 1:
            return np.arange(count)
        threshold = np.uint64(int(probability * 2.0**64))
        return np.flatnonzero(self.words(count) < threshold)

    def subset(self, size, count):
        """A uniform subset of `range(count)` with exactly `size` members."""
        return np.argsort(self.words(count), kind="stable")[:size]
