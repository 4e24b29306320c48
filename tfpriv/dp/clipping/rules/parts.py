"""What several rules share: taps before an activation, and shapes."""

import math

import tensorflow as tf

from tfpriv.dp import keras_internals
from tfpriv.dp.clipping.per_example import Dense
from tfpriv.dp.clipping.shapes import reshape, sizes


def tap_before_activation(layer, tap):
    """Context manager: inside, `layer.activation(z)` is `activation(tap(z))`."""
    activation = layer.activation

    def tapped(z):
        z = tap(z)
        return z if activation is None else activation(z)

    return keras_internals.instead_of(layer, activation=tapped)


def rows(tensor):
    """(examples, ..., n) -> (examples, t, n); t is 1 where there is no such axis."""
    examples, *middle, n = sizes(tensor)
    return reshape(tensor, [examples, math.prod(middle), n])


def summed_to(gradient, axes):
    """`Dense` of the sum over all axes but the first and those given, in order."""
    others = [a for a in range(1, gradient.shape.rank) if a not in axes]
    return Dense(tf.reduce_sum(gradient, axis=others) if others else gradient)


def low_rank_factors(layer, g, weight="kernel"):
    """LoRA's factors of weight + (alpha / rank) * a @ b, and `g * (alpha / rank)`.

    Both factors are of the dtype of the gradient `g` at the product with the weight.
    """
    names = (f"lora_{weight}_a", f"lora_{weight}_b")
    a, b = (tf.cast(getattr(layer, name).value, g.dtype) for name in names)
    return a, b, g * (layer.lora_alpha / layer.lora_rank)
