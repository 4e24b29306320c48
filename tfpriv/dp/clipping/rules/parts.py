"""What several rules share: taps before an activation, and shapes."""

import math

import tensorflow as tf

from tfpriv.dp import keras_internals
from tfpriv.dp.clipping.per_example import Whole


def tap_before_activation(layer, tap):
    """Context manager: inside, `layer.activation(z)` is `activation(tap(z))`."""
    activation = layer.activation

    def tapped(z):
        z = tap(z)
        return z if activation is None else activation(z)

    return keras_internals.instead_of(layer, "activation", tapped)


def rows(tensor):
    """(examples, ..., n) -> (examples, t, n); t is 1 where there is no such axis."""
    middle = tensor.shape[1:-1]
    t = math.prod(middle) if middle.is_fully_defined() else -1
    return tf.reshape(tensor, [tf.shape(tensor)[0], t, tensor.shape[-1]])


def summed_to(gradient, axes):
    """`Whole` of the sum over all axes but the first and those given, in order."""
    others = [a for a in range(1, gradient.shape.rank) if a not in axes]
    return Whole(tf.reduce_sum(gradient, axis=others) if others else gradient)
