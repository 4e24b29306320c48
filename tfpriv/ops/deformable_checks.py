"""What the tensors of the deformable ops must be, before the graph runs and in it."""

import contextlib
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfpriv.ops.deformable_geometry import Steps
from tfpriv.ops.dtypes import DTYPES

Tensors = dict[str, tf.Tensor | None]
EXPECTED = (
    "Expected inputs (examples, height, width, channels), filters (kernel height, "
    "kernel width, channels / groups, filters), offsets (examples or 1, output height, "
    "output width, 2 * offset_groups * taps), mask (examples or 1, output height, "
    "output width, offset_groups * taps) and bias (filters,), for groups that divide "
    "the filters and offset groups that divide the channels."
)


def checked_tensors(
    inputs: Any, offsets: Any, filters: Any, mask: Any, bias: Any
) -> Tensors:
    """Makes tensors of what was given and checks their dtypes.

    Args:
        inputs: all as for `deformable_conv2d`.
        offsets:
        filters:
        mask:
        bias:

    Returns:
        Dict from name to tensor, or to None.

    Raises:
        ValueError: for other dtypes.
    """
    given = {
        "inputs": inputs,
        "offsets": offsets,
        "mask": mask,
        "filters": filters,
        "bias": bias,
    }
    tensors = {
        name: None if value is None else tf.convert_to_tensor(value)
        for name, value in given.items()
    }
    dtypes = {name: t.dtype for name, t in tensors.items() if t is not None}
    same = {dtypes[name] for name in ("inputs", "filters", "bias") if name in dtypes}
    if len(same) != 1 or not set(dtypes.values()) <= set(DTYPES):
        raise ValueError(
            "Expected inputs, filters and bias of one floating-point dtype, and "
            "offsets and mask of any. Received: "
            + ", ".join(
                f"{name} of dtype {dtype.name}" for name, dtype in dtypes.items()
            )
        )
    return tensors


def checked_shapes(tensors: Tensors, steps: Steps, groups: int) -> list[int | None]:
    """Checks what is known of the shapes.

    Args:
        tensors: what `checked_tensors` returned.
        steps: how the kernel moves.
        groups: of the convolution.

    Returns:
        The output's shape, None where it is not known.

    Raises:
        ValueError: for shapes that do not fit each other.
    """
    shapes = {name: t.shape for name, t in tensors.items() if t is not None}
    ranks = {name: 1 if name == "bias" else 4 for name in shapes}
    fits = isinstance(groups, int) and groups >= 1
    fits = fits and all(shapes[name].rank in (None, ranks[name]) for name in shapes)
    if fits:
        sizes = {
            name: [None] * ranks[name] if shape.rank is None else shape.as_list()
            for name, shape in shapes.items()
        }
        output = _output(sizes, steps)
        fits = all(_conditions(sizes, output, groups))
    if not fits:
        received = ", ".join(f"{name} of shape {s}" for name, s in shapes.items())
        raise ValueError(f"{EXPECTED} Received: {received}, groups={groups}, {steps}")
    return [sizes["inputs"][0], *output, sizes["filters"][3]]


def run_time_checks(
    tensors: Tensors, steps: Steps, groups: int
) -> contextlib.AbstractContextManager:
    """Checks in the graph what was not known before it runs.

    Args:
        tensors: what `checked_tensors` returned.
        steps: how the kernel moves.
        groups: of the convolution.

    Returns:
        A context in which tensors depend on the checks.
    """
    given = {name: t for name, t in tensors.items() if t is not None}
    if all(tensor.shape.is_fully_defined() for tensor in given.values()):
        return contextlib.nullcontext()
    sizes = {
        name: tf.unstack(tf.shape(tensor), num=1 if name == "bias" else 4)
        for name, tensor in given.items()
    }
    conditions = [
        condition
        for condition in _conditions(sizes, _output(sizes, steps), groups)
        if tf.is_tensor(condition)
    ]
    received = [value for name, t in given.items() for value in (name, tf.shape(t))]
    check = tf.debugging.Assert(
        tf.reduce_all(tf.stack(conditions)), [EXPECTED, "Received:", *received]
    )
    return tf.control_dependencies([check])


def _output(sizes: dict[str, list], steps: Steps) -> list:
    return [
        steps.output(axis, sizes["inputs"][axis + 1], sizes["filters"][axis])
        for axis in (0, 1)
    ]


def _conditions(sizes: dict[str, list], output: list, groups: int) -> list:
    """What must be true of sizes: integers, scalar tensors or None (unknown)."""
    examples, _, _, channels = sizes["inputs"]
    height, width, in_group, filters = sizes["filters"]
    taps = None if height is None or width is None else height * width
    values = sizes["offsets"][3]
    pairs = None if taps is None else 2 * taps
    conditions = [
        _divides(pairs, values),
        _divides(_quotient(values, pairs), channels),
        _divides(groups, channels),
        _divides(groups, filters),
        _equal(in_group, _quotient(channels, groups)),
    ]
    for name in ("offsets", "mask"):
        if name in sizes:
            batch, *space = sizes[name][:3]
            conditions += map(_equal, space, output)
            if None not in (batch, examples):
                conditions.append((batch == 1) | (batch == examples))
    if "mask" in sizes:
        mask = sizes["mask"][3]
        conditions.append(_equal(values, None if mask is None else 2 * mask))
    if "bias" in sizes:
        conditions.append(_equal(sizes["bias"][0], filters))
    return conditions


def _equal(one: Any, other: Any) -> Any:
    return True if one is None or other is None else one == other


def _divides(divisor: Any, value: Any) -> Any:
    """Whether a divisor is positive and leaves no rest."""
    if divisor is None or value is None:
        return True
    return (divisor > 0) & (value % _at_least_one(divisor) == 0)


def _quotient(value: Any, divisor: Any) -> Any:
    if divisor is None or value is None:
        return None
    return value // _at_least_one(divisor)


def _at_least_one(size: Any) -> Any:
    return tf.maximum(size, 1) if tf.is_tensor(size) else max(size, 1)


def checked_permutations(value: Any, size: Sequence[int], name: str) -> tf.Tensor:
    """Makes a tensor of permutations.

    Args:
        value: int32 `(examples, positions)`.
        size: height and width, whose product is the number of positions.
        name: for the message.

    Returns:
        The tensor; whether its rows are permutations is for the op to say.

    Raises:
        ValueError: for another dtype or shape.
    """
    permutations = tf.convert_to_tensor(value)
    shape = [None, size[0] * size[1]]
    if permutations.dtype != tf.int32 or not permutations.shape.is_compatible_with(
        shape
    ):
        raise ValueError(
            f"Expected {name} to hold permutations, int32 of shape (examples, "
            f"{shape[1]}). Received: {name} of dtype {permutations.dtype.name} and "
            f"shape {permutations.shape}"
        )
    return tf.ensure_shape(permutations, shape)
