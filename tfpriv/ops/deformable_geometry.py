"""Checked arguments of the deformable ops: sizes of a layer along height and width."""

import dataclasses
from typing import Any

import tensorflow as tf

from tfpriv.ops.convolution import same_padding

Size = int | tf.Tensor | None


@dataclasses.dataclass(frozen=True)
class Steps:
    """How a kernel moves: pairs of integers along height and width.

    `padding` is `"valid"`, `"same"` or a pair `(before, after)` for each axis.
    """

    strides: tuple[int, int]
    dilation_rate: tuple[int, int]
    padding: str | tuple[tuple[int, int], tuple[int, int]]

    def before_and_after(self, axis: int, size: Size, kernel_size: int) -> Any:
        """Says how many zeros stand around the input along an axis.

        Args:
            axis: 0 (height) or 1 (width).
            size: the input's size along it: an integer, an integer tensor or None.
            kernel_size: the kernel's size along it.

        Returns:
            `(before, after)`, integers or tensors; None if that depends on a size that
            is not known.
        """
        if self.padding == "valid":
            return 0, 0
        if self.padding != "same":
            return self.padding[axis]
        stride, dilation = self.strides[axis], self.dilation_rate[axis]
        if tf.is_tensor(size):
            extent = (kernel_size - 1) * dilation + 1
            total = (-(-size // stride) - 1) * stride + extent - size
            total = tf.maximum(total, 0)
            return total // 2, total - total // 2
        return (
            None if size is None else same_padding(size, kernel_size, stride, dilation)
        )

    def output(self, axis: int, size: Size, kernel_size: int) -> Size:
        """The output's size along an axis; arguments as for `before_and_after`."""
        padding = self.before_and_after(axis, size, kernel_size)
        if size is None or padding is None:
            return None
        free = size + sum(padding) - (kernel_size - 1) * self.dilation_rate[axis] - 1
        positions = free // self.strides[axis] + 1
        return tf.maximum(positions, 0) if tf.is_tensor(size) else max(positions, 0)


def checked_steps(strides: Any, padding: Any, dilation_rate: Any) -> Steps:
    """Makes pairs of single numbers and checks them.

    Args:
        strides: a positive integer or a pair.
        padding: `"valid"`, `"same"` or `((top, bottom), (left, right))`, not negative.
        dilation_rate: a positive integer or a pair.

    Returns:
        The steps.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(padding, str):
        zeros = padding.lower()
        fits = zeros in ("valid", "same")
    else:
        zeros = tuple(map(_as_pair, padding)) if _is_sequence(padding) else ()
        fits = len(zeros) == 2 and all(_are_sizes(pair, 0) for pair in zeros)
    steps = Steps(_as_pair(strides), _as_pair(dilation_rate), zeros)
    if not (fits and _are_sizes(steps.strides) and _are_sizes(steps.dilation_rate)):
        raise ValueError(
            "Expected strides and dilation_rate to be positive integers or pairs of "
            'them, and padding to be "valid", "same" or ((top, bottom), (left, '
            "right)). "
            f"Received: strides={strides}, padding={padding}, "
            f"dilation_rate={dilation_rate}"
        )
    return steps


def checked_pair(value: Any, name: str) -> tuple[int, int]:
    """Makes a pair of a positive integer or a pair of them.

    Args:
        value: what was given.
        name: for the message.

    Returns:
        The pair.

    Raises:
        ValueError: for anything else.
    """
    pair = _as_pair(value)
    if not _are_sizes(pair):
        raise ValueError(
            f"Expected {name} to be a positive integer or a pair of them. Received: "
            f"{name}={value}"
        )
    return pair


def _are_sizes(values: Any, least: int = 1) -> bool:
    return len(values) == 2 and all(
        isinstance(value, int) and least <= value < 2**31 for value in values
    )


def _as_pair(value: Any) -> tuple:
    return tuple(value) if _is_sequence(value) else (value, value)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, (tuple, list))
