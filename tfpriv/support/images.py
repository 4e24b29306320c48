"""The one door for pictures: files to arrays, arrays to files, contact sheets."""

import contextlib
import io
import os
import struct
import textwrap
import threading
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

from tfpriv.support import decoding
from tfpriv.support.outputs import atomic_file

# A picture of more pixels than this is refused before it is decoded, so that a small
# file cannot fill the memory. Pillow's own limit lies a little higher.
MAX_PIXELS = 80_000_000
# Pillow reports damage by whatever its decoder happened to raise.
_DAMAGE = (
    OSError,
    SyntaxError,
    EOFError,
    IndexError,
    TypeError,
    struct.error,
    zlib.error,
)
_OPENING = threading.Lock()
# What is taken for a picture in a folder; anything else is left where it is.
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".mpo"}
)
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


def load(
    path: str | os.PathLike,
    size: int | tuple[int, int] | None = None,
    *,
    fit: str = "crop",
    dtype: str = "uint8",
) -> np.ndarray:
    """Decodes an image to RGB, as every system of tfpriv reads it.

    It is upright as its EXIF orientation says and in sRGB; transparent pixels are
    white, and 16-bit grey is scaled to 8 bits. docs/images.md has the table of kinds.

    Args:
        path: File in any format that Pillow reads.
        size: `None` (keep), one int (square) or `(height, width)` in pixels.
        fit: `"crop"` scales the shorter side and cuts the middle out; `"pad"` scales
            the longer side and adds black margins.
        dtype: `"uint8"`, or a float type (values 0 to 255, unscaled).

    Returns:
        Array of shape `(height, width, 3)`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: Not an image, damaged, cut short, too large, several images in one
            file, or values without a known range; names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no picture at this path. Received: {path}")
    return to_array(decoded(path), size, fit=fit, dtype=dtype)


def decoded(
    source: str | os.PathLike | BinaryIO, name: str | None = None
) -> Image.Image:
    """Decodes an image as `load` does.

    Args:
        source: As for `opened`.
        name: As for `opened`.

    Returns:
        An image of mode RGB.

    Raises:
        ValueError: As for `load`.
    """
    with opened(source, name) as picture:
        return decoding.as_shown(decoding.decode(picture, name or source).image)


def below(folder: str | os.PathLike) -> tuple[list[Path], int]:
    """The pictures of a folder and of all folders below it, by their files' endings.

    Args:
        folder: Files of it that are hidden are a program's own, and no pictures.

    Returns:
        Paths, in an order that is always the same; and the number of other files, with
        links to folders, which are not followed.
    """
    found, others = [], 0
    for place, folders, names in os.walk(folder):
        folders.sort()
        paths = [Path(place, name) for name in sorted(names)]
        pictures = [path for path in paths if _is_picture(path)]
        found += pictures
        links = [name for name in folders if Path(place, name).is_symlink()]
        others += len(paths) - len(pictures) + len(links)
    return found, others


def _is_picture(path):
    named = path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    return named and path.is_file()


@contextlib.contextmanager
def opened(source: str | os.PathLike | BinaryIO, name: str | None = None):
    """A Pillow picture that is still to be decoded, for readers with other wishes.

    Every way in which a file can be bad, and every error while the picture is decoded
    inside the `with`, is one ValueError that names the file.

    Args:
        source: File in any format that Pillow reads; a path, or open for reading.
        name: What the file is called in errors; by default its path.

    Yields:
        The picture, of at most `MAX_PIXELS` pixels.

    Raises:
        ValueError: Not a picture, damaged, cut short, or too large.
    """
    name = source if name is None else name
    try:
        with _opened_quietly(source) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(
                    f"The picture is too large: at most {MAX_PIXELS} pixels. "
                    f"Received: {name} ({picture.width}x{picture.height})"
                )
            yield picture
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(
            f"The picture is too large: at most {MAX_PIXELS} pixels. Received: {name}"
        ) from error
    except ValueError as error:  # Pillow's own do not say which file
        if str(name) in str(error):
            raise
        raise ValueError(f"{error} Received: {name}") from error
    except _DAMAGE as error:
        # Pillow's only other words here are where in the memory the file was.
        unknown = isinstance(error, UnidentifiedImageError)
        raise ValueError(
            "The picture cannot be decoded: the file is damaged, cut short or not a "
            f"picture. Received: {name}" + ("" if unknown else f" ({error})")
        ) from error


def _opened_quietly(source):
    # The list of warning filters is the whole process's, and threads open pictures too.
    with _OPENING, warnings.catch_warnings():
        # Pillow only warns up to twice its limit; for us the limit is the limit.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(source)


def to_array(
    picture: Image.Image,
    size: int | tuple[int, int] | None = None,
    *,
    fit: str = "crop",
    dtype: str = "uint8",
) -> np.ndarray:
    """Brings a Pillow picture to a size and returns it as an array."""
    if fit not in ("crop", "pad"):
        raise ValueError(f"`fit` must be 'crop' or 'pad'. Received: fit={fit!r}")
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
        if min(height, width) < 1:
            raise ValueError(f"`size` must be positive. Received: size={size}")
        if picture.size != (width, height):
            function = ImageOps.fit if fit == "crop" else ImageOps.pad
            picture = function(
                picture, (width, height), method=Image.Resampling.BILINEAR
            )
    return np.asarray(picture, dtype=dtype)


def load_many(
    paths: Sequence[str | os.PathLike], size: int, *, fit: str = "crop", progress=None
) -> np.ndarray:
    """Decodes pictures to one uint8 array of shape `(len(paths), size, size, 3)`.

    Args:
        paths: Files.
        size: Height and width in pixels.
        fit: As in `load`.
        progress: `None`, or a function called with `(done, total)` now and then.
    """
    pictures = np.zeros((len(paths), size, size, 3), "uint8")
    for i, path in enumerate(paths):
        pictures[i] = load(path, size, fit=fit)
        if progress and ((i + 1) % 500 == 0 or i + 1 == len(paths)):
            progress(i + 1, len(paths))
    return pictures


def to_signed(pictures: np.ndarray) -> np.ndarray:
    """Brings uint8 pictures to float32 between -1 and 1."""
    return pictures.astype(np.float32) / 127.5 - 1


def to_values(pictures):
    """Brings pictures between -1 and 1, arrays or tensors, to values of 0 to 255."""
    return (pictures + 1) * 127.5


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Converts images from the range -1 to 1 to uint8; other values are clipped."""
    return np.rint(to_values(np.clip(images, -1, 1))).astype(np.uint8)


