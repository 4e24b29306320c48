"""What a protected picture says of itself, in the tEXt chunks of its PNG file."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Self

from tfpriv.shuffling.keys import CHECK_BYTES
from tfpriv.shuffling.pictures import NONCE_BYTES
from tfpriv.shuffling.purposes import FIXED, PER_PICTURE

VERSION = "1"
_VERSION, _MODE, _SIZE = "tfpriv-shuffling", "tfpriv-mode", "tfpriv-size"
_NONCE, _CHECK = "tfpriv-nonce", "tfpriv-check"


@dataclasses.dataclass(frozen=True)
class ShufflingRecord:
    """All that is needed to put a picture in order again, except the key.

    Attributes:
        size: Height and width in pixels when it was shuffled.
        nonce: Its 12 bytes, or `None` where all pictures share a permutation.
        check: The key's check value, where it was asked for.
    """

    size: tuple[int, int]
    nonce: bytes | None = None
    check: bytes | None = None

    def texts(self) -> dict[str, str]:
        """The texts to store with the picture, by keyword."""
        mode = FIXED if self.nonce is None else PER_PICTURE
        size = f"{self.size[0]}x{self.size[1]}"
        texts = {_VERSION: VERSION, _MODE: mode, _SIZE: size}
        if self.nonce is not None:
            texts[_NONCE] = self.nonce.hex()
        if self.check is not None:
            texts[_CHECK] = self.check.hex()
        return texts

    @classmethod
    def of(cls, texts: Mapping[str, str]) -> Self | None:
        """Reads a picture's texts.

        Args:
            texts: All texts of a picture, by keyword.

        Returns:
            The record, or `None` for a picture that is not protected.

        Raises:
            ValueError: Damaged, or of a later version.
        """
        if _VERSION not in texts:
            return None
        if texts[_VERSION] != VERSION:
            raise ValueError(
                "The picture was protected by a later version of tfpriv. Received: "
                f"version {texts[_VERSION]!r} of the record"
            )
        mode = texts.get(_MODE)
        size = re.fullmatch(r"([1-9]\d{0,8})x([1-9]\d{0,8})", texts.get(_SIZE, ""))
        nonce = _bytes(texts, _NONCE, NONCE_BYTES)
        check = _bytes(texts, _CHECK, CHECK_BYTES)
        if size is None or mode != (FIXED if nonce is None else PER_PICTURE):
            raise _damaged(f"mode {mode!r}, size {texts.get(_SIZE)!r}")
        return cls((int(size[1]), int(size[2])), nonce, check)


def _bytes(texts, keyword, count) -> bytes | None:
    """The bytes that a text writes in hexadecimal, or `None` where there is no text."""
    text = texts.get(keyword)
    if text is not None and not re.fullmatch(rf"[0-9a-f]{{{2 * count}}}", text):
        raise _damaged(f"{keyword} {text[:40]!r}")
    return None if text is None else bytes.fromhex(text)


def _damaged(what: str) -> ValueError:
    return ValueError(
        "What is stored with the picture for the key's owner is damaged. Received: "
        f"{what}"
    )
