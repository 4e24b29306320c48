"""Compares faces in photographs, with a network that was trained on such faces."""

import os
from collections.abc import Sequence

import numpy as np

from tfpriv.inpainting import embedded
from tfpriv.inpainting.photos.boxes import Box
from tfpriv.inpainting.photos.crops import Frame
from tfpriv.inpainting.recognition import trained_on
from tfpriv.networks.facenet.network import DRAWN_FACES, PHOTOGRAPHS

PADDING = 1.2  # the square that the recogniser sees, in longer sides of the box


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
                "A recogniser must be trained on the faces that it compares: on "
                f"{faces}. Name facenet-pytorch's weights (--facenet "
                "20180402-114759-vggface2.pt, `tfpriv weights` says where they are); "
                "for faces drawn by tfpriv, --facenet drawn; of a network that you "
                "trained on photographs, set `network.trained_on = 'photographs'` and "
                f"save it. Received: a FaceNet trained on {trained_on(network)}"
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
