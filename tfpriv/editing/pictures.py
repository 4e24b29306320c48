"""Pictures as files and as generators draw them."""

import os
from pathlib import Path

import numpy as np

from tfpriv.faces.alignment import align
from tfpriv.faces.detection import find_faces
from tfpriv.support import images

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def read_face(path: str | os.PathLike, size: int, *, aligned: bool) -> np.ndarray:
    """Reads a picture of a face as a generator draws them.

    Args:
        path: a picture.
        size: the generator's, in pixels.
        aligned: whether the face fills the picture as the generator's do. Else it is
            found first, turned upright and cut out.

    Returns:
        float32 (size, size, 3), -1 to 1.

    Raises:
        FileNotFoundError: there is no such picture.
        ValueError: it is damaged, or shows no face.
    """
    if aligned:
        return images.to_signed(images.load(path, size))
    photograph = images.load(path)
    faces = find_faces(photograph)
    if not faces:
        raise ValueError(f"No face was found in the picture. Received: {path}")
    return images.to_signed(align(photograph, faces[0].landmarks, size))


def files_of(source: str | os.PathLike, suffixes: tuple[str, ...]) -> list[Path]:
    """The files meant by a file or a folder, in the order of their names.

    Args:
        source: a file, or a folder whose files with these endings are meant.
        suffixes: lower-case endings.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: there is no such file in the folder, or two files' names differ in
            their endings only, so that their results would meet.
    """
    source = Path(source)
    if not source.is_dir():
        if not source.is_file():
            raise FileNotFoundError(f"There is no such file. Received: {source}")
        return [source]
    found = sorted(
        p for p in source.iterdir() if p.suffix.lower() in suffixes and p.is_file()
    )
    stems = [p.stem for p in found]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if not found or twice:
        raise ValueError(
            f"The folder must hold files {', '.join(suffixes)}, each name once. "
            f"Received: {source} with {', '.join(twice) or 'none'}"
        )
    return found


def folder_of(source: str | os.PathLike) -> Path:
    """The folder of the files that `files_of` gives."""
    return Path(source) if Path(source).is_dir() else Path(source).parent
