"""Convolution and pooling layers whose inputs and outputs are shuffled.

Each is the Keras layer of its name with two more inputs, the permutations of the planes
that come in and of those that go out: int32 tensors of shape `(1 or batch, positions)`
as `tfpriv.ops.permutations` draws them. The weights are the plain layer's.
"""

import keras

from tfpriv import ops

register = keras.saving.register_keras_serializable(package="tfpriv")


class _Keyed:
    """Mixed into a Keras layer of planes; runs its `keyed_call`."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        check_supported(self)

    def build(self, inputs_shape, source_shape, target_shape):
        super().build(inputs_shape)

    def call(self, inputs, source, target):
        return keyed_call(self, inputs, source, target)

    def compute_output_shape(self, inputs_shape, source_shape=None, target_shape=None):
        return super().compute_output_shape(inputs_shape)


@register
class KeyedConv2D(_Keyed, keras.layers.Conv2D):
    """2D convolution of shuffled planes into shuffled planes.

    Called as `layer(inputs, source, target)`; equals `Conv2D` with the same weights on
    the planes in order, its output shuffled by `target`. The arguments are those of
    `keras.layers.Conv2D`.

    Input: `(batch, height, width, channels)`, height and width static; `source`
        of shape `(1 or batch, height * width)`, `target` of shape
        `(1 or batch, out_height * out_width)`, both int32.

    Output: `(batch, out_height, out_width, filters)`.

    Raises:
        ValueError: for groups other than 1 or channels first.

    Reference: F. Perez, J. Lopez, H. Arguello, "Privacy-Preserving Deep Learning Using
    Deformable Operators for Secure Task Learning", ICASSP 2024.
    """


@register
class KeyedMaxPooling2D(_Keyed, keras.layers.MaxPooling2D):
    """Max pooling of shuffled planes into shuffled planes.

    Called as `layer(inputs, source, target)`, see `KeyedConv2D`. The arguments are
    those of `keras.layers.MaxPooling2D`.

    Raises:
        ValueError: for channels first.
    """


@register
class KeyedAveragePooling2D(_Keyed, keras.layers.AveragePooling2D):
    """Average pooling of shuffled planes into shuffled planes.

    Called as `layer(inputs, source, target)`, see `KeyedConv2D`. The arguments are
    those of `keras.layers.AveragePooling2D`.

    Raises:
        ValueError: for channels first.
    """


def is_supported(layer: keras.layers.Layer) -> bool:
    """Says whether `keyed_call` can run a layer.

    Args:
        layer: any Keras layer.

    Returns:
        Whether it is a Keras 2D convolution in one group or a pooling, of one of Keras'
        own classes or ours, with channels last.
    """
    plain = (
        keras.layers.Conv2D,
        keras.layers.MaxPooling2D,
        keras.layers.AveragePooling2D,
    )
    return (
        (type(layer) in plain or isinstance(layer, _Keyed))
        and layer.data_format == "channels_last"
        and getattr(layer, "groups", 1) == 1
        and getattr(layer, "quantization_mode", None) is None
    )


def check_supported(layer: keras.layers.Layer) -> None:
    """Refuses a layer that `keyed_call` cannot run.

    Args:
        layer: any Keras layer.

    Raises:
        ValueError: where `is_supported` says no.
    """
    if not is_supported(layer):
        raise ValueError(
            "Keyed layers are 2D convolutions in one group and poolings, with channels "
            f"last. Received: {type(layer).__name__} with "
            f"data_format={layer.data_format}, groups={getattr(layer, 'groups', 1)}"
        )


def keyed_call(layer: keras.layers.Layer, inputs, source, target):
    """Runs a convolution or pooling layer on shuffled planes, with its own weights.

    Args:
        layer: a built layer that `is_supported`.
        inputs: tensor of shape `(batch, height, width, channels)`, shuffled by
            `source`.
        source: int32 tensor of shape `(1 or batch, height * width)`.
        target: int32 tensor of shape `(1 or batch, out_height * out_width)`.

    Returns:
        The layer's output, shuffled by `target`.
    """
    window = {"strides": layer.strides, "padding": layer.padding}
    if not isinstance(layer, keras.layers.Conv2D):
        pool = (
            ops.keyed_max_pool2d
            if isinstance(layer, keras.layers.MaxPooling2D)
            else ops.keyed_average_pool2d
        )
        return pool(inputs, source, target, pool_size=layer.pool_size, **window)
    outputs = ops.keyed_conv2d(
        inputs,
        keras.ops.cast(layer.kernel, inputs.dtype),
        source,
        target,
        dilation_rate=layer.dilation_rate,
        bias=layer.bias if layer.use_bias else None,
        **window,
    )
    return outputs if layer.activation is None else layer.activation(outputs)
