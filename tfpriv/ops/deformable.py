"""Deformable convolutions, and the offsets with which they see through a shuffle."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfpriv.ops import deformable_checks, loader
from tfpriv.ops.deformable_geometry import Steps, checked_pair, checked_steps
from tfpriv.ops.dtypes import computed_in
from tfpriv.ops.reference import deformable as deformable_reference


def deformable_conv2d(
    inputs: Any,
    offsets: Any,
    filters: Any,
    mask: Any = None,
    bias: Any = None,
    *,
    strides: int | Sequence[int] = 1,
    padding: str | Sequence[Sequence[int]] = "valid",
    dilation_rate: int | Sequence[int] = 1,
    groups: int = 1,
) -> tf.Tensor:
    """Convolves places that each output position and tap of the kernel chooses.

    Tap (i, j) of position (p, q) sees the input at
    `(p * strides + i * dilation_rate - top + dy, q * strides + j * dilation_rate - left
    + dx)`, times the mask. Between pixels the four around a place are blended
    (bilinear); pixels outside of the input are 0. A place that is not finite gives 0,
    and its offsets get gradient 0. A pixel of weight 0 counts for nothing, also where
    it is not finite. At whole pixels, where a blend has no derivative, offsets get that
    towards the next pixel.

    The gradients natively have no gradients of their own (the twin's have).

    Args:
        inputs: `(examples, height, width, channels)`, float16, bfloat16, float32 or
            float64 (half precision is computed in float32).
        offsets: in pixels, `(examples or 1, output height, output width, 2 *
            offset_groups * taps)`: for each offset group and each tap, row by row, dy
            and dx (torchvision's order). Their number says how many offset groups
            there are; each moves `channels / offset_groups` channels. With one row all
            examples share them. Any floating-point dtype.
        filters: `(kernel height, kernel width, channels / groups, filters)`, of the
            inputs' dtype.
        mask: factors of the samples, `(examples or 1, output height, output width,
            offset_groups * taps)`, or None (version 1). Any floating-point dtype.
        bias: `(filters,)` of the inputs' dtype, or None.
        strides: a positive integer or a pair of them.
        padding: `"valid"`, `"same"`, or zeros before and after each axis,
            `((top, bottom), (left, right))`.
        dilation_rate: a positive integer or a pair of them.
        groups: channels are convolved in so many groups, each with its own filters.

    Returns:
        `(examples, output height, output width, filters)` of the inputs' dtype.

    Raises:
        ValueError: for arguments that do not fit each other.
        tf.errors.InvalidArgumentError: for shapes that do not fit each other, known
            only when the graph runs.

    Reference: Dai et al., "Deformable Convolutional Networks", ICCV 2017; Zhu et al.,
    "Deformable ConvNets v2", CVPR 2019.
    """
    steps = checked_steps(strides, padding, dilation_rate)
    tensors = deformable_checks.checked_tensors(inputs, offsets, filters, mask, bias)
    shape = deformable_checks.checked_shapes(tensors, steps, groups)
    dtype = tensors["inputs"].dtype
    wide = computed_in(dtype)
    tensors = {
        name: None if tensor is None else tf.cast(tensor, wide)
        for name, tensor in tensors.items()
    }
    native = loader.native_ops_on_cpu()
    zeros = _padding(tensors["inputs"], tensors["filters"], steps)
    if native is None:
        with deformable_checks.run_time_checks(tensors, steps, groups):
            outputs = deformable_reference.deformable_conv2d(
                **tensors, padding=zeros, steps=steps, groups=groups
            )
    else:
        if tensors["mask"] is None:
            tensors["mask"] = tf.zeros([1, 0, 0, 0], wide)
        if tensors["bias"] is None:
            tensors["bias"] = tf.zeros(tf.shape(tensors["filters"])[-1:], wide)
        outputs = native.tfpriv_deformable_conv2d(
            **tensors,
            padding=zeros,
            strides=steps.strides,
            dilations=steps.dilation_rate,
            groups=groups,
            num_threads=tf.config.threading.get_intra_op_parallelism_threads(),
        )
    return tf.cast(tf.ensure_shape(outputs, shape), dtype)


@tf.RegisterGradient("TfprivDeformableConv2D")
def _gradients(op: Any, gradients: tf.Tensor) -> list[tf.Tensor | None]:
    """Eagerly those gradients that are asked for; a graph prunes the others."""
    inputs, offsets, mask, filters, bias, padding = op.inputs
    del bias  # whose gradient does not depend on it
    unneeded = getattr(op, "skip_input_indices", None) or ()
    native = loader.library()
    arguments = {
        "inputs": inputs,
        "offsets": offsets,
        "mask": mask,
        "filters": filters,
        "gradients": gradients,
        "padding": padding,
        "strides": op.get_attr("strides"),
        "dilations": op.get_attr("dilations"),
        "groups": op.get_attr("groups"),
        "num_threads": op.get_attr("num_threads"),
    }
    results = [None] * len(op.inputs)
    if 0 not in unneeded:
        results[0] = native.tfpriv_deformable_conv2d_input_gradients(**arguments)
    if 1 not in unneeded or 2 not in unneeded:
        results[1:3] = native.tfpriv_deformable_conv2d_offset_gradients(**arguments)
    if 3 not in unneeded or 4 not in unneeded:
        results[3:5] = native.tfpriv_deformable_conv2d_filter_gradients(**arguments)
    return results


def keyed_offsets(
    source: Any,
    target: Any,
    *,
    input_size: int | Sequence[int],
    kernel_size: int | Sequence[int],
    strides: int | Sequence[int] = 1,
    padding: str | Sequence[Sequence[int]],
    dilation_rate: int | Sequence[int] = 1,
) -> tf.Tensor:
    """Computes the offsets with which a convolution sees through shuffled positions.

    `deformable_conv2d` with these offsets, of inputs whose positions are shuffled by
    `source`, gives the plain convolution's output with positions shuffled by `target`
    (natively bit for bit what offsets of zero give). A permutation's entry q is the
    true position (row by row) of what is shown at position q. Taps in the padding are
    led outside.

    Args:
        source: permutations of the input's positions, int32
            `(examples, height * width)`.
        target: permutations of the output's positions, int32
            `(examples, output height * output width)`.
        input_size: the input's height and width, a positive integer or a pair.
        kernel_size: a positive integer or a pair.
        strides: a positive integer or a pair.
        padding: `"valid"`, `"same"` or `((top, bottom), (left, right))`.
        dilation_rate: a positive integer or a pair.

    Returns:
        float32 `(examples, output height, output width, 2 * taps)`: whole numbers.

    Raises:
        ValueError: for arguments that do not fit each other.
        tf.errors.InvalidArgumentError: for a row that is no permutation.
    """
    steps = checked_steps(strides, padding, dilation_rate)
    size = checked_pair(input_size, "input_size")
    kernel = checked_pair(kernel_size, "kernel_size")
    zeros = tuple(
        steps.before_and_after(axis, size[axis], kernel[axis]) for axis in (0, 1)
    )
    output = [steps.output(axis, size[axis], kernel[axis]) for axis in (0, 1)]
    source = deformable_checks.checked_permutations(source, size, "source")
    target = deformable_checks.checked_permutations(target, output, "target")
    native = loader.native_ops()
    if native is None:
        offsets = deformable_reference.keyed_offsets(
            source, target, size, kernel, zeros, steps
        )
    else:
        offsets = native.tfpriv_keyed_offsets(
            source=source,
            target=target,
            input_size=size,
            kernel_size=kernel,
            strides=steps.strides,
            dilations=steps.dilation_rate,
            before=[before for before, _ in zeros],
            after=[after for _, after in zeros],
            num_threads=tf.config.threading.get_intra_op_parallelism_threads(),
        )
    shape = [source.shape[0], *output, 2 * kernel[0] * kernel[1]]
    return tf.ensure_shape(offsets, shape)


def _padding(inputs: tf.Tensor, filters: tf.Tensor, steps: Steps) -> tf.Tensor:
    """The zeros before and after each axis, int32 `[top, bottom, left, right]`."""
    zeros: list[Any] = []
    for axis in (0, 1):
        size, kernel = inputs.shape[axis + 1 : axis + 2], filters.shape[axis : axis + 1]
        if size.is_fully_defined() and kernel.is_fully_defined():
            zeros += steps.before_and_after(axis, size[0], kernel[0])
        else:
            size, kernel = tf.shape(inputs)[axis + 1], tf.shape(filters)[axis]
            zeros += steps.before_and_after(axis, size, kernel)
    return tf.stack([tf.cast(value, tf.int32) for value in zeros])
