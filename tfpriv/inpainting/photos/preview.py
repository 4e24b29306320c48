"""A sheet of originals, masks and results, for its owner's eyes only."""

import os
from collections.abc import Sequence

import numpy as np

from tfpriv.inpainting.photos.anonymiser import Outcome
from tfpriv.support import images
from tfpriv.support.outputs import atomic_file

TITLE = "Shows the originals: not to be published"
_CELL = 320  # pixels


def shown(name: str, outcome: Outcome) -> list[tuple]:
    """What a sheet shows of a photograph, made small.

    Args:
        name: of its file.
        outcome: what became of it.

    Returns:
        The name, the original, the same darker with the mask in white, and the result;
        nothing if there is no result.
    """
    if outcome.shown is None:
        return []
    original, mask, result = outcome.shown
    covered = np.where(mask[..., None], np.uint8(255), original // 3)
    small = [images.from_array(picture) for picture in (original, covered, result)]
    for picture in small:
        picture.thumbnail((_CELL, _CELL))
    return [(name, *map(np.asarray, small))]


def save(path: str | os.PathLike, photographs: Sequence[tuple]) -> None:
    """Writes a sheet that nobody but its owner can read.

    Args:
        path: .png; not among the results, because originals are on it.
        photographs: what it shows, as `shown` gives it.

    Raises:
        ValueError: there are none.
    """
    if not photographs:
        raise ValueError("A preview shows results. Received: a run that made nothing")
    captions = [c for p in photographs for c in (p[0], "covered (white)", "result")]
    sheet = images.contact_sheet(
        [picture for p in photographs for picture in p[1:]],
        captions,
        columns=3,
        cell=_CELL,
        title=TITLE,
    )
    with atomic_file(path, private=True) as file:
        file.write(images.encode(sheet, ".png"))
