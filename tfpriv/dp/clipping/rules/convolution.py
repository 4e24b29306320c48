"""Convolutions: plain, grouped, depthwise, separable, transposed, and adapted."""

import functools

import keras
import tensorflow as tf

from tfpriv import ops
from tfpriv.dp.clipping.convolved import Convolved, Geometry
from tfpriv.dp.clipping.per_example import Later, Outer, Whole
from tfpriv.dp.clipping.rules import register_clipping_rule
from tfpriv.dp.clipping.rules.parts import rows, summed_to, tap_before_activation

_PLAIN = keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D
_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
_DEPTHWISE = keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D
_SEPARABLE = keras.layers.SeparableConv1D, keras.layers.SeparableConv2D


def _register(layer_classes):
    def register(rule):
        for layer_class in layer_classes:
            register_clipping_rule(layer_class)(rule)
        return rule

    return register


@_register(_PLAIN)
def convolution(layer, call, record, inputs):
    geometry = _geometry(layer, _channels_last(layer, inputs))
    if geometry is None:
        record.nothing()
        return call(inputs)

    def gradients(g):
        x, g = (_channels_last(layer, tf.cast(t, g.dtype)) for t in (inputs, g))
        if layer.lora_enabled:
            found = _low_rank(layer, geometry, x, g)
        else:
            found = [(layer.kernel, _of_kernel(geometry, x, g, layer.groups))]
        return found + _of_bias(layer, g)

    with tap_before_activation(layer, lambda z: record(z, gradients)):
        return call(inputs)


@_register(_TRANSPOSED)
def transposed(layer, call, record, inputs):
    """The gradient of a convolution: input and output gradient change places."""
    out = layer.compute_output_shape(inputs.shape)
    space = out[1:-1] if layer.data_format == "channels_last" else out[2:]
    geometry = _geometry_of(layer, space)
    if geometry is None:
        record.nothing()
        return call(inputs)

    def gradients(g):
        x, g = (_channels_last(layer, tf.cast(t, g.dtype)) for t in (inputs, g))
        return [(layer.kernel, Convolved(g, x, geometry)), *_of_bias(layer, g)]

    with tap_before_activation(layer, lambda z: record(z, gradients)):
        return call(inputs)


@_register(_DEPTHWISE)
def depthwise(layer, call, record, inputs):
    geometry = _geometry(layer, _channels_last(layer, inputs))
    if geometry is None:
        record.nothing()
        return call(inputs)

    def gradients(g):
        x, g = (_channels_last(layer, tf.cast(t, g.dtype)) for t in (inputs, g))
        return [(layer.kernel, _by_channel(geometry, x, g)), *_of_bias(layer, g)]

    with tap_before_activation(layer, lambda z: record(z, gradients)):
        return call(inputs)


@_register(_SEPARABLE)
def separable(layer, call, record, inputs):
    """Keras runs both convolutions as one; here what lies between them is seen."""
    geometry = _geometry(layer, _channels_last(layer, inputs))
    if geometry is None:
        record.nothing()
        return call(inputs)

    def of_depthwise(g):
        x, g = (_channels_last(layer, tf.cast(t, g.dtype)) for t in (inputs, g))
        return [(layer.depthwise_kernel, _by_channel(geometry, x, g))]

    def of_pointwise(g):
        x, g = (_channels_last(layer, tf.cast(t, g.dtype)) for t in (between, g))
        kernel = layer.pointwise_kernel
        product = Outer(rows(x), rows(g), tuple(kernel.shape))
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
        return Later(functools.partial(_of_groups, geometry, groups), [x, g])
    if set(geometry.kernel_size) == set(geometry.strides) == {1}:
        shape = (*geometry.kernel_size, x.shape[-1], g.shape[-1])
        return Outer(rows(x), rows(g), shape)
    return Convolved(x, g, geometry)


def _of_groups(geometry, groups, x, g):
    parts = zip(tf.split(x, groups, -1), tf.split(g, groups, -1), strict=True)
    return Whole(
        tf.concat([Convolved(*p, geometry).whole().gradient for p in parts], -1)
    )


