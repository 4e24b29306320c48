"""From picture files to pixels and back, losing nothing on the way."""

import io
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from tfpriv.shuffling import png
from tfpriv.shuffling.keys import Key
from tfpriv.shuffling.pictures import new_nonces, shuffle, unshuffle
from tfpriv.shuffling.record import ShufflingRecord
from tfpriv.support import decoding, images

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF")


class Picture(NamedTuple):
    """A decoded picture; protected ones have a record."""

    pixels: np.ndarray  # uint8 or uint16, (height, width, channels)
    record: ShufflingRecord | None = None


def read_plain(
    source: str | os.PathLike | BinaryIO, name: str | None = None
) -> Picture:
    """Decodes a picture that is to be protected.

    Args:
        source: A file's path, or the file, open for reading.
        name: What it is called in errors.

    Returns:
        Its pixels, upright, colours in sRGB: 8 bits, or 16 bits grey; with its alpha,
        if it has one.

    Raises:
        ValueError: Damaged, protected already, or not one picture of a kind that can be
            kept without loss.
    """
    with images.opened(source, name) as picture:
        return Picture(_pixels(picture, name or source, _check_plain))


def read_protected(
    source: str | os.PathLike | BinaryIO, key: Key, name: str | None = None
) -> Picture:
    """Decodes a protected picture; its pixels stay shuffled.

    Args:
        source: A file's path, or the file, open for reading.
        key: The key that it is said to be protected with.
        name: What it is called in errors.

    Returns:
        Its pixels and its record.

    Raises:
        ValueError: Damaged, not protected, changed since, or protected with another
            key (which only a check value tells).
    """
    name = name or source
    with images.opened(source, name) as picture:
        pixels = _pixels(picture, name, _check_protected)
        record = ShufflingRecord.of(picture.text)
    if pixels.shape[:2] != record.size:
        raise ValueError(
            "The picture was scaled or cut after it was shuffled: its pixels cannot be "
            f"put in order again. Received: {name}, {pixels.shape[0]}x{pixels.shape[1]}"
            f" pixels, shuffled with {record.size[0]}x{record.size[1]}"
        )
    if record.check is not None and not key.matches(record.check):
        raise ValueError(f"This is not the key of the picture. Received: {name}")
    return Picture(pixels, record)


def protect(
    pictures: Sequence[Picture], key: Key, *, fixed: bool, check_value: bool
) -> list[bytes]:
    """Shuffles pictures and encodes them.

    Args:
        pictures: Plain pictures, of any sizes.
        key: The secret key.
        fixed: One permutation for all pictures of a size; else each gets a new nonce.
        check_value: Store the key's check value with each.

    Returns:
        A PNG file for each picture.
    """
    nonces = [None if fixed else bytes(nonce) for nonce in new_nonces(len(pictures))]
    check = key.check_value() if check_value else None
    moved = _moved(shuffle, [picture.pixels for picture in pictures], key, nonces)
    return [
        png.encode(pixels, ShufflingRecord(pixels.shape[:2], nonce, check).texts())
        for pixels, nonce in zip(moved, nonces, strict=True)
    ]


def unprotect(pictures: Sequence[Picture], key: Key) -> list[bytes]:
    """Puts the pixels of protected pictures in order and encodes the pictures.

    Args:
        pictures: Protected pictures, of any sizes.
        key: Their key.

    Returns:
        A PNG file for each picture, which says nothing of its protection any more.
    """
    pixels = [picture.pixels for picture in pictures]
    nonces = [picture.record.nonce for picture in pictures]
    return [_plain_png(moved) for moved in _moved(unshuffle, pixels, key, nonces)]


def _moved(
    move: Callable,
    pixels: Sequence[np.ndarray],
    key: Key,
    nonces: Sequence[bytes | None],
) -> list[np.ndarray]:
    """Moves the pixels of each picture, those of one kind together."""
    alike = defaultdict(list)
    for i, (array, nonce) in enumerate(zip(pixels, nonces, strict=True)):
        alike[array.shape, array.dtype, nonce is None].append(i)
    moved = [None] * len(pixels)
    for (_, _, fixed), members in alike.items():
        rows = None
        if not fixed:
            rows = np.frombuffer(b"".join(nonces[i] for i in members), np.uint8)
            rows = rows.reshape(len(members), -1)
        together = move(np.stack([pixels[i] for i in members]), key, rows)
        for i, array in zip(members, together, strict=True):
            moved[i] = array
    return moved


def _check_plain(picture, name) -> None:
    if picture.format not in FORMATS:
        raise ValueError(
            f"Pictures must be one of {', '.join(FORMATS)}. Received: {name} "
            f"({picture.format})"
        )
    if picture.format == "PNG" and ShufflingRecord.of(picture.text) is not None:
        raise ValueError(f"The picture is protected already. Received: {name}")


def _check_protected(picture, name) -> None:
    if picture.format != "PNG" or ShufflingRecord.of(picture.text) is None:
        raise ValueError(
            "The picture is not protected, or a program that changed it dropped what "
            f"`tfpriv shuffle protect` had stored with it. Received: {name}"
        )


def _pixels(picture, name, check) -> np.ndarray:
    """All that the file holds of the pixels: uint8 or uint16, with channels."""
    image, lost = decoding.decode(picture, name)
    check(picture, name)
    if lost:
        raise ValueError(
            "Images must be grey or RGB, with 8 bits (grey: up to 16), with or without "
            "alpha; convert this one first, to decide what may be lost. "
            f"Received: {name} ({lost})"
        )
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _plain_png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()
