"""Checks of arguments, with errors in Keras's manner."""

import math
import numbers
from typing import Any


def real(
    name: str,
    value: Any,
    *,
    low: float = 0.0,
    high: float = math.inf,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Returns `value` as a finite float inside an interval.

    Args:
        name: what the argument is called, for the error.
        value: a Python or NumPy real number; NaN, infinities and booleans are refused.
        low: lower end of the interval.
        high: upper end of the interval.
        open_low: whether `low` itself is refused.
        open_high: whether `high` itself is refused.

    Returns:
        The value as a `float`.

    Raises:
        ValueError: if it is not such a number.
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:  # an integer beyond the range of floats
            number = math.inf
        above = number > low if open_low else number >= low
        below = number < high if open_high else number <= high
        if math.isfinite(number) and above and below:
            return number
    signs = "<" if open_low else "<=", "<" if open_high else "<="
    bounds = f"{low:g} {signs[0]} {name}"
    if math.isfinite(high):
        bounds += f" {signs[1]} {high:g}"
    raise ValueError(
        f"`{name}` is out of range. Expected a finite number, {bounds}. "
        f"Received: {name}={value!r}"
    )


# Beyond this, floats no longer count every step.
LARGEST_WHOLE = 2**53


def whole(name: str, value: Any, *, low: int = 1) -> int:
    """Returns `value` as an `int` of at least `low`.

    Args:
        name: what the argument is called, for the error.
        value: a Python or NumPy integer; booleans are refused.
        low: the smallest value allowed.

    Returns:
        The value as an `int`.

    Raises:
        ValueError: if it is not an integer in `[low, 2**53]`.
    """
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if is_whole and low <= int(value) <= LARGEST_WHOLE:
        return int(value)
    raise ValueError(
        f"`{name}` is out of range. Expected an integer, {low} <= {name} <= 2**53. "
        f"Received: {name}={value!r}"
    )


def text(name: str, value: Any) -> str:
    """Returns `value` if it is a string that says something.

    Args:
        name: what the argument is called, for the error.
        value: a string with at least one character that is not white space.

    Returns:
        The value.

    Raises:
        ValueError: if it is empty or no string.
    """
    if isinstance(value, str) and value.strip():
        return value
    raise ValueError(
        f"`{name}` must be a string that is not empty. Received: {name}={value!r}"
    )
