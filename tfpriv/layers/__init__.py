"""Keras layers on the native ops."""

from tfpriv.layers.deformable import DeformableConv2D

__all__ = ["DeformableConv2D"]
