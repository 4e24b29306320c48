"""A person who is to stay in photographs as they are, known by a reference."""

import os
from collections.abc import Callable, Sequence

import numpy as np

from tfpriv.faces.large import find_faces_in_large
from tfpriv.inpainting.photos.boxes import Box
from tfpriv.inpainting.photos.recogniser import PhotoRecogniser
from tfpriv.inpainting.photos.settings import Settings
from tfpriv.support import images


class Keeper:
    """Tells the faces of one person.

    Args:
        recogniser: compares faces.
        reference: a photograph with that person's face and no other.
        threshold: cosine similarity from which a face is taken for theirs, -1 to 1.
        find: finds the faces of a photograph.

    Raises:
        FileNotFoundError: there is no such photograph.
        ValueError: it is damaged, or shows no face, or several; or the threshold is out
            of range.
    """

    def __init__(
        self,
        recogniser: PhotoRecogniser,
        reference: str | os.PathLike,
        threshold: float = Settings.keep_above,
        find: Callable = find_faces_in_large,
    ):
        if not -1 <= threshold <= 1:
            raise ValueError(
                "The similarity from which faces are kept must be in [-1, 1]. "
                f"Received: {threshold}"
            )
        photograph = images.load(reference)
        faces = find(photograph)
        if len(faces) != 1:
            raise ValueError(
                "The reference must show the face of one person and no other. "
                f"Received: {reference} with {len(faces)} faces"
            )
        self._recogniser, self._threshold = recogniser, threshold
        self._known = recogniser(photograph, [Box(faces[0].box)])[0]

    def __call__(self, photograph: np.ndarray, boxes: Sequence[Box]) -> list[Box]:
        """Marks faces of that person as kept.

        Args:
            photograph: uint8 (height, width, 3).
            boxes: its faces.
        """
        similar = self._recogniser(photograph, boxes) @ self._known
        return [
            box._replace(kept=box.kept or bool(value >= self._threshold))
            for box, value in zip(boxes, similar, strict=True)
        ]
