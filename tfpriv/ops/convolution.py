"""Gradients of convolution kernels for each example of a batch, and their norms."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfpriv.ops import loader
from tfpriv.ops.dtypes import DTYPES
from tfpriv.ops.reference import convolution as convolution_reference
from tfpriv.ops.reference.convolution import Geometry

MOST_AXES = 3


def same_padding(
    size: int, kernel_size: int, stride: int, dilation_rate: int
) -> tuple[int, int]:
    """Says what TensorFlow's `padding="SAME"` adds along one axis.

    Args:
        size: the input's size along the axis, not negative.
        kernel_size: the kernel's size along it, at least 1.
        stride: at least 1.
        dilation_rate: at least 1.

    Returns:
        How many zeros stand before and after the input.
    """
    positions = -(-size // stride)
    extent = (kernel_size - 1) * dilation_rate + 1
    total = max((positions - 1) * stride + extent - size, 0)
    return total // 2, total - total // 2


def conv_gradients(
    inputs: Any,
    gradients: Any,
    kernel_size: Sequence[int],
    *,
    strides: Sequence[int],
    dilation_rate: Sequence[int],
    padding: Sequence[tuple[int, int]],
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the gradient of a convolution's kernel for each example of a batch.

    An example's native result is a function of that example alone: the other examples,
    their number and the number of threads change no bit of it.

    Args:
        inputs: what was convolved, of shape `(examples, *space, channels)` with one,
            two or three space axes; float16, bfloat16, float32 or float64 (half
            precision is computed in float32).
        gradients: the loss's gradient with respect to the convolution's output, of
            shape `(examples, *output_space, filters)` and the same dtype.
        kernel_size: the kernel's sizes, one per space axis, at least 1.
        strides: one per space axis, at least 1.
        dilation_rate: one per space axis, at least 1.
        padding: for each space axis, how many zeros stand before and after the input
            (`same_padding` says it for "SAME").

    Returns:
        The gradients, of shape `(examples, *kernel_size, channels, filters)` and the
        inputs' dtype, and the squared L2 norm of each of them, float64 of shape
        `(examples,)`. They have no gradients of their own.

    Raises:
        ValueError: for arguments that do not fit each other.
        tf.errors.InvalidArgumentError: for shapes that do not fit each other, known
            only when the graph runs.
    """
    geometry = _checked_geometry(kernel_size, strides, dilation_rate, padding)
    inputs, gradients = _checked_tensors(inputs, gradients, geometry)
    result, square_norms = _run(
        "tfpriv_conv_gradients",
        convolution_reference.conv_gradients,
        inputs,
        gradients,
        geometry,
    )
    sizes = tf.concat(
        [
            tf.shape(inputs)[:1],
            geometry.kernel_size,
            tf.shape(inputs)[-1:],
            tf.shape(gradients)[-1:],
        ],
        axis=0,
    )
    result = tf.reshape(result, sizes)  # without the axes that the native op adds
    result.set_shape(
        [inputs.shape[0], *geometry.kernel_size, inputs.shape[-1], gradients.shape[-1]]
    )
    square_norms.set_shape(inputs.shape[:1])
    if inputs.dtype != result.dtype:
        result = tf.cast(result, inputs.dtype)
        square_norms = convolution_reference.square_norms(result)  # after rounding
    return result, square_norms


def conv_square_norms(
    inputs: Any,
    gradients: Any,
    kernel_size: Sequence[int],
    *,
    strides: Sequence[int],
    dilation_rate: Sequence[int],
    padding: Sequence[tuple[int, int]],
) -> tf.Tensor:
    """Computes the squared L2 norms of `conv_gradients`, without storing those.

    The norm (the root of the result) is right to about 1e-6 of itself, also where the
    terms of the gradient cancel; docs/ops.md states how far. An example with an
    infinity or a NaN below a position of the kernel has a non-finite norm, no other.

    Args:
        inputs: as for `conv_gradients`.
        gradients: as for `conv_gradients`.
        kernel_size: as for `conv_gradients`.
        strides: as for `conv_gradients`.
        dilation_rate: as for `conv_gradients`.
        padding: as for `conv_gradients`.

    Returns:
        float64 tensor of shape `(examples,)`; infinite where the norm is too large for
        the dtype that the gradient is computed in.

    Raises:
        ValueError: for arguments that do not fit each other.
        tf.errors.InvalidArgumentError: for shapes that do not fit each other, known
            only when the graph runs.
    """
    geometry = _checked_geometry(kernel_size, strides, dilation_rate, padding)
    inputs, gradients = _checked_tensors(inputs, gradients, geometry)
    norms = _run(
        "tfpriv_conv_square_norms",
        convolution_reference.conv_square_norms,
        inputs,
        gradients,
        geometry,
    )
    norms.set_shape(inputs.shape[:1])
    if inputs.dtype == tf.float64:
        return norms
    most = float(tf.float32.max) ** 2
    return tf.where(norms > most, tf.constant(float("inf"), tf.float64), norms)


