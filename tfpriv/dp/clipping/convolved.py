"""Gradients of a convolution's kernel for each example, kept in two factors."""

import dataclasses
import functools
import math
from typing import Any

import tensorflow as tf

from tfpriv import ops
from tfpriv.dp.clipping.per_example import Dense, Products, product_lengths

# A gradient is kept whole where it is no larger than so many times what it is made of.
_LARGEST_KEPT = 2


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Where a kernel meets its input: one entry per space axis in each tuple."""

    kernel_size: tuple
    strides: tuple
    dilation_rate: tuple
    padding: tuple  # of (zeros before, zeros after)

    @property
    def arguments(self):
        """Keyword arguments of `tfpriv.ops`' calls."""
        return dataclasses.asdict(self)


@dataclasses.dataclass
class Convolved(Products):
    """Gradients of a kernel that slid over inputs (see `per_example`)."""

    inputs: Any  # (examples, *space, channels)
    right: Any  # gradient at the output, (examples, *output_space, filters)
    geometry: Geometry
    cancelling = True  # the op sees to that itself

    floats = ("inputs", "right")

    def square_norms(self):
        return ops.conv_square_norms(*self.tensors, **self.geometry.arguments)

    @functools.cached_property
    def terms(self):
        """Of each position of the kernel: what it covers, times what came back."""
        inputs, right = (
            tf.reduce_sum(tf.square(t), axis=-1, keepdims=True) for t in self.tensors
        )
        covered = tf.nn.convolution(
            tf.pad(inputs, [(0, 0), *self.geometry.padding, (0, 0)]),
            tf.ones([*self.geometry.kernel_size, 1, 1], inputs.dtype),
            self.geometry.strides,
            dilations=self.geometry.dilation_rate,
        )
        lengths = product_lengths(covered, right)
        return tf.reshape(lengths, [tf.shape(lengths)[0], -1])

    def whole(self):
        return Dense(*ops.conv_gradients(*self.tensors, **self.geometry.arguments))

    def is_cheaper_whole(self):
        sizes = [t.shape[1:].num_elements() for t in self.tensors]
        if None in sizes or max(self.geometry.dilation_rate) > 1:
            return True  # TensorFlow has no dilated filter gradient for CPUs
        channels, filters = self.inputs.shape[-1], self.right.shape[-1]
        kernel = math.prod(self.geometry.kernel_size) * channels * filters
        return kernel <= _LARGEST_KEPT * sum(sizes)

    def weighted_sum(self, weights):
        inputs, right = self.tensors
        weights = tf.reshape(
            tf.cast(weights, inputs.dtype), [-1] + [1] * (inputs.shape.rank - 1)
        )
        if inputs.shape[1:].num_elements() <= right.shape[1:].num_elements():
            inputs = inputs * weights  # the smaller is scaled
        else:
            right = right * weights
        padding = [(0, 0), *self.geometry.padding, (0, 0)]
        if any(map(any, padding)):
            inputs = tf.pad(inputs, padding)
        return _filter_gradient(inputs, right, self.geometry)


def _filter_gradient(inputs, right, geometry):
    """TensorFlow's gradient of a kernel for a whole batch, without padding."""
    sizes = [*geometry.kernel_size, inputs.shape[-1], right.shape[-1]]
    strides, flat = list(geometry.strides), sizes
    if len(strides) == 1:  # as an image one pixel high
        inputs, right = inputs[:, tf.newaxis], right[:, tf.newaxis]
        strides, sizes = [1, *strides], [1, *sizes]
    of_images = tf.raw_ops.Conv2DBackpropFilter
    operation = tf.raw_ops.Conv3DBackpropFilterV2 if len(strides) == 3 else of_images
    found = operation(
        input=inputs,
        filter_sizes=sizes,
        out_backprop=right,
        strides=[1, *strides, 1],
        padding="VALID",
    )
    return found if len(flat) == len(sizes) else tf.reshape(found, flat)
