"""Masks by name, for one picture of a known person at a time."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tfpriv.inpainting.masks import geometric

# Where CelebA's alignment puts eyes, nose and mouth on average, in its 218 x 178
# pixels: a constant of the data set, and therefore public.
_CELEBA_POINTS = ((69, 111), (108, 111), (88, 134), (72, 152), (106, 152))
_CELEBA_SHAPE = (218, 178)


class Subject(NamedTuple):
    """A picture that is to be masked, and what is known of it.

    Attributes:
        picture: uint8 (size, size, 3).
        label: the person's number.
        landmarks: float (5, 2), or None where they are not asked for.
        target: float (512,), what the person is recognised by; or None likewise.
        seed: not negative.
    """

    picture: np.ndarray
    label: int
    landmarks: np.ndarray | None
    target: np.ndarray | None
    seed: int

    @property
    def pictures(self) -> np.ndarray:
        """The picture alone, as mask functions take them: (1, size, size, 3)."""
        return self.picture[None]


class Kind(NamedTuple):
    """A kind of mask, and what it needs.

    Attributes:
        make: from a subject to its mask, bool (1, size, size); called with `settings`,
            `network`, `classifier` and `ledger`, where private masks are written down.
        landmarks: whether it follows the face's.
        network: whether it needs a network, and targets.
        classifier: whether it needs a classifier.
        private: whether it spends privacy.
    """

    make: Callable[..., np.ndarray]
    landmarks: bool = False
    network: bool = False
    classifier: bool = False
    private: bool = False


class Settings(NamedTuple):
    """How masks are made.

    Attributes:
        seen: at how many pixels GradCAM's network sees a picture; 512 as published.
        epsilon: of a private mask.
        count: how many patches of a private mask are drawn.
    """

    seen: int = 512
    epsilon: float = 8.0
    count: int = 48


def check(kind: str, network, classifier) -> Kind:
    """A kind of mask, if what it needs is there.

    Args:
        kind: one of `KINDS`.
        network: a `FaceNet`, or None.
        classifier: as `identity_classifier` makes it, or None.

    Raises:
        ValueError: for another kind, or where something is missing.
    """
    if kind not in KINDS:
        names = ", ".join(KINDS)
        raise ValueError(f"`mask` must be one of {names}. Received: mask={kind!r}")
    found = KINDS[kind]
    if (found.network and network is None) or (found.classifier and classifier is None):
        needed = "a FaceNet: `network`" if found.network else "a `classifier`"
        raise ValueError(f"This mask needs {needed}. Received: mask={kind!r} without")
    return found


def celeba_region(grid: int = geometric.GRID) -> np.ndarray:
    """Eyes, nose and mouth where CelebA's alignment puts them on average.

    The same for every picture, and therefore public.

    Args:
        grid: patches on a side of the middle square.

    Returns:
        bool (grid, grid).
    """
    # So many pixels to a patch that none is touched between two of them.
    size = 8 * grid
    points = geometric.in_square(np.array(_CELEBA_POINTS), _CELEBA_SHAPE, size)
    blank = np.zeros((1, size, size, 3), np.uint8)
    covered = geometric.eyes_to_mouth(blank, points[None])[0]
    return covered.reshape(grid, 8, grid, 8).any((1, 3))


def _random(subject, **_):
    return geometric.random_patches(subject.pictures, seed=[subject.seed])


def _grad_cam(subject, settings, network, **_):
    from tfpriv.inpainting.masks.saliency import grad_cam

    return grad_cam(subject.pictures, network, subject.target, size=settings.seen)


def _gradients(subject, classifier, **_):
    from tfpriv.inpainting.masks.saliency import input_gradients

    return input_gradients(subject.pictures, classifier, np.array([subject.label]))


def _landmarks(subject, **_):
    return geometric.eyes_to_mouth(subject.pictures, subject.landmarks[None])


def _whole_face(subject, **_):
    return geometric.whole_face(subject.pictures, subject.landmarks[None])


def _private(subject, settings, network, ledger, **_):
    from tfpriv.inpainting.masks.private import private_patches
    from tfpriv.inpainting.masks.saliency import patch_scores, similarity_heat

    pictures, target, size = subject.pictures, subject.target, settings.seen
    heat = similarity_heat(pictures, network, target, size=size)
    return private_patches(
        pictures,
        patch_scores(heat, geometric.GRID),
        epsilon=settings.epsilon,
        count=settings.count,
        region=celeba_region(),
        ledger=ledger,
    )


KINDS = {
    "random": Kind(_random),
    "gradcam": Kind(_grad_cam, network=True),
    "gradients": Kind(_gradients, classifier=True),
    "landmarks": Kind(_landmarks, landmarks=True),
    "whole_face": Kind(_whole_face, landmarks=True),
    "private": Kind(_private, network=True, private=True),
}
