"""What a clipped sum says of itself: the proof a DP optimizer asks for.

`clipped_gradients` marks every tensor that it returns. Any operation on such a
tensor gives a new tensor without the mark, so that a DP optimizer can refuse
gradients that were rescaled, averaged or never clipped (fail closed).
"""

import dataclasses
from typing import Any

_ATTRIBUTE = "_tfpriv_clipped"
OWNER = "_tfpriv_bound_of"  # of a bound: the optimizer that it was read from


@dataclasses.dataclass(frozen=True)
class ClippedSum:
    """How a sum of per-example gradients was bounded."""

    # No unit's contribution exceeds this L2 norm, taken over all gradients together.
    # Adaptive: the optimizer's bound as it was read for this step, with its mark.
    l2_norm_clip: Any
    # Public: the noisy sum is divided by it. Without a ticket this replica's size.
    divisor: Any
    ticket: Any = None  # int64 tensor that names the ledger event; `None`: not yet paid
    clipping: str = "flat"  # name of the style
    indicators: Any = None  # adaptive: this replica's sum of them, without noise


def mark(tensors, clipped_sum):
    """Marks each tensor as part of `clipped_sum`."""
    for tensor in tensors:
        setattr(tensor, _ATTRIBUTE, clipped_sum)
    return tensors


def read(tensors):
    """The `ClippedSum` that all tensors carry.

    Raises:
        ValueError: If a tensor carries none, or two carry different ones.
    """
    marks = [getattr(tensor, _ATTRIBUTE, None) for tensor in tensors]
    if None in marks or not marks:
        first = tensors[marks.index(None)] if marks else "an empty list"
        raise ValueError(
            "A DP optimizer only takes gradients that were clipped per example: by "
            "`fit` of `tfpriv.dp.make_private(model)`, or the list that `tfpriv.dp."
            "clipped_gradients(...)` returns, as it is and in the same `tf.function`. "
            f"Received: gradients without that mark (first: {first})"
        )
    if any(m is not marks[0] for m in marks):
        raise ValueError(
            "A DP optimizer applies the gradients of one batch at a time. Received: "
            "gradients of several `clipped_gradients` calls in one list."
        )
    if len({id(tensor) for tensor in tensors}) < len(tensors):
        raise ValueError(
            "Each gradient can be applied to one variable only, or an example would "
            "count more than once. Received: the same gradient twice in one list."
        )
    return marks[0]
