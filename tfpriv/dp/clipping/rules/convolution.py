"""Convolutions: plain, grouped, depthwise, separable, transposed, and adapted."""

import functools

import keras
import tensorflow as tf
from keras import layers

from tfpriv import ops
from tfpriv.dp.clipping.convolved import Convolved, Geometry
from tfpriv.dp.clipping.per_example import Deferred, Dense, LowRank
from tfpriv.dp.clipping.rules import register_clipping_rule
from tfpriv.dp.clipping.rules.parts import (
    low_rank_factors,
    rows,
    summed_to,
    tap_before_activation,
)
from tfpriv.dp.clipping.shapes import sizes


def _register(*layer_classes):
    def register(rule):
        for layer_class in layer_classes:
            register_clipping_rule(layer_class)(rule)
        return rule

    return register


@_register(layers.Conv1D, layers.Conv2D, layers.Conv3D)
def convolution(layer, call, record, inputs):
    def of_kernel(geometry, x, g):
        if layer.lora_enabled:
            return _low_rank(layer, geometry, x, g)
        return [(layer.kernel, _of_kernel(geometry, x, g, layer.groups))]

    if layer.lora_enabled and layer.groups > 1:
        record.nothing()
        return call(inputs)
    return _before_activation(layer, call, record, inputs, of_kernel, inputs.shape)