def _by_channel(geometry, x, g):
    return Later(functools.partial(_of_channels, geometry), [x, g])


def _of_channels(geometry, x, g):
    """Each input channel has a kernel of its own: (examples, *kernel, channels, m)."""
    channels, examples = x.shape[-1], tf.shape(x)[0]
    multiplier = g.shape[-1] // channels
    rank = len(geometry.kernel_size)
    x = tf.reshape(_channel_second(x), [-1, *_sizes(x)[1:-1], 1])
    space = _sizes(g)[1:-1]
    g = tf.reshape(g, [-1, *space, channels, multiplier])
    to_front = [0, rank + 1, *range(1, rank + 1), rank + 2]
    g = tf.reshape(tf.transpose(g, to_front), [-1, *space, multiplier])
    found, squares = ops.conv_gradients(x, g, **geometry.arguments)
    found = tf.reshape(found, [examples, channels, *geometry.kernel_size, multiplier])
    squares = tf.reduce_sum(tf.reshape(squares, [examples, channels]), axis=1)
    return Whole(tf.transpose(found, [0, *range(2, rank + 2), 1, rank + 2]), squares)


def _low_rank(layer, geometry, x, g):
    """The two factors of kernel + (alpha / rank) * a @ b, over the filters."""
    scaled = g * (layer.lora_alpha / layer.lora_rank)
    if layer.groups > 1:
        return [
            (
                v,
                Later(
                    functools.partial(_low_rank_of_groups, layer, geometry, v), [x, g]
                ),
            )
            for v in (layer.lora_kernel_a, layer.lora_kernel_b)
        ]
    a, b = _factors(layer, g.dtype)
    before_b = tf.nn.convolution(
        tf.pad(x, [(0, 0), *geometry.padding, (0, 0)]),
        a,
        geometry.strides,
        dilations=geometry.dilation_rate,
    )
    behind_b = tf.tensordot(scaled, b, [[-1], [1]])
    return [
        (layer.lora_kernel_a, _of_kernel(geometry, x, behind_b, 1)),
        (layer.lora_kernel_b, Outer(rows(before_b), rows(scaled), tuple(b.shape))),
    ]


def _low_rank_of_groups(layer, geometry, factor, x, g):
    """Of one of the two factors, from the kernel's own gradient."""
    scaled = g * (layer.lora_alpha / layer.lora_rank)
    whole = _of_groups(geometry, layer.groups, x, scaled).gradient
    a, b = _factors(layer, g.dtype)
    if factor is layer.lora_kernel_a:
        return Whole(tf.tensordot(whole, b, [[-1], [1]]))
    flat = tf.reshape(a, [-1, a.shape[-1]])
    return Whole(tf.einsum("rz,urf->uzf", flat, rows(whole)))


def _factors(layer, dtype):
    return [tf.cast(v.value, dtype) for v in (layer.lora_kernel_a, layer.lora_kernel_b)]


def _of_bias(layer, g):
    return (
        [] if layer.bias is None else [(layer.bias, summed_to(g, [g.shape.rank - 1]))]
    )


def _geometry(layer, inputs):
    return _geometry_of(layer, inputs.shape[1:-1])


def _geometry_of(layer, space):
    """`Geometry` on inputs of these sizes, or `None` where these must be known."""
    sliding = [
        tuple(value)
        for value in (layer.kernel_size, layer.strides, layer.dilation_rate)
    ]
    padding = tuple(
        _padding(layer.padding, size, *axis)
        for size, axis in zip(space, zip(*sliding, strict=True), strict=True)
    )
    if None in padding:
        return None
    kernel_size, strides, dilation_rate = sliding
    return Geometry(kernel_size, strides, dilation_rate, padding)


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


def _sizes(tensor):
    """Static sizes where they are known."""
    dynamic = tf.shape(tensor)
    return [dynamic[i] if n is None else n for i, n in enumerate(tensor.shape)]
