"""Normalisations over one example: output = gamma * normalised + beta."""

import contextlib

import keras
import tensorflow as tf

from tfpriv.dp import keras_internals
from tfpriv.dp.clipping.rules import register_clipping_rule
from tfpriv.dp.clipping.rules.parts import summed_to
from tfpriv.dp.group_normalization import GroupNormalization


@register_clipping_rule(keras.layers.LayerNormalization)
def layer_normalization(layer, call, record, inputs):
    if layer.rms_scaling:
        record.nothing()
        return call(inputs)
    return _scaled(layer, call, record, inputs, {"gamma": None, "beta": None})


@register_clipping_rule(keras.layers.GroupNormalization)
def group_normalization(layer, call, record, inputs):
    return _scaled(layer, call, record, inputs, {"scale": False, "center": False})


@register_clipping_rule(GroupNormalization)
def replaced_batch_normalization(layer, call, record, inputs, training=None, mask=None):
    del training, mask
    return group_normalization(layer, call, record, inputs)


@register_clipping_rule(keras.layers.RMSNormalization)
def rms_normalization(layer, call, record, inputs):
    return _scaled(layer, call, record, inputs, {"scale": None})


def _scaled(layer, call, record, inputs, bare):
    """`bare`: attributes with which the layer's `call` only normalises."""
    axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    axes = [a % inputs.shape.rank for a in axes]
    gamma, beta = _weights(layer)

    def gradients(g):
        found = []
        if gamma is not None:
            with contextlib.ExitStack() as stack:
                for name, value in bare.items():
                    stack.enter_context(keras_internals.instead_of(layer, name, value))
                normalised = tf.cast(call(inputs), g.dtype)
            found.append((gamma, summed_to(g * normalised, axes)))
        if beta is not None:
            found.append((beta, summed_to(g, axes)))
        return found

    return record(call(inputs), gradients)


def _weights(layer):
    if isinstance(layer, keras.layers.RMSNormalization):
        return layer.scale, None
    return layer.gamma, layer.beta
