"""Keras layers on the ops of `tfpriv.ops`."""

from tfpriv.layers.keyed import (
    KeyedAveragePooling2D,
    KeyedConv2D,
    KeyedMaxPooling2D,
)

__all__ = [
    "KeyedAveragePooling2D",
    "KeyedConv2D",
    "KeyedMaxPooling2D",
]
