"""Convolution and pooling of shuffled planes, in plain TensorFlow.

The planes are put in order, the plain op runs, its output is shuffled: what
`cc/keyed_convolution.cc` and `cc/keyed_pooling.cc` compute without the two gathers.
"""

import tensorflow as tf

from tfpriv.ops.permutations import invert_permutations, permute
from tfpriv.ops.reference.convolution import Geometry


def conv2d(
    inputs: tf.Tensor,
    filters: tf.Tensor,
    source: tf.Tensor,
    target: tf.Tensor,
    bias: tf.Tensor,
    geometry: Geometry,
) -> tf.Tensor:
    """The convolution; see `tfpriv.ops.keyed_conv2d`.

    Args:
        inputs: tensor of shape (examples, height, width, channels).
        filters: tensor of shape (kernel_height, kernel_width, channels, filters).
        source: int32 tensor of shape (1 or examples, height * width).
        target: int32 tensor of shape (1 or examples, positions of the output).
        bias: tensor of shape (filters,).
        geometry: the convolution's.

    Returns:
        Tensor of shape (examples, out_height, out_width, filters).
    """
    planes = permute(inputs, invert_permutations(source))
    outputs = tf.nn.conv2d(
        planes,
        filters,
        geometry.strides,
        [(0, 0), *geometry.padding, (0, 0)],
        dilations=geometry.dilation_rate,
    )
    # TensorFlow 2.21 with oneDNN gives an empty batch the shape of the inputs.
    shape = tf.shape(planes)
    space = [geometry.output(axis, shape[1 + axis]) for axis in range(2)]
    outputs = tf.reshape(outputs, [shape[0], *space, tf.shape(filters)[3]])
    return permute(outputs + bias, target)


def pool2d(
    inputs: tf.Tensor,
    source: tf.Tensor,
    target: tf.Tensor,
    geometry: Geometry,
    average: bool,
) -> tf.Tensor:
    """The pooling; see `tfpriv.ops.keyed_max_pool2d`.

    Args:
        inputs: as for `conv2d`.
        source: as for `conv2d`.
        target: as for `conv2d`.
        geometry: the window's.
        average: whether the average is taken, not the largest value.

    Returns:
        Tensor of shape (examples, out_height, out_width, channels).
    """
    window = (geometry.kernel_size, geometry.strides)
    pads = [(0, 0), *geometry.padding, (0, 0)]
    planes = permute(inputs, invert_permutations(source))
    if average:
        sums = tf.nn.avg_pool2d(tf.pad(planes, pads), *window, "VALID")
        counted = tf.pad(tf.ones_like(planes[:1, :, :, :1]), pads)
        outputs = sums / tf.nn.avg_pool2d(counted, *window, "VALID")
    else:
        lowest = planes.dtype.min
        outputs = tf.nn.max_pool2d(
            tf.pad(planes, pads, constant_values=lowest), *window, "VALID"
        )
    return permute(outputs, target)