def _run(
    op: str,
    twin: Callable[[tf.Tensor, tf.Tensor, Geometry], Any],
    inputs: tf.Tensor,
    gradients: tf.Tensor,
    geometry: Geometry,
) -> Any:
    """Calls the native op of that name, or the twin, in float32 or float64."""
    if inputs.dtype != tf.float64:
        inputs = tf.cast(inputs, tf.float32)
        gradients = tf.cast(gradients, tf.float32)
    native = loader.native_ops_on_cpu()
    if native is None:
        return twin(inputs, gradients, geometry)
    for _ in range(MOST_AXES - geometry.rank):
        # The native op goes through the input in pieces along its first axis.
        inputs, gradients = inputs[:, :, None], gradients[:, :, None]
    return getattr(native, op)(
        inputs=inputs,
        gradients=gradients,
        kernel_size=_native_axes(geometry.kernel_size, 1),
        strides=_native_axes(geometry.strides, 1),
        dilations=_native_axes(geometry.dilation_rate, 1),
        before=_native_axes([before for before, _ in geometry.padding], 0),
        after=_native_axes([after for _, after in geometry.padding], 0),
        num_threads=tf.config.threading.get_intra_op_parallelism_threads(),
    )


def _native_axes(values: Sequence[int], neutral: int) -> list[int]:
    first, *rest = values
    return [first, *[neutral] * (MOST_AXES - len(values)), *rest]


def _checked_geometry(
    kernel_size: Any, strides: Any, dilation_rate: Any, padding: Any
) -> Geometry:
    geometry = Geometry(
        *(
            tuple(values)
            for values in (kernel_size, strides, dilation_rate, map(tuple, padding))
        )
    )
    rank = geometry.rank
    positive = (geometry.kernel_size, geometry.strides, geometry.dilation_rate)
    if not (
        1 <= rank <= MOST_AXES
        and all(len(values) == rank for values in (*positive, geometry.padding))
        and all(_is_size(value, 1) for values in positive for value in values)
        and all(len(pair) == 2 for pair in geometry.padding)
        and all(_is_size(value, 0) for pair in geometry.padding for value in pair)
    ):
        raise ValueError(
            "A convolution has one, two or three space axes. Expected kernel_size, "
            "strides and dilation_rate of one positive integer per axis, and padding "
            f"of one pair (before, after) per axis. Received: kernel_size="
            f"{kernel_size}, strides={strides}, dilation_rate={dilation_rate}, "
            f"padding={padding}"
        )
    return geometry


def _is_size(value: Any, least: int) -> bool:
    return isinstance(value, int) and least <= value < 2**31


def _checked_tensors(
    inputs: Any, gradients: Any, geometry: Geometry
) -> tuple[tf.Tensor, tf.Tensor]:
    inputs = tf.convert_to_tensor(inputs)
    gradients = tf.convert_to_tensor(gradients)
    if inputs.dtype not in DTYPES or gradients.dtype != inputs.dtype:
        raise ValueError(
            "Expected inputs and gradients of one floating-point dtype. Received: "
            f"inputs of dtype {inputs.dtype.name}, gradients of dtype "
            f"{gradients.dtype.name}"
        )
    dims = [None] * (geometry.rank + 2)
    if inputs.shape.is_compatible_with(dims):
        inputs = tf.ensure_shape(inputs, dims)
        size = inputs.shape[1:-1].as_list()
        dims = [
            inputs.shape[0],
            *map(geometry.output, range(geometry.rank), size),
            None,
        ]
        if gradients.shape.is_compatible_with(dims):
            return inputs, tf.ensure_shape(gradients, dims)
    raise ValueError(
        "Expected inputs of shape (examples, *space, channels) and gradients of the "
        f"shape of their convolution with {geometry}. Received: inputs of shape "
        f"{inputs.shape}, gradients of shape {gradients.shape}"
    )
