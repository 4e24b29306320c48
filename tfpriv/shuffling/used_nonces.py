"""Which images a key's nonces were used for, so that no second one gets the same."""

import threading
from collections.abc import Hashable, Sequence

MOST_REMEMBERED = 1 << 20  # some 250 bytes each


class UsedNonces:
    """Remembers the nonces of one key, in memory, the latest `limit` of them.

    Args:
        limit: Number of nonces; the oldest are forgotten first.
    """

    def __init__(self, limit: int = MOST_REMEMBERED) -> None:
        self._limit = limit
        self._contents: dict[tuple[Hashable, bytes], bytes] = {}
        self._lock = threading.Lock()

    def claim(
        self, kind: Hashable, nonces: Sequence[bytes], contents: Sequence[bytes]
    ) -> None:
        """Takes nonces for images; the same image may have the same nonce again.

        Args:
            kind: What the images have in common; others do not share permutations.
            nonces: One for each image.
            contents: A fingerprint of each image.

        Raises:
            ValueError: Two images have one nonce, in this call or since an earlier
                one. None of these nonces is remembered then.
        """
        with self._lock:
            seen = self._contents
            new: dict[tuple[Hashable, bytes], bytes] = {}
            for nonce, content in zip(nonces, contents, strict=True):
                taken = (kind, nonce)
                if taken in new or seen.get(taken, content) != content:
                    raise ValueError(
                        "A nonce comes twice: two images would share a permutation. "
                        "Use `new_nonces(n)` for each batch; what belongs to one "
                        "image is shuffled together, as its channels. "
                        f"Received: {len(nonces)} nonces, one of them used "
                        f"{'twice' if taken in new else 'before, for another image'}"
                    )
                new[taken] = content
            seen |= new
            for _ in range(len(seen) - self._limit):
                del seen[next(iter(seen))]
