"""Gradients of convolution kernels for each example, in plain TensorFlow.

The readable statement of what `cc/convolution.h` and `cc/convolution_norm.h` compute:
the input's patches below each position of the kernel, times the output's gradients.
"""

import dataclasses
import itertools

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How a kernel moves over its input: one entry per space axis in each field."""

    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    dilation_rate: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]

    @property
    def rank(self) -> int:
        """The number of space axes."""
        return len(self.kernel_size)

    def output(self, axis, size):
        """The number of positions of the kernel along an axis of an input.

        Args:
            axis: which space axis, from 0.
            size: the input's size along it: integer, integer tensor or None.

        Returns:
            What `size` is: an integer, a tensor or None.
        """
        if size is None:
            return None
        extent = (self.kernel_size[axis] - 1) * self.dilation_rate[axis] + 1
        free = size + sum(self.padding[axis]) - extent
        positions = free // self.strides[axis] + 1
        return tf.maximum(positions, 0) if tf.is_tensor(size) else max(positions, 0)


def conv_gradients(
    inputs: tf.Tensor, gradients: tf.Tensor, geometry: Geometry
) -> tuple[tf.Tensor, tf.Tensor]:
    """The kernels' gradients and squared norms; see `tfpriv.ops.conv_gradients`.

    Args:
        inputs: tensor of shape (examples, *space, channels).
        gradients: tensor of shape (examples, *output_space, filters).
        geometry: the convolution's.

    Returns:
        Tensor of shape (examples, kernel positions * channels, filters), and float64
        tensor of shape (examples,).

    Raises:
        tf.errors.InvalidArgumentError: where the shapes do not fit each other.
    """
    patches, gradients = _matrices(inputs, gradients, geometry)
    products = tf.matmul(patches, gradients, transpose_a=True)
    return products, square_norms(products)


def conv_square_norms(
    inputs: tf.Tensor, gradients: tf.Tensor, geometry: Geometry
) -> tf.Tensor:
    """Their squared norms in float64; see `tfpriv.ops.conv_square_norms`.

    Where the products of all pairs of positions are fewer values than the gradient, the
    norm is their sum; that sum is right to 1e-13 of (sum of |patch| |gradient|)^2.

    Args:
        inputs: tensor of shape (examples, *space, channels).
        gradients: tensor of shape (examples, *output_space, filters).
        geometry: the convolution's.

    Returns:
        float64 tensor of shape (examples,).

    Raises:
        tf.errors.InvalidArgumentError: where the shapes do not fit each other.

    Reference: Bu, Mao, Xu, "Scalable and efficient training of large convolutional
    neural networks with differential privacy", 2022.
    """
    patches, gradients = _matrices(
        tf.cast(inputs, tf.float64), tf.cast(gradients, tf.float64), geometry
    )
    positions, values = gradients.shape[1], patches.shape[-1]
    filters = gradients.shape[-1]
    if None not in (positions, values, filters) and positions**2 < values * filters:
        pairs = tf.matmul(patches, patches, transpose_b=True)
        pairs *= tf.matmul(gradients, gradients, transpose_b=True)
        # A sum of squares: below zero by rounding alone. NaN stays.
        return tf.nn.relu(tf.reduce_sum(pairs, axis=[1, 2]))
    return square_norms(tf.matmul(patches, gradients, transpose_a=True))


def square_norms(tensor: tf.Tensor) -> tf.Tensor:
    """The sum of squares of each example's values, in float64.

    Args:
        tensor: floating-point tensor of shape (examples, ...).

    Returns:
        float64 tensor of shape (examples,).
    """
    squares = tf.square(tf.cast(tensor, tf.float64))
    return tf.reduce_sum(squares, axis=range(1, squares.shape.rank))


def _matrices(
    inputs: tf.Tensor, gradients: tf.Tensor, geometry: Geometry
) -> tuple[tf.Tensor, tf.Tensor]:
    """Patches (examples, positions, values), gradients (examples, positions, filters).

    A patch holds the input below one position, ordered as the kernel is.
    """
    axes = range(geometry.rank)
    size = tf.unstack(tf.shape(inputs), num=geometry.rank + 2)
    output = [geometry.output(axis, size[axis + 1]) for axis in axes]
    filters = tf.shape(gradients)[-1]
    check = tf.debugging.assert_equal(
        tf.shape(gradients),
        tf.stack([size[0], *output, filters]),
        "gradients must have the shape of the convolution's output.",
    )
    with tf.control_dependencies([check] if check is not None else []):
        padded = tf.pad(inputs, [(0, 0), *geometry.padding, (0, 0)])
    columns = []
    for offset in itertools.product(*map(range, geometry.kernel_size)):
        starts = [offset[axis] * geometry.dilation_rate[axis] for axis in axes]
        stops = [
            starts[axis]
            + tf.maximum((output[axis] - 1) * geometry.strides[axis] + 1, 0)
            for axis in axes
        ]
        slices = map(slice, starts, stops, geometry.strides)
        columns.append(padded[(slice(None), *slices)])
    positions = tf.reduce_prod(output)
    static = None
    if None not in gradients.shape[1:-1].as_list():
        static = gradients.shape[1:-1].num_elements()
    matrices = []
    for values in (tf.concat(columns, axis=-1), gradients):
        matrix = tf.reshape(values, [size[0], positions, tf.shape(values)[-1]])
        matrix.set_shape([inputs.shape[0], static, values.shape[-1]])
        matrices.append(matrix)
    return matrices[0], matrices[1]
