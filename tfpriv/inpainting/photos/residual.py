"""How many repainted faces a recogniser still finds among the originals."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfpriv.inpainting.photos import files
from tfpriv.inpainting.photos.boxes import Box
from tfpriv.inpainting.photos.recogniser import PhotoRecogniser

MOST = 2000  # faces that are compared with one another


class Residual(NamedTuple):
    """What is left of faces, for one recogniser.

    Attributes:
        faces: how many were compared.
        recognised: how many repainted ones are closer to their own original than to
            that of any other face. By chance it would be one. A face that is closest to
            another photograph of the same person does not count, so that this is a
            lower bound.
    """

    faces: int
    recognised: int

    def __str__(self) -> str:
        return (
            f"{self.recognised} of {self.faces} repainted faces are still closest to "
            "their own originals, for this recogniser (by chance: 1)"
        )


def residual(
    recogniser: PhotoRecogniser,
    source: str | os.PathLike,
    output: str | os.PathLike,
    faces: Mapping[str, Sequence[Box]],
    target: Callable[[str], str],
) -> Residual:
    """Looks for repainted faces among the originals.

    Args:
        recogniser: compares faces.
        source: folder of the photographs.
        output: folder of the results.
        faces: of each photograph that has a result. Those that were kept are left out,
            and so are those beyond the first 2,000.
        target: from a photograph's name to that of its result.

    Raises:
        FileNotFoundError: a photograph or its result is missing.
        ValueError: one of them is damaged.
    """
    before, after = [], []
    for name, found in faces.items():
        boxes = [box for box in found if not box.kept][: MOST - len(before)]
        if not boxes:
            continue
        for folder, file, points in (
            (source, name, before),
            (output, target(name), after),
        ):
            content = (Path(folder) / file).read_bytes()
            pixels = files.read(content, file).pixels
            points.extend(recogniser(pixels, boxes))
    if not before:
        return Residual(0, 0)
    closest = np.argmax(np.array(after) @ np.array(before).T, 1)
    return Residual(len(before), int((closest == np.arange(len(before))).sum()))
