"""Convolution and pooling of shuffled planes into shuffled planes.

A permutation says for each shuffled position which true position is shown there. What
these ops compute is what the plain op computes on the planes in order, its output
shuffled: `op(x[source], source, target) = plain_op(x)[target]`.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfpriv.ops import loader
from tfpriv.ops.deformable_checks import checked_permutations
from tfpriv.ops.deformable_geometry import Steps, checked_pair
from tfpriv.ops.dtypes import DTYPES, computed_in
from tfpriv.ops.reference import keyed as keyed_reference
from tfpriv.ops.reference.convolution import Geometry

Pair = int | Sequence[int]


def keyed_conv2d(
    inputs: Any,
    filters: Any,
    source: Any,
    target: Any,
    *,
    strides: Pair = 1,
    padding: str | Sequence[tuple[int, int]] = "valid",
    dilation_rate: Pair = 1,
    bias: Any = None,
) -> tf.Tensor:
    """Convolves shuffled planes into shuffled planes.

    The deformable convolution whose offsets `keyed_offsets` gives, without the offsets:
    it reads each pixel where the permutation put it. Differentiable in `inputs`,
    `filters` and `bias`; the gradient for the inputs reads the same table backwards and
    scatters nothing.

    Args:
        inputs: tensor of shape `(examples, height, width, channels)`, planes
            shuffled by `source`; height and width are static; float16, bfloat16 (both
            computed in float32), float32 or float64.
        filters: tensor of shape `(kernel_height, kernel_width, channels, filters)` and
            the same dtype.
        source: int32 tensor of shape `(1 or examples, height * width)`, permutations.
        target: int32 tensor of shape `(1 or examples, out_height * out_width)`,
            permutations by which the output is shuffled.
        strides: positive integer, or one per axis.
        padding: `"valid"`, `"same"`, or a pair (before, after) for each axis.
        dilation_rate: positive integer, or one per axis.
        bias: tensor of shape `(filters,)`, or `None`.

    Returns:
        Tensor of shape `(examples, out_height, out_width, filters)`.

    Raises:
        ValueError: for arguments that do not fit each other.
        tf.errors.InvalidArgumentError: when the graph runs, for shapes that do not fit
            each other and for what is no permutation.

    Reference: F. Perez, J. Lopez, H. Arguello, "Privacy-Preserving Deep Learning Using
    Deformable Operators for Secure Task Learning", ICASSP 2024.
    """
    inputs, dtype = _checked_planes(inputs)
    filters = tf.cast(tf.convert_to_tensor(filters), inputs.dtype)
    filters.shape.assert_has_rank(4)
    kernel_size = filters.shape[:2].as_list()
    if None in kernel_size:
        raise ValueError(
            "The kernel's size must be known when the graph is built. Received: "
            f"filters of shape {filters.shape}"
        )
    geometry = _geometry(inputs, kernel_size, strides, padding, dilation_rate)
    if bias is None:
        bias = tf.zeros(tf.shape(filters)[-1:], inputs.dtype)
    bias = tf.cast(tf.convert_to_tensor(bias), inputs.dtype)
    source, target = _checked_permutations(inputs, geometry, source, target)
    native = loader.native_ops_on_cpu()
    if native is None:
        outputs = keyed_reference.conv2d(
            inputs, filters, source, target, bias, geometry
        )
    else:
        outputs = _native_conv2d(
            native, inputs, filters, source, target, bias, geometry
        )
    shape = [*_output_shape(inputs, geometry), filters.shape[-1]]
    return tf.cast(tf.ensure_shape(outputs, shape), dtype)


def keyed_max_pool2d(
    inputs: Any,
    source: Any,
    target: Any,
    *,
    pool_size: Pair,
    strides: Pair | None = None,
    padding: str = "valid",
) -> tf.Tensor:
    """Takes the largest value below a window, of shuffled planes into shuffled planes.

    Of equal values the first in the window's true order gets the gradient.

    Args:
        inputs: as for `keyed_conv2d`.
        source: as for `keyed_conv2d`.
        target: as for `keyed_conv2d`.
        pool_size: positive integer, or one per axis.
        strides: the same; `None` means `pool_size`.
        padding: `"valid"` or `"same"`; what is padded is never the largest.

    Returns:
        Tensor of shape `(examples, out_height, out_width, channels)`.

    Raises:
        ValueError: for arguments that do not fit each other.
        tf.errors.InvalidArgumentError: as for `keyed_conv2d`.
    """
    return _pool(inputs, source, target, pool_size, strides, padding, average=False)


def keyed_average_pool2d(
    inputs: Any,
    source: Any,
    target: Any,
    *,
    pool_size: Pair,
    strides: Pair | None = None,
    padding: str = "valid",
) -> tf.Tensor:
    """Averages below a window, of shuffled planes into shuffled planes.

    Args:
        inputs: as for `keyed_conv2d`.
        source: as for `keyed_conv2d`.
        target: as for `keyed_conv2d`.
        pool_size: positive integer, or one per axis.
        strides: the same; `None` means `pool_size`.
        padding: `"valid"` or `"same"`; what is padded does not count.

    Returns:
        Tensor of shape `(examples, out_height, out_width, channels)`.

    Raises:
        ValueError: for arguments that do not fit each other.
        tf.errors.InvalidArgumentError: as for `keyed_conv2d`.
    """
    return _pool(inputs, source, target, pool_size, strides, padding, average=True)


def _pool(inputs, source, target, pool_size, strides, padding, *, average):
    inputs, dtype = _checked_planes(inputs)
    pool_size = checked_pair(pool_size, "pool_size")
    if padding not in ("valid", "same"):
        raise ValueError(
            f'Expected padding "valid" or "same". Received: padding={padding}'
        )
    geometry = _geometry(inputs, pool_size, strides or pool_size, padding, 1)
    source, target = _checked_permutations(inputs, geometry, source, target)
    native = loader.native_ops_on_cpu()
    if native is None:
        outputs = keyed_reference.pool2d(inputs, source, target, geometry, average)
    else:
        outputs = _native_pool2d(native, inputs, source, target, geometry, average)
    shape = [*_output_shape(inputs, geometry), inputs.shape[-1]]
    return tf.cast(tf.ensure_shape(outputs, shape), dtype)


def _native_conv2d(native, inputs, filters, source, target, bias, geometry):
    window = _window(geometry)

    @tf.custom_gradient
    def convolve(inputs, filters, bias):
        def gradients(upstream):
            of_inputs = native.tfpriv_keyed_conv2d_input_gradient(
                gradients=upstream,
                filters=filters,
                source=source,
                target=target,
                input_size=inputs.shape[1:3].as_list(),
                **window,
            )
            of_filters = native.tfpriv_keyed_conv2d_filter_gradient(
                inputs=inputs,
                gradients=upstream,
                source=source,
                target=target,
                kernel_size=geometry.kernel_size,
                **window,
            )
            return (
                tf.ensure_shape(of_inputs, inputs.shape),
                tf.ensure_shape(of_filters, filters.shape),
                tf.reduce_sum(upstream, [0, 1, 2]),
            )

        outputs = native.tfpriv_keyed_conv2d(
            inputs=inputs,
            filters=filters,
            source=source,
            target=target,
            bias=bias,
            **window,
        )
        return outputs, gradients

    return convolve(inputs, filters, bias)


def _native_pool2d(native, inputs, source, target, geometry, average):
    window = dict(
        _window(geometry), kernel_size=geometry.kernel_size, average=int(average)
    )

    @tf.custom_gradient
    def pool(inputs):
        def gradient(upstream):
            of_inputs = native.tfpriv_keyed_pool2d_gradient(
                inputs=inputs,
                gradients=upstream,
                source=source,
                target=target,
                **window,
            )
            return tf.ensure_shape(of_inputs, inputs.shape)

        outputs = native.tfpriv_keyed_pool2d(
            inputs=inputs, source=source, target=target, **window
        )
        return outputs, gradient

    return pool(inputs)


def _window(geometry: Geometry) -> dict[str, Any]:
    return {
        "strides": geometry.strides,
        "dilations": geometry.dilation_rate,
        "before": [before for before, _ in geometry.padding],
        "after": [after for _, after in geometry.padding],
        "num_threads": tf.config.threading.get_intra_op_parallelism_threads(),
    }


def _checked_planes(inputs: Any) -> tuple[tf.Tensor, tf.DType]:
    """The inputs in the dtype that is computed in, and their own."""
    inputs = tf.convert_to_tensor(inputs)
    known = inputs.shape.rank == 4 and None not in inputs.shape[1:3].as_list()
    if not known or inputs.dtype not in DTYPES:
        raise ValueError(
            "Expected floating-point inputs of shape (examples, height, width, "
            "channels) with static height and width. Received: inputs of shape "
            f"{inputs.shape} and dtype {inputs.dtype.name}"
        )
    dtype = inputs.dtype
    return tf.cast(inputs, computed_in(dtype)), dtype


def _checked_permutations(inputs, geometry, source, target):
    outputs = _output_shape(inputs, geometry)[1:]
    return (
        checked_permutations(source, inputs.shape[1:3].as_list(), "source"),
        checked_permutations(target, outputs, "target"),
    )


def _geometry(inputs, kernel_size, strides, padding, dilation_rate) -> Geometry:
    steps = Steps(
        checked_pair(strides, "strides"),
        checked_pair(dilation_rate, "dilation_rate"),
        _checked_padding(padding),
    )
    pads = tuple(
        steps.before_and_after(axis, inputs.shape[axis + 1], kernel_size[axis])
        for axis in (0, 1)
    )
    geometry = Geometry(tuple(kernel_size), steps.strides, steps.dilation_rate, pads)
    if 0 in _output_shape(inputs, geometry)[1:]:
        raise ValueError(
            "The window must fit into the planes and their padding. Received: inputs "
            f"of shape {inputs.shape}, {geometry}"
        )
    return geometry


def _checked_padding(padding: Any) -> str | tuple[tuple[int, int], ...]:
    if padding in ("valid", "same"):
        return padding
    pads = () if isinstance(padding, str) else tuple(map(tuple, padding))
    if len(pads) == 2 and all(
        len(pair) == 2 and all(isinstance(n, int) and 0 <= n < 2**31 for n in pair)
        for pair in pads
    ):
        return pads
    raise ValueError(
        'Expected padding "valid", "same" or a pair (before, after) of integers for '
        f"each of two axes. Received: padding={padding}"
    )


def _output_shape(inputs: tf.Tensor, geometry: Geometry) -> list[int | None]:
    height, width = inputs.shape[1:3].as_list()
    return [inputs.shape[0], geometry.output(0, height), geometry.output(1, width)]
