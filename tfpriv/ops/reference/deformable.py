"""The deformable convolution and keyed offsets in plain TensorFlow.

The readable statement of what `cc/deformable_convolution.h` and `cc/keyed_offsets.cc`
compute. Differentiable by itself.
"""

import itertools

import tensorflow as tf

from tfpriv.ops.deformable_geometry import Steps

OUTSIDE = -2.0  # a place whose four cells are all outside of any input


def deformable_conv2d(
    inputs: tf.Tensor,
    offsets: tf.Tensor,
    mask: tf.Tensor | None,
    filters: tf.Tensor,
    bias: tf.Tensor | None,
    padding: tf.Tensor,
    steps: Steps,
    groups: int,
) -> tf.Tensor:
    """See `tfpriv.ops.deformable_conv2d`; tensors of one dtype, shapes that fit.

    `padding` is an int32 tensor `[top, bottom, left, right]`.
    """
    examples = _sizes(inputs)[0]
    height, width, in_group, count = _sizes(filters)
    batch, *output, values = _sizes(offsets)
    positions, taps = output[0] * output[1], height * width
    offset_groups = values // (2 * taps)
    places = tf.reshape(offsets, [batch, positions, offset_groups, taps, 2])
    places += _usual_places(output, (height, width), padding, steps, offsets.dtype)
    if mask is None:
        mask = tf.ones([], offsets.dtype)
    else:
        mask = tf.reshape(mask, [_sizes(mask)[0], positions, offset_groups, taps])
    columns = _columns(inputs, places, mask)
    columns = tf.reshape(columns, [examples, positions, taps, groups, in_group])
    filters = tf.reshape(filters, [taps, in_group, groups, count // groups])
    outputs = tf.einsum("npkgc,kcgf->npgf", columns, filters)
    outputs = tf.reshape(outputs, [examples, *output, count])
    return outputs if bias is None else outputs + bias


def _sizes(tensor):
    return tf.unstack(tf.shape(tensor), num=4)


def _usual_places(output, kernel_size, padding, steps, dtype):
    """Where taps are without offsets, (positions, 1, taps, 2)."""
    axes = []
    for axis in range(2):
        positions = tf.range(output[axis]) * steps.strides[axis] - padding[2 * axis]
        taps = tf.range(kernel_size[axis]) * steps.dilation_rate[axis]
        axes.append(tf.cast(positions[:, None] + taps, dtype))
    sizes = tf.stack([output[0], output[1], kernel_size[0], kernel_size[1]])
    down = tf.broadcast_to(axes[0][:, None, :, None], sizes)
    right = tf.broadcast_to(axes[1][None, :, None, :], sizes)
    places = tf.stack([down, right], axis=-1)
    return tf.reshape(
        places, [output[0] * output[1], 1, kernel_size[0] * kernel_size[1], 2]
    )


def _columns(inputs, places, mask):
    """Samples of the inputs, (examples, positions, taps, channels)."""
    examples, height, width, channels = _sizes(inputs)
    offset_groups = tf.shape(places)[2]
    sizes = tf.stack([height, width])
    # Comparisons with what is not finite are false.
    near = (places >= -1) & (places < tf.cast(sizes, places.dtype))
    near = tf.reduce_all(near, axis=-1, keepdims=True)
    places = tf.where(near, places, tf.constant(OUTSIDE, places.dtype))
    top_left = tf.floor(places)
    fraction = places - top_left
    # Offset groups first, so that a gather takes the channels of a group together.
    cells = tf.reshape(
        inputs, [examples, height * width, offset_groups, channels // offset_groups]
    )
    cells = tf.transpose(cells, [0, 2, 1, 3])
    # A cell of zeros for an input without any.
    cells = tf.pad(cells, [(0, 0), (0, 0), (0, 1), (0, 0)])
    total = 0.0
    for corner in itertools.product((False, True), repeat=2):
        cell = tf.cast(top_left, tf.int32) + tf.cast(corner, tf.int32)
        inside = tf.reduce_all((cell >= 0) & (cell < sizes), axis=-1)
        shares = tf.where(corner, fraction, 1 - fraction)
        weights = tf.where(inside, shares[..., 0] * shares[..., 1] * mask, 0)
        index = tf.where(inside, cell[..., 0] * width + cell[..., 1], height * width)
        total += _corner(cells, index, weights)
    return total


def _corner(cells, index, weights):
    """Each sample's cell times its weight, (examples, positions, taps, channels).

    A cell of weight 0 counts for nothing, also where it is not finite.
    """
    examples, offset_groups, _, channels = _sizes(cells)
    _, positions, _, taps = _sizes(index)
    index = tf.transpose(index, [0, 2, 1, 3])
    index = tf.broadcast_to(index, [examples, offset_groups, positions, taps])
    values = tf.gather(cells, index, batch_dims=2)
    weights = tf.transpose(weights, [0, 2, 1, 3])[..., None]
    values = tf.math.multiply_no_nan(values, weights)
    values = tf.transpose(values, [0, 2, 3, 1, 4])
    return tf.reshape(values, [examples, positions, taps, offset_groups * channels])


def keyed_offsets(
    source: tf.Tensor,
    target: tf.Tensor,
    input_size: tuple[int, int],
    kernel_size: tuple[int, int],
    padding: tuple[tuple[int, int], tuple[int, int]],
    steps: Steps,
) -> tf.Tensor:
    """See `tfpriv.ops.keyed_offsets`; arguments that fit each other."""
    output = [
        steps.output(axis, input_size[axis], kernel_size[axis]) for axis in (0, 1)
    ]
    with tf.control_dependencies([_check(source), _check(target)]):
        shown_at = tf.argsort(source, axis=-1)  # the inverse permutation
        target = tf.identity(target)
    _, width = input_size
    edges = tf.constant([padding[0][0], 0, padding[1][0], 0])
    own = _usual_places(output, kernel_size, edges, steps, tf.int32)[:, 0]
    seen = tf.gather(own, target)  # (examples, positions, taps, 2)
    inside = tf.reduce_all((seen >= 0) & (seen < input_size), axis=-1)
    index = tf.where(inside, seen[..., 0] * width + seen[..., 1], 0)
    lies_at = tf.gather(shown_at, index, batch_dims=1)
    lies_at = tf.stack([lies_at // width, lies_at % width], axis=-1)
    lies_at = tf.where(inside[..., None], lies_at, int(OUTSIDE))
    offsets = tf.cast(lies_at - own, tf.float32)
    channels = 2 * kernel_size[0] * kernel_size[1]
    return tf.reshape(offsets, [-1, *output, channels])


def _check(permutation):
    return tf.debugging.assert_equal(
        tf.sort(permutation, axis=-1),
        tf.broadcast_to(tf.range(tf.shape(permutation)[1]), tf.shape(permutation)),
        "every row of source and target must be a permutation of 0, 1, 2, ...",
    )