def from_array(array: np.ndarray) -> Image.Image:
    """A Pillow picture of an array `(height, width, 3)`, values 0 to 255."""
    array = np.asarray(array)
    if array.ndim != 3 or array.shape[-1] != 3:
        raise ValueError(
            "A picture must have the shape (height, width, 3). "
            f"Received: shape={array.shape}"
        )
    if array.dtype != np.uint8:
        array = np.clip(np.rint(array), 0, 255).astype("uint8")
    return Image.fromarray(array)


def encode(
    picture: np.ndarray | Image.Image,
    ending: str,
    *,
    quality: int = 95,
    exif: bytes = b"",
) -> bytes:
    """A picture as the content of a file, with no metadata but those given.

    Args:
        picture: Pillow picture, or array `(height, width, 3)`, values 0 to 255.
        ending: .png, .jpg or .jpeg.
        quality: JPEG quality, 1 to 100.
        exif: EXIF data, or none.

    Raises:
        ValueError: Another ending.
    """
    kind = FORMATS.get(ending.lower())
    if kind is None:
        raise ValueError(
            f"A picture's file must end in one of {sorted(FORMATS)}. Received: {ending}"
        )
    if not isinstance(picture, Image.Image):
        picture = from_array(picture)
    options = {"quality": quality, "subsampling": 0} if kind == "JPEG" else {}
    if exif:
        options["exif"] = exif
    with io.BytesIO() as file:
        picture.convert("RGB").save(file, kind, **options)
        return file.getvalue()


def save(
    path: str | os.PathLike, picture: np.ndarray | Image.Image, *, quality: int = 95
) -> None:
    """Writes PNG or JPEG (by the file's ending), whole or not at all.

    Args:
        path: Where to; ends in .png, .jpg or .jpeg. No metadata is written.
        picture: Pillow picture, or array `(height, width, 3)`, values 0 to 255.
        quality: JPEG quality, 1 to 100.
    """
    content = encode(picture, Path(path).suffix or str(path), quality=quality)
    with atomic_file(path) as file:
        file.write(content)


def contact_sheet(
    pictures: Sequence[np.ndarray],
    captions: Sequence[str],
    *,
    columns: int = 4,
    cell: int = 200,
    title: str | None = None,
) -> Image.Image:
    """One picture of many, each with its caption below.

    Args:
        pictures: Arrays `(height, width, 3)`, values 0 to 255.
        captions: One text per picture; its own line breaks are kept.
        columns: Pictures in a row.
        cell: Width of a picture on the sheet, in pixels.
        title: Line above the sheet.
    """
    if len(pictures) != len(captions) or not len(pictures):
        raise ValueError(
            "There must be as many captions as pictures, and at least one. "
            f"Received: {len(pictures)} pictures and {len(captions)} captions"
        )
    font, gap, line = ImageFont.load_default(13), 10, 17
    wrapped = [
        [
            row
            for paragraph in text.split("\n")
            for row in textwrap.wrap(paragraph, max(10, cell // 7)) or [""]
        ]
        for text in captions
    ]
    text_height = line * max(len(rows) for rows in wrapped) + 6
    top = 2 * line if title else 0
    count = len(pictures)
    columns = min(columns, count)
    size = (
        gap + columns * (cell + gap),
        top + gap + -(-count // columns) * (cell + text_height + gap),
    )
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((gap, 8), title, fill="black", font=ImageFont.load_default(15))
    for i, (picture, rows) in enumerate(zip(pictures, wrapped, strict=True)):
        x = gap + (i % columns) * (cell + gap)
        y = top + gap + (i // columns) * (cell + text_height + gap)
        shown = from_array(picture)
        method = (
            Image.Resampling.NEAREST
            if shown.width * 2 <= cell
            else Image.Resampling.BILINEAR
        )
        sheet.paste(ImageOps.pad(shown, (cell, cell), method, "white"), (x, y))
        for j, row in enumerate(rows):
            draw.text((x, y + cell + 4 + j * line), row, fill="black", font=font)
    return sheet


def checked(pictures: np.ndarray, *, square: bool = True) -> np.ndarray:
    """Pictures that are what they should be.

    Args:
        pictures: uint8 (n, height, width, 3).
        square: whether height and width must be equal.

    Returns:
        The pictures.

    Raises:
        ValueError: for another shape or dtype.
    """
    pictures = np.asarray(pictures)
    shape = pictures.shape
    fits = pictures.ndim == 4 and shape[-1] == 3 and pictures.dtype == np.uint8
    if not fits or (square and shape[1] != shape[2]):
        wanted = "(n, size, size, 3)" if square else "(n, height, width, 3)"
        raise ValueError(
            f"Pictures must be uint8 {wanted}. "
            f"Received: {pictures.dtype} of shape {shape}"
        )
    return pictures
