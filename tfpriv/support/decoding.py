"""Which images are read, and how: one decision for all systems.

docs/images.md has the table. What has a known meaning in 8 bits is converted; the rest
is refused, and the fix is named.
"""

import contextlib
import io
import re
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageCms

GREY = ("1", "L", "LA")
_EXACT = (*GREY, "P", "PA", "RGB", "RGBA")
_CONVERTED = ("RGBX", "CMYK", "YCbCr")
_DEEP = "I;16"
# The other frames of these files are previews, depth maps or layers.
_FIRST_IS_THE_IMAGE = ("MPO", "PSD")
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # tags of TIFF, and a value
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Decoded(NamedTuple):
    """The values of an image file.

    Attributes:
        image: Upright; mode L, LA, RGB or RGBA, colours in sRGB, or I;16 (grey, 0 to
            65535).
        lost: What the file holds and `image` does not; empty if nothing is lost.
    """

    image: Image.Image
    lost: str


def decode(picture: Image.Image, name: object) -> Decoded:
    """Decodes an image that Pillow has opened and not decoded yet.

    Args:
        picture: Opened by Pillow.
        name: What the file is called in errors.

    Raises:
        ValueError: No pixels, several images in one file, or values without a known
            range.
    """
    _check(picture, name)
    lost = _lost(picture)
    picture.load()
    turn = _turn(picture)
    if is_deep(picture):
        image = _sixteen_bits(picture)
    else:
        image = _in_srgb(_without_palette(picture), picture.info.get("icc_profile"))
    return Decoded(image if turn is None else image.transpose(turn), lost)


def as_shown(image: Image.Image) -> Image.Image:
    """Converts a decoded image to RGB, 8 bits a channel, as a viewer shows it.

    Transparent pixels become white; 16-bit grey is scaled from 0..65535 to 0..255.

    Args:
        image: As `Decoded` holds it.
    """
    if image.mode == _DEEP:
        # (v + 128) // 257 is v * 255 / 65535, rounded.
        grey = (np.asarray(image).astype(np.uint32) + 128) // 257
        image = Image.fromarray(grey.astype(np.uint8))
    if image.mode not in ("LA", "RGBA"):
        return image.convert("RGB")
    white = Image.new("RGB", image.size, "white")
    white.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return white


def is_deep(picture: Image.Image) -> bool:
    """Whether an image that Pillow opened is 16-bit grey."""
    # Of Pillow's formats with 32-bit values, PPM alone has a fixed range: 65535.
    return picture.mode.startswith(_DEEP) or (
        picture.mode == "I" and picture.format == "PPM"
    )


def _check(picture, name):
    if not picture.width * picture.height:
        raise ValueError(
            f"The image has no pixels. Received: {name} "
            f"({picture.width}x{picture.height})"
        )
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format not in _FIRST_IS_THE_IMAGE:
        raise ValueError(
            "The file holds several images, or an animation; write each into a file of "
            f"its own. Received: {name} ({frames} images)"
        )
    if not is_deep(picture) and picture.mode not in (*_EXACT, *_CONVERTED):
        raise ValueError(
            "Images must be grey, RGB or CMYK with 8 bits a channel, or grey with 16 "
            "(0 to 65535): other values have no known range. Convert this one first. "
            f"Received: {name} (Pillow's mode {picture.mode})"
        )


def _lost(picture) -> str:
    """Asked before Pillow decodes, which forgets that it drops low bytes."""
    if is_deep(picture):
        return "a transparent shade" if "transparency" in picture.info else ""
    if any(re.search(";16[BLN]", str(tile[3])) for tile in picture.tile):
        return f"more than 8 bits of {picture.mode}"
    return f"mode {picture.mode}" if picture.mode in _CONVERTED else ""


def _turn(picture) -> Image.Transpose | None:
    # Damaged metadata is no reason to refuse intact pixels. Pillow raises by whatever
    # its parser of EXIF runs into.
    with contextlib.suppress(Exception):
        return _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation))
    return None


def _sixteen_bits(picture) -> Image.Image:
    """Grey from 0 to 65535, or, if one shade is transparent, LA."""
    values = np.asarray(picture).astype(np.uint16)
    tags = getattr(picture, "tag_v2", {})
    values <<= 16 - tags.get(_BITS, (16,))[0]
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        values = ~values
    transparent = picture.info.get("transparency")  # a shade
    if transparent is None:
        return Image.fromarray(values)
    grey = as_shown(Image.fromarray(values)).convert("L")
    seen = np.where(values == transparent, 0, 255).astype(np.uint8)
    grey.putalpha(Image.fromarray(seen))
    return grey


def _without_palette(picture) -> Image.Image:
    """Mode L, LA, RGB, RGBA or CMYK."""
    colour = picture.info.get("transparency")
    if isinstance(colour, tuple) and max(colour) > 255:
        picture.info["transparency"] = tuple(value >> 8 for value in colour)
    if picture.has_transparency_data:
        return picture.convert("LA" if picture.mode == "LA" else "RGBA")
    same = picture.mode in ("L", "CMYK")
    return picture.convert(
        picture.mode if same else "L" if picture.mode == "1" else "RGB"
    )


def _in_srgb(image, profile) -> Image.Image:
    """A profile that no colour engine can use is ignored: some programs write such."""
    if image.mode in GREY:
        return image
    if image.mode == "RGBA":
        colours = _in_srgb(image.convert("RGB"), profile)
        colours.putalpha(image.getchannel("A"))
        return colours
    if profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError):
            given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(given):
                srgb = ImageCms.createProfile("sRGB")
                return ImageCms.profileToProfile(image, given, srgb, outputMode="RGB")
    return image.convert("RGB")
