"""LPIPS: a distance of pictures that follows people's judgement.

Its five linear weights are converted from the `lpips` package, version 0.1.4
(`lpips/weights/v0.1/vgg.pth`), whose licence lies beside them.
"""

import os
from pathlib import Path

import numpy as np
from keras import ops

from tfpriv.networks.perception import vgg
from tfpriv.support import images

LINEAR = Path(__file__).with_name("lpips_vgg.npz")
_RELUS = (3, 8, 15, 22, 29)
_EPSILON = 1e-10


class Lpips:
    """Called with two batches of pictures, it returns their distances.

    Args:
        path: torchvision's `vgg16-397923af.pth`; by default it is downloaded, once.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or does not hold VGG-16.

    Reference: R. Zhang et al., "The Unreasonable Effectiveness of Deep Features as a
    Perceptual Metric", arXiv:1801.03924.
    """

    def __init__(self, path: str | os.PathLike | None = None):
        self._network = vgg.features(path, _RELUS, size=None)
        with np.load(LINEAR) as data:
            self._linear = [data[f"lin{i}"] for i in range(len(_RELUS))]

    def __call__(self, one, other):
        """Compares pictures.

        Args:
            one: (n, height, width, 3), -1 to 1, at least 16 pixels each way.
            other: the same.

        Returns:
            (n,), 0 for equal pictures.
        """
        distance = 0.0
        for a, b, weight in zip(
            self._maps(one), self._maps(other), self._linear, strict=True
        ):
            distance += ops.mean(ops.square(a - b) @ weight[:, None], (1, 2, 3))
        return distance

    def _maps(self, pictures):
        maps = self._network(images.to_values(pictures), training=False)
        return [
            x / (ops.sqrt(ops.sum(ops.square(x), -1, keepdims=True)) + _EPSILON)
            for x in maps
        ]
