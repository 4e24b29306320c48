"""Photographs as files: upright and without what else a file tells, and back again."""

import contextlib
import io
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image

from tfpriv.support import decoding, images

_LONGEST = 256  # bytes of a value that is kept: longer ones hold pictures, or anything
_FOLDERS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
# What is no longer true of the result (it stands upright, and may be cut), or holds
# pictures and what only the maker of a camera can read.
_DROPPED = frozenset(
    {
        ExifTags.Base.Orientation,
        ExifTags.Base.ExifImageWidth,
        ExifTags.Base.ExifImageHeight,
        ExifTags.Base.JpegIFOffset,
        ExifTags.Base.JpegIFByteCount,
        ExifTags.Base.SubIFDs,
        ExifTags.Base.MakerNote,
        ExifTags.Base.ExifInteroperabilityOffset,
        ExifTags.Base.XMLPacket,
        ExifTags.Base.ImageResources,
        *_FOLDERS,
    }
)


class Photograph(NamedTuple):
    """A photograph that was read.

    Attributes:
        pixels: uint8 (height, width, 3), upright, sRGB.
        grey: whether the file was without colours.
        exif: what of its metadata may be kept, as JPEG and PNG hold it.
    """

    pixels: np.ndarray
    grey: bool
    exif: bytes


def read(content: bytes, name: str) -> Photograph:
    """Reads a photograph: its pixels as `images.load` does, and its metadata.

    Args:
        content: of a file in any format that Pillow reads.
        name: what it is called in errors.

    Raises:
        ValueError: as for `images.load`. Damaged metadata is dropped.
    """
    with images.opened(io.BytesIO(content), name) as picture:
        grey = picture.mode in decoding.GREY or decoding.is_deep(picture)
        shown = decoding.as_shown(decoding.decode(picture, name).image)
        return Photograph(np.asarray(shown), grey, _kept(picture))


def target(name: str) -> str:
    """The name of a result: JPEG stays JPEG, anything else becomes PNG, losslessly.

    Args:
        name: of a photograph's file.
    """
    stem, dot, ending = name.rpartition(".")
    if dot + ending.lower() in images.FORMATS:
        return name
    return f"{stem}.png"


def clash(name: str, target: str) -> str:
    """What is to be said of a photograph whose result another one would have, too.

    Args:
        name: of its file.
        target: of the result's.
    """
    return (
        "Several photographs would be written to one file; rename one. "
        f"Received: {name} for {target}"
    )


def encode(
    pixels: np.ndarray, name: str, photograph: Photograph, *, keep_metadata: bool
) -> bytes:
    """The content of a result's file.

    Args:
        pixels: uint8 (height, width, 3).
        name: of the file; ends in .png, .jpg or .jpeg.
        photograph: that it was made of.
        keep_metadata: whether EXIF is written: text, numbers and GPS, but never a
            thumbnail, a preview, a maker's notes or XMP, which may show the original.
    """
    picture = images.from_array(pixels)
    if photograph.grey:
        picture = picture.convert("L")
    _, dot, ending = name.rpartition(".")
    exif = photograph.exif if keep_metadata else b""
    return images.encode(picture, dot + ending, exif=exif)


def _kept(picture) -> bytes:
    """Values that are short, and nothing that is a file in the file."""
    kept = Image.Exif()
    # Pillow raises by whatever its parser of EXIF runs into.
    with contextlib.suppress(Exception):
        exif = picture.getexif()
        kept.update(_short(exif))
        for folder in _FOLDERS:
            values = _short(exif.get_ifd(folder), folder)
            if values:
                kept.get_ifd(folder).update(values)
    return kept.tobytes() if len(kept) or any(map(kept.get_ifd, _FOLDERS)) else b""


def _short(values, folder=None) -> dict:
    return {
        tag: value
        for tag, value in values.items()
        if tag not in _DROPPED
        and not (isinstance(value, bytes | str | tuple) and len(value) > _LONGEST)
        and not isinstance(value, dict)
        and _can_be_written(tag, value, folder)
    }


def _can_be_written(tag, value, folder) -> bool:
    """Whether Pillow writes a value: not a text in the place of a number."""
    exif = Image.Exif()
    with contextlib.suppress(Exception):
        (exif if folder is None else exif.get_ifd(folder))[tag] = value
        return bool(exif.tobytes())
    return False
