"""A sheet of originals, masks and results, for its owner's eyes only."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfpriv.inpainting.photos.anonymiser import Outcome
from tfpriv.support import images
from tfpriv.support.outputs import atomic_file

TITLE = "Shows the originals: not to be published"
_CELL = 320  # pixels


class Shown(NamedTuple):
    """A photograph on the sheet, made small.

    Attributes:
        name: of its file.
        original: uint8 (height, width, 3).
        covered: the same, darker, with the mask in white.
        result: the same size.
    """

    name: str
    original: np.ndarray
    covered: np.ndarray
    result: np.ndarray


def shown(name: str, outcome: Outcome) -> list[Shown]:
    """What a sheet shows of a photograph.

    Args:
        name: of its file.
        outcome: what became of it.

    Returns:
        One, or none if there is no result.
    """
    if outcome.shown is None:
        return []
    original, mask, result = outcome.shown
    covered = np.where(mask[..., None], np.uint8(255), original // 3)
    return [Shown(name, *map(_small, (original, covered, result)))]


def save(path: str | os.PathLike, photographs: Sequence[Shown]) -> None:
    """Writes a sheet that nobody but its owner can read.

    Args:
        path: .png; not among the results, because originals are on it.
        photographs: what it shows.

    Raises:
        ValueError: there are none.
    """
    if not photographs:
        raise ValueError(
            "A preview shows what a run has made. Received: a run that made nothing"
        )
    captions = [c for p in photographs for c in (p.name, "covered (white)", "result")]
    sheet = images.contact_sheet(
        [picture for p in photographs for picture in p[1:]],
        captions,
        columns=3,
        cell=_CELL,
        title=TITLE,
    )
    with atomic_file(path, private=True) as file:
        file.write(images.encode(sheet, ".png"))


def _small(picture) -> np.ndarray:
    small = images.from_array(picture)
    small.thumbnail((_CELL, _CELL))
    return np.asarray(small)
