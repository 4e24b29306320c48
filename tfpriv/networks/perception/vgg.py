"""VGG-16's feature maps, with torchvision's weights."""

import os
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from keras import layers

from tfpriv.networks import pretrained
from tfpriv.support import weights

# Filters of the convolutions between the poolings, as torchvision numbers them:
# convolution, ReLU, convolution, ReLU, pooling, ...
BLOCKS = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)
RELUS = (1, 3, 6, 8, 11, 13, 15, 18, 20, 22, 25, 27, 29)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


def features(
    path: str | os.PathLike | None = None,
    relus: Sequence[int] = (3, 8, 15, 22, 29),
    *,
    size: int | None = 224,
) -> keras.Model:
    """VGG-16 up to some of its ReLUs.

    Args:
        path: torchvision's `vgg16-397923af.pth`; by default it is downloaded, once.
        relus: their numbers in torchvision's `features`, ascending, of `RELUS`.
        size: of the pictures in pixels; None for any.

    Returns:
        A model from pictures (n, size, size, 3), 0 to 255, to a list of feature maps.
        Its weights are frozen.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: for other numbers; or a file that is damaged, or whose weights are
            missing or misshapen.

    Reference: K. Simonyan, A. Zisserman, arXiv:1409.1556, configuration D.
    """
    relus = tuple(relus)
    if not relus or list(relus) != sorted(set(relus)) or not set(relus) <= set(RELUS):
        raise ValueError(
            f"`relus` must be ascending numbers of {RELUS}. Received: relus={relus}"
        )
    model = _network(relus, size)
    path = pretrained.download("vgg16") if path is None else Path(path)
    _load(model, weights.read_torch(path), path)
    model.trainable = False
    return model


def _network(relus, size) -> keras.Model:
    x = inputs = keras.Input((size, size, 3))
    mean, deviation = np.array(MEAN), np.array(DEVIATION)
    x = layers.Rescaling(
        (1 / (255 * deviation)).tolist(), (-mean / deviation).tolist()
    )(x)
    maps, number = [], 0
    for block in BLOCKS:
        for filters in block:
            name = f"features.{number}"
            x = layers.Conv2D(filters, 3, padding="same", name=name)(x)
            x = layers.ReLU()(x)
            if number + 1 in relus:
                maps.append(x)
            if number + 1 == relus[-1]:
                return keras.Model(inputs, maps, name="vgg16_features")
            number += 2
        x = layers.MaxPooling2D(2)(x)
        number += 1
    raise AssertionError("RELUS and BLOCKS disagree")


def _load(model, arrays, path) -> None:
    for layer in model.layers:
        if not isinstance(layer, layers.Conv2D):
            continue
        for variable, suffix in ((layer.kernel, "weight"), (layer.bias, "bias")):
            array = arrays.get(f"{layer.name}.{suffix}", np.empty(0))
            value = np.moveaxis(array, (0, 1), (3, 2)) if array.ndim == 4 else array
            if value.shape != tuple(variable.shape) or not np.isfinite(value).all():
                raise ValueError(
                    f"The file must hold finite `{layer.name}.{suffix}` of VGG-16. "
                    f"Received: shape {array.shape} in {path}"
                )
            variable.assign(value)
