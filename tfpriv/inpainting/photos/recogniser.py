"""Compares faces in photographs, with a network that was trained on such faces.

`Keeper` finds the faces of a person who is to stay; `residual` counts the repainted
faces that are still found.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfpriv.faces.large import find_faces_in_large
from tfpriv.inpainting import embedded
from tfpriv.inpainting.photos import files
from tfpriv.inpainting.photos.boxes import Box
from tfpriv.inpainting.photos.crops import Frame
from tfpriv.inpainting.photos.settings import Settings
from tfpriv.inpainting.recognition import trained_on
from tfpriv.networks.facenet.network import DRAWN_FACES, PHOTOGRAPHS
from tfpriv.support import images

PADDING = 1.2  # the square that the recogniser sees, in longer sides of the box
MOST = 2000  # faces that are compared with one another


class PhotoRecogniser:
    """Embeds the faces of photographs.

    A network of other faces finds strangers alike, so that comparing by it publishes
    them (`Keeper`), or reports that nobody is recognised any more (`residual`).

    Args:
        network: a `FaceNet` whose `trained_on` is `faces`.
        faces: the faces in the photographs, `"photographs"` or `"drawn faces"`.

    Raises:
        ValueError: the network was trained on other faces.
    """

    def __init__(self, network, faces: str = PHOTOGRAPHS):
        if trained_on(network) != faces:
            raise ValueError(
                "A recogniser must be trained on the faces that it compares, here "
                f"{faces}: name facenet-pytorch's weights (see `tfpriv weights`), or "
                "`drawn` for drawn faces, or set `network.trained_on` of your own. "
                f"Received: a FaceNet trained on {trained_on(network)}"
            )
        self._network = network

    @classmethod
    def load(cls, facenet: str | os.PathLike) -> "PhotoRecogniser":
        """Loads the recogniser that `--facenet` names.

        Args:
            facenet: a file as for `load_facenet`, of a network trained on photographs;
                or `"drawn"`, which says that the photographs show drawn faces, for the
                embedded network.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: no FaceNet, or one that was trained on other faces.
        """
        drawn = str(facenet) == embedded.DRAWN
        return cls(embedded.facenet(facenet), DRAWN_FACES if drawn else PHOTOGRAPHS)

    def __call__(self, photograph: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
        """Embeds faces.

        Args:
            photograph: uint8 (height, width, 3).
            boxes: of n faces.

        Returns:
            float32 (n, 512), each of length 1.
        """
        # One by one: a face is then the same in any company.
        found = [
            self._network.embed(Frame.around(box.place, PADDING).cut(photograph)[None])
            for box in boxes
        ]
        none = self._network.embed(np.zeros((0, 1, 1, 3), np.uint8))
        return np.concatenate([none, *found])


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
            raise ValueError(f"`threshold` must be in [-1, 1]. Received: {threshold}")
        photograph = images.load(reference)
        faces = find(photograph)
        if len(faces) != 1:
            raise ValueError(
                f"Expected one face. Received: {reference} with {len(faces)} faces"
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
        if boxes:
            before.extend(recogniser(_pixels(source, name), boxes))
            after.extend(recogniser(_pixels(output, target(name)), boxes))
    if not before:
        return Residual(0, 0)
    closest = np.argmax(np.array(after) @ np.array(before).T, 1)
    return Residual(len(before), int((closest == np.arange(len(before))).sum()))


def _pixels(folder, name):
    return files.read((Path(folder) / name).read_bytes(), name).pixels
