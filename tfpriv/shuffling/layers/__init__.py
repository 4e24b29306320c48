"""Keras layers on the ops of `tfpriv.ops`."""

from tfpriv.shuffling.layers.deformable import DeformableConv2D
from tfpriv.shuffling.layers.keyed import (
    KeyedAveragePooling2D,
    KeyedConv2D,
    KeyedMaxPooling2D,
)

__all__ = [
    "DeformableConv2D",
    "KeyedAveragePooling2D",
    "KeyedConv2D",
    "KeyedMaxPooling2D",
]
