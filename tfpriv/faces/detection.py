"""Faces found in photographs."""

import dataclasses
import functools

import numpy as np

from tfpriv.support import extras

LEAST_CONFIDENCE = 0.9
_POINTS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")


@dataclasses.dataclass(frozen=True)
class Face:
    """A face in a photograph, in its pixels.

    Attributes:
        box: (left, top, width, height).
        landmarks: float (5, 2), (x, y) of the eye on the picture's left, the other
            eye, the nose, the mouth's left corner, the right one.
        confidence: the detector's, 0 to 1.
    """

    box: tuple[int, int, int, int]
    landmarks: np.ndarray
    confidence: float


def find_faces(
    picture: np.ndarray, *, least_confidence: float = LEAST_CONFIDENCE
) -> list[Face]:
    """Finds the faces of a photograph, the surest first.

    Args:
        picture: uint8 (height, width, 3).
        least_confidence: what the detector is less sure of is left out.

    Returns:
        The faces; an empty list if there is none, or all are smaller than some 20
        pixels.

    Raises:
        ValueError: for another shape or dtype.

    Reference: K. Zhang et al., "Joint Face Detection and Alignment using Multi-task
    Cascaded Convolutional Networks", arXiv:1604.02878; the `mtcnn` package.
    """
    picture = np.asarray(picture)
    if picture.ndim != 3 or picture.shape[-1] != 3 or picture.dtype != np.uint8:
        raise ValueError(
            "A photograph must be uint8 (height, width, 3). Received: "
            f"{picture.dtype} of shape {picture.shape}"
        )
    faces = [
        Face(
            tuple(int(side) for side in found["box"]),
            np.array([found["keypoints"][name] for name in _POINTS], float),
            float(found["confidence"]),
        )
        for found in _detector().detect_faces(picture)
        if found["confidence"] >= least_confidence
    ]
    return sorted(faces, key=lambda face: -face.confidence)


@functools.cache
def _detector():
    with extras.needs("faces"):
        from mtcnn import MTCNN

    return MTCNN()
