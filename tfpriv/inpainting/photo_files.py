"""Photographs as files: upright and without what else a file tells, and back again."""

import contextlib
import io
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

from tfpriv import images

_SEVERAL = ("MPO",)  # of these the first picture is the photograph
_TOO_DEEP = ("I", "F")  # how modes begin whose values don't fit into 8 bits
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
    """Reads a photograph.

    It is turned upright as its EXIF orientation says, brought to sRGB if it has a
    colour profile, and what is transparent becomes white, as it is shown.

    Args:
        content: of a file in any format that Pillow reads.
        name: what it is called in errors.

    Raises:
        ValueError: it is no picture, damaged, too large, of several pictures, or has
            more than 8 bits a channel.
    """
    with images.opened(io.BytesIO(content), name) as picture:
        frames = getattr(picture, "n_frames", 1)
        if frames > 1 and picture.format not in _SEVERAL:
            raise ValueError(
                "The file holds several pictures; write each into a file of its own. "
                f"Received: {name} ({frames} pictures)"
            )
        if picture.mode.startswith(_TOO_DEEP):
            raise ValueError(
                "A photograph has 8 bits a channel; bring it to them first. "
                f"Received: {name} (Pillow's mode {picture.mode})"
            )
        grey = picture.mode in ("1", "L", "LA")
        exif = _kept(picture.getexif())
        shown = _on_white(ImageOps.exif_transpose(picture))
        return Photograph(np.asarray(_in_srgb(shown)), grey, exif)


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


def _on_white(picture):
    if not picture.has_transparency_data:
        return picture
    profile = picture.info.get("icc_profile")
    layer = picture.convert("RGBA")
    white = Image.new("RGB", picture.size, "white")
    white.paste(layer, mask=layer.getchannel("A"))
    white.info["icc_profile"] = profile
    return white


def _in_srgb(picture):
    """A profile that is no use is none: some programs write such."""
    profile = picture.info.get("icc_profile")
    if profile and picture.mode in ("RGB", "CMYK"):
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError):
            given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(given):
                srgb = ImageCms.createProfile("sRGB")
                return ImageCms.profileToProfile(picture, given, srgb, outputMode="RGB")
    return picture.convert("RGB")


def _kept(exif) -> bytes:
    """Values that are short, and nothing that is a file in the file."""
    kept = Image.Exif()
    kept.update(_short(exif))
    for folder in _FOLDERS:
        values = _short(exif.get_ifd(folder))
        if values:
            kept.get_ifd(folder).update(values)
    return kept.tobytes() if len(kept) or any(map(kept.get_ifd, _FOLDERS)) else b""


def _short(values) -> dict:
    return {
        tag: value
        for tag, value in values.items()
        if tag not in _DROPPED
        and not (isinstance(value, bytes | str | tuple) and len(value) > _LONGEST)
        and not isinstance(value, dict)
    }