@_register(layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
def transposed(layer, call, record, inputs):
    """The gradient of a convolution: input and output gradient change places."""

    def of_kernel(geometry, x, g):
        return [(layer.kernel, Convolved(g, x, geometry))]

    shape = layer.compute_output_shape(inputs.shape)
    return _before_activation(layer, call, record, inputs, of_kernel, shape)


@_register(layers.DepthwiseConv1D, layers.DepthwiseConv2D)
def depthwise(layer, call, record, inputs):
    def of_kernel(geometry, x, g):
        return [(layer.kernel, _by_channel(geometry, x, g))]

    return _before_activation(layer, call, record, inputs, of_kernel, inputs.shape)


def _before_activation(layer, call, record, inputs, of_kernel, shape):
    """The rule of one convolution over a shape: `of_kernel(geometry, inputs, g)`."""
    geometry = _geometry(layer, shape)
    if geometry is None:
        record.nothing()
        return call(inputs)

    def gradients(g):
        x, g = (_channels_last(layer, tf.cast(t, g.dtype)) for t in (inputs, g))
        return [*of_kernel(geometry, x, g), *_of_bias(layer, g)]

    with tap_before_activation(layer, lambda z: record(z, gradients)):
        return call(inputs)


@_register(layers.SeparableConv1D, layers.SeparableConv2D)
def separable(layer, call, record, inputs):
    """Keras runs both convolutions as one; here what lies between them is seen."""
    geometry = _geometry(layer, inputs.shape)
    if geometry is None:
        record.nothing()
        return call(inputs)

    def of_depthwise(g):
        x, g = (_channels_last(layer, tf.cast(t, g.dtype)) for t in (inputs, g))
        return [(layer.depthwise_kernel, _by_channel(geometry, x, g))]

    def of_pointwise(g):
        x, g = (_channels_last(layer, tf.cast(t, g.dtype)) for t in (between, g))
        kernel = layer.pointwise_kernel
        product = LowRank(rows(x), rows(g), tuple(kernel.shape))
        return [(kernel, product), *_of_bias(layer, g)]

    between = keras.ops.depthwise_conv(
        inputs,
        layer.depthwise_kernel,
        strides=layer.strides,
        padding=layer.padding,
        dilation_rate=layer.dilation_rate,
        data_format=layer.data_format,
    )
    between = record(between, of_depthwise)
    outputs = keras.ops.conv(
        _channels_last(layer, between),
        layer.pointwise_kernel,
        data_format="channels_last",  # TensorFlow has no other on CPUs
    )
    if layer.use_bias:
        outputs = outputs + keras.ops.convert_to_tensor(layer.bias)
    if layer.data_format == "channels_first":
        outputs = _channel_second(outputs)
    outputs = record(outputs, of_pointwise)
    return outputs if layer.activation is None else layer.activation(outputs)


def _of_kernel(geometry, x, g, groups):
    if groups > 1:
        return Deferred(functools.partial(_of_groups, geometry, groups), [x, g])
    if set(geometry.kernel_size) == set(geometry.strides) == {1}:
        shape = (*geometry.kernel_size, x.shape[-1], g.shape[-1])
        return LowRank(rows(x), rows(g), shape)
    return Convolved(x, g, geometry)


def _of_groups(geometry, groups, x, g):
    pairs = zip(tf.split(x, groups, -1), tf.split(g, groups, -1), strict=True)
    wholes = [Convolved(*pair, geometry).whole().gradient for pair in pairs]
    return Dense(tf.concat(wholes, -1))


def _by_channel(geometry, x, g):
    return Deferred(functools.partial(_of_channels, geometry), [x, g])


def _of_channels(geometry, x, g):
    """Each input channel has a kernel of its own: (examples, *kernel, channels, m)."""
    channels, examples = x.shape[-1], tf.shape(x)[0]
    multiplier = g.shape[-1] // channels
    rank = len(geometry.kernel_size)
    x = tf.reshape(_channel_second(x), [-1, *sizes(x)[1:-1], 1])
    space = sizes(g)[1:-1]
    g = tf.reshape(g, [-1, *space, channels, multiplier])
    to_front = [0, rank + 1, *range(1, rank + 1), rank + 2]
    g = tf.reshape(tf.transpose(g, to_front), [-1, *space, multiplier])
    found, squares = ops.conv_gradients(x, g, **geometry.arguments)
    found = tf.reshape(found, [examples, channels, *geometry.kernel_size, multiplier])
    squares = tf.reduce_sum(tf.reshape(squares, [examples, channels]), axis=1)
    return Dense(tf.transpose(found, [0, *range(2, rank + 2), 1, rank + 2]), squares)


def _low_rank(layer, geometry, x, g):
    """The two factors of kernel + (alpha / rank) * a @ b, over the filters."""
    a, b, scaled = low_rank_factors(layer, g)
    before_b = tf.nn.convolution(
        tf.pad(x, [(0, 0), *geometry.padding, (0, 0)]),
        a,
        geometry.strides,
        dilations=geometry.dilation_rate,
    )
    behind_b = tf.tensordot(scaled, b, [[-1], [1]])
    return [
        (layer.lora_kernel_a, _of_kernel(geometry, x, behind_b, 1)),
        (layer.lora_kernel_b, LowRank(rows(before_b), rows(scaled), tuple(b.shape))),
    ]


def _of_bias(layer, g):
    if layer.bias is None:
        return []
    return [(layer.bias, summed_to(g, [g.shape.rank - 1]))]


def _geometry(layer, shape):
    """`Geometry` on inputs of this shape, or `None` where sizes must be known."""
    space = shape[1:-1] if layer.data_format == "channels_last" else shape[2:]
    sliding = layer.kernel_size, layer.strides, layer.dilation_rate
    axes = zip(space, *sliding, strict=True)
    padding = tuple(_padding(layer.padding, *axis) for axis in axes)
    kernel_size, strides, dilation_rate = map(tuple, sliding)
    known = None not in padding
    return Geometry(kernel_size, strides, dilation_rate, padding) if known else None


def _padding(kind, size, kernel_size, stride, dilation_rate):
    if kind == "valid":
        return 0, 0
    if kind == "causal":
        return (kernel_size - 1) * dilation_rate, 0
    if size is None:
        if stride > 1:
            return None
        size = 1  # it does not matter then
    return ops.same_padding(size, kernel_size, stride, dilation_rate)


def _channels_last(layer, tensor):
    if layer.data_format == "channels_last":
        return tensor
    return tf.transpose(tensor, [0, *range(2, tensor.shape.rank), 1])


def _channel_second(tensor):
    rank = tensor.shape.rank
    return tf.transpose(tensor, [0, rank - 1, *range(1, rank - 1)])
