"""Seeds that follow from names, so that nothing depends on order or company."""

import hashlib


def derived(*parts: int | str) -> int:
    """A seed that follows from numbers and names, and from nothing else.

    Returns:
        A number below 2^31, which every library takes.
    """
    text = "\0".join(map(str, parts)).encode(errors="surrogateescape")
    digest = hashlib.sha256(text).digest()
    return int.from_bytes(digest[:4], "little") >> 1
