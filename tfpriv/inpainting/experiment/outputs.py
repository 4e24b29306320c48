"""The folder of an experiment: originals, masks and results, three files a picture.

`original/7-img-label-3.jpg`, `masks/7-masks-label-3.jpg` and
`results/7-generated-label-3.jpg` belong to picture 7 of person 3. Such a folder is for
measuring, not for publishing: it holds the originals, and names the persons.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfpriv.support import images

# The word in the names of each folder's files; a result is written last.
WORDS = {"original": "img", "masks": "masks", "results": "generated"}
LEDGER = "ledger.json"  # what private masks have spent
_WHITE = 128  # of 255: from here on a pixel of a mask's file is covered
_NAME = re.compile(r"([^-/\\]+)-([a-z]+)-label-(0|[1-9]\d*)\.jpg")


class Output(NamedTuple):
    """Where the three files of a picture lie.

    Attributes:
        image: the picture's id, without a hyphen.
        label: the person's number.
        original: file of the picture as it was.
        mask: file that is white where the picture was covered.
        result: file of the repainted picture.
    """

    image: str
    label: int
    original: Path
    mask: Path
    result: Path


class Pictures(NamedTuple):
    """What the three files hold.

    Attributes:
        original: uint8 (height, width, 3).
        mask: bool (height, width).
        result: uint8 (height, width, 3).
    """

    original: np.ndarray
    mask: np.ndarray
    result: np.ndarray


def place(folder: str | os.PathLike, image: str, label: int) -> Output:
    """Where the files of a picture belong.

    Args:
        folder: of the experiment.
        image: the picture's id.
        label: the person's number, not negative.

    Raises:
        ValueError: if the two cannot stand in a file's name.
    """
    names = [f"{image}-{word}-label-{label}.jpg" for word in WORDS.values()]
    if image.startswith(".") or not all(map(_NAME.fullmatch, names)):
        raise ValueError(
            "A picture's id is text without hyphens, slashes or a leading dot, and a "
            f"label a number, not negative. Received: {image!r}, label {label}"
        )
    parts = zip(WORDS, names, strict=True)
    return Output(image, int(label), *(Path(folder) / part / n for part, n in parts))


def write(output: Output, pictures: Pictures) -> None:
    """Writes the three files, each whole or not at all, the result last.

    A picture whose result is there is therefore complete.

    Args:
        output: as `place` gives it.
        pictures: of one size.

    Raises:
        ValueError: if the sizes differ. Nothing was written.
    """
    _check_sizes(pictures, output)
    shades = np.uint8(255) * pictures.mask[..., None].repeat(3, -1)
    contents = pictures.original, shades, pictures.result
    for path, content in zip(output[2:], contents, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        images.save(path, content)


def listed(folder: str | os.PathLike) -> list[Output]:
    """The pictures of an experiment, by their ids.

    Args:
        folder: of the experiment, as `write` or the published scripts fill it.

    Raises:
        FileNotFoundError: one of the three folders is missing.
        ValueError: a file has another name, or lacks a partner, or two pictures have
            one id; names the file.
    """
    labels: dict[str, int] = {}
    parts: dict[str, set[str]] = {}
    for part in WORDS:
        for path in _files(Path(folder) / part):
            image, label = _parsed(path, part)
            if labels.setdefault(image, label) != label:
                raise ValueError(
                    f"An id has one label, here {labels[image]}. Received: {path}"
                )
            parts.setdefault(image, set()).add(part)
    if not labels:
        raise ValueError(f"There are no pictures in this folder. Received: {folder}")
    found = [place(folder, n, labels[n]) for n in sorted(labels, key=_order)]
    for output in found:
        lost = [p for p in output[2:] if p.parent.name not in parts[output.image]]
        if lost:
            raise ValueError(
                "A picture's original, mask and result go together; where a run was "
                f"interrupted, run it again. Received: {output.image} without {lost[0]}"
            )
    return found


def read(output: Output) -> Pictures:
    """Reads the files of a picture.

    Args:
        output: one of `listed`.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is no picture, or they differ in size; names the file.
    """
    original, mask, result = map(images.load, output[2:])
    pictures = Pictures(original, mask[..., 0] >= _WHITE, result)
    _check_sizes(pictures, output)
    return pictures


def _check_sizes(pictures, output):
    wanted = pictures.original.shape[:2]
    for path, found in zip(output[2:], pictures, strict=True):
        if found.shape[:2] != wanted:
            raise ValueError(
                f"A picture's files must have one size, here {wanted}. Received: "
                f"{path} of {found.shape[:2]}"
            )


def _files(folder):
    if not folder.is_dir():
        raise FileNotFoundError(f"The experiment lacks a folder. Received: {folder}")
    # Names with a dot are of files that a killed process was writing.
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]


def _parsed(path, part):
    match = _NAME.fullmatch(path.name)
    if not match or match[2] != WORDS[part]:
        raise ValueError(
            f"Expected ID-{WORDS[part]}-label-NUMBER.jpg. Received: {path}"
        )
    return match[1], int(match[3])


def _order(image):
    """Numbers by their size, before other ids."""
    return (not image.isdecimal(), int(image) if image.isdecimal() else 0, image)
