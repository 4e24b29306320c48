"""Gaussian noise on a clipped sum: added once, as whole numbers, for all replicas.

The parts of all replicas are added first, noise meets the whole sum once, and every
replica gets the same released tensors. Sum and noise are multiples of a public grid
step, so that the floats which can be released do not depend on the sum.

The rounded noise on the rounded sum is the rounded Gaussian mechanism: rounding the
noise to the grid commutes with adding a grid point, so the privacy of the continuous
Gaussian carries over. Rounding the sum moves it by at most half a step in each
coordinate, which is part of `clipping.rounding.MARGIN`.

Reference: I. Mironov, "On significance of the least significant bits for differential
privacy", CCS 2012.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tfpriv import ops
from tfpriv.ops.dtypes import as_float64
from tfpriv.support.randomness import KEY_BYTES

# Grid steps in one sensitivity (or standard deviation, where that is smaller), and the
# most steps in a standard deviation: float64 noise is still finer than such a step.
STEPS = 2.0**28
MOST_STEPS = 2.0**48


def grid_step(sensitivity: Any, stddev: Any) -> tf.Tensor:
    """The grid step of a release, a power of two, float64: of public, positive scalars.

    Args:
        sensitivity: By how much one unit can move the sum.
        stddev: Standard deviation of the noise.
    """
    sensitivity, stddev = as_float64(sensitivity), as_float64(stddev)
    fine = _power_of_two_below(tf.minimum(sensitivity, stddev)) / STEPS
    return tf.maximum(fine, _power_of_two_below(stddev) / MOST_STEPS)


def _power_of_two_below(x: tf.Tensor) -> tf.Tensor:
    """The largest power of two that is at most a positive float64: its exponent."""
    exponent = tf.bitwise.bitwise_and(
        tf.bitcast(x, tf.int64), tf.constant(0x7FF << 52, tf.int64)
    )
    return tf.bitcast(exponent, tf.float64)


# Sums of at most so many values share one operation, and one stream of noise.
SMALL = 1 << 14


def release(
    sums: Sequence[tf.Tensor],
    *,
    sensitivity: Any,
    stddev: Any,
    draw_key: Callable[[], tf.Tensor],
    scale: Any = 1.0,
    dtypes: Sequence[tf.DType],
) -> list[tf.Tensor]:
    """Adds the sums of all replicas, then noise, once; returns the same on each.

    Args:
        sums: List of float tensors: this replica's part of the sum.
        sensitivity: Positive scalar: L2 norm by which one unit can move the whole sum.
        stddev: Standard deviation of the noise: a float >= 0, or a positive scalar
            tensor.
        draw_key: Function that returns a fresh key, uint8 `(32,)`. Called once per
            step, in the first replica, also where `stddev` is 0.
        scale: Positive float64 scalar by which the noisy sums are multiplied.
        dtypes: List of float32 or float64, one for each result, shaped like its sum.

    Raises:
        ValueError: If called in cross-replica context.
    """
    context = tf.distribute.get_replica_context()
    if context is None:
        raise ValueError(
            "A DP optimizer is applied inside `strategy.run(...)`, in replica "
            "context. Received: a call in cross-replica context."
        )
    groups = _groups(sums, dtypes)
    joined = [_join([as_float64(sums[i]) for i in group]) for group in groups]
    dtypes = [dtypes[group[0]] for group in groups]
    if not tf.is_tensor(stddev) and stddev == 0:
        released = _without_noise(context, joined, draw_key, as_float64(scale), dtypes)
    else:
        step = grid_step(sensitivity, stddev)
        options = {"step": step, "stddev": stddev, "scale": as_float64(scale)}
        released = _with_noise(context, joined, draw_key, dtypes=dtypes, **options)
    return _apart(released, groups, sums)


def _groups(sums, dtypes):
    """Positions of the sums that are released by one operation, a list for each."""
    groups: dict = {}
    for i, (total, dtype) in enumerate(zip(sums, dtypes, strict=True)):
        size = total.shape.num_elements()
        is_large = size is None or size > SMALL
        groups.setdefault(i if is_large else dtype.name, []).append(i)
    return list(groups.values())


def _join(sums):
    if len(sums) == 1:
        return sums[0]
    return tf.concat([tf.reshape(s, [-1]) for s in sums], axis=0)


def _apart(released, groups, sums):
    """The released tensor of each sum, from those of the groups."""
    results: dict = {}
    for tensor, group in zip(released, groups, strict=True):
        shapes = [sums[i].shape for i in group]
        parts: Any = [tensor]
        if len(group) > 1:
            flat = tf.split(tensor, [shape.num_elements() for shape in shapes])
            parts = map(tf.reshape, flat, shapes)
        results.update(zip(group, parts, strict=True))
    return [results[i] for i in range(len(sums))]


def _with_noise(context, sums, draw_key, *, step, stddev, scale, dtypes):
    noise = {"step": step, "stddev": stddev}
    if context.num_replicas_in_sync == 1:
        key = draw_key()
        return [
            ops.noisy_sum(s, key, **noise, scale=scale, dtype=dtype, stream=i)
            for i, (s, dtype) in enumerate(zip(sums, dtypes, strict=True))
        ]

    def noisy():
        key = draw_key()
        return [
            ops.noisy_sum(s, key, **noise, dtype=tf.int64, stream=i)
            for i, s in enumerate(sums)
        ]

    def plain():
        return [tf.cast(tf.round(s / step), tf.int64) for s in sums]

    # Integers add up to the same in any order.
    whole = context.all_reduce(
        tf.distribute.ReduceOp.SUM, _in_first_replica(context, noisy, plain)
    )
    return [
        tf.cast(tf.cast(w, tf.float64) * (step * scale), dtype)
        for w, dtype in zip(whole, dtypes, strict=True)
    ]


def _without_noise(context, sums, draw_key, scale, dtypes):
    """The sums themselves: `noise_multiplier=0`, for which epsilon is infinite."""

    def plain():
        return [tf.identity(s) for s in sums]

    def paid():
        with tf.control_dependencies([draw_key()]):
            return plain()

    if context.num_replicas_in_sync == 1:
        whole = paid()
    else:
        parts = _in_first_replica(context, paid, plain)
        whole = context.all_reduce(tf.distribute.ReduceOp.SUM, parts)
    return [tf.cast(w * scale, dtype) for w, dtype in zip(whole, dtypes, strict=True)]


def _in_first_replica(context, first, others):
    """A list: what `first` returns in the first replica, `others` in the others."""
    is_first = tf.equal(context.replica_id_in_sync_group, 0)
    return tf.nest.flatten(tf.cond(is_first, first, others))


def key_from(redeem, ticket):
    """The key, uint8 `(32,)`, that `redeem(ticket)` hands out when the step runs."""
    key = tf.numpy_function(redeem, [ticket], tf.uint8, stateful=True)
    key.set_shape([KEY_BYTES])
    return key


def side_key(privacy, purpose):
    """A `draw_key` for a further sum of a step that is paid."""

    def draw_key():
        return key_from(lambda _: privacy.side_key(purpose), tf.constant(0, tf.int64))

    return draw_key
