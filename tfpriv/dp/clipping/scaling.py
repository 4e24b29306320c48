"""From each unit's norms to the factors of its gradients: the same for every engine."""

import tensorflow as tf


def scale(norms, chunk, clip):
    """How much of each unit's gradient goes into the clipped sum.

    Args:
        norms: float64 `(variables, units)`, not finite where the gradient is not.
        clip: Function from finite norms to factors (see `styles`).

    Returns:
        `(factors, used, norms)`: float64 `(variables, units)`, exactly zero for a unit
        that is not used; boolean `(units,)`, false where a unit is absent or its
        gradient not finite, which must then contribute exactly zero; and float64
        `(units,)` norms over all variables to show, 0 where a unit was absent and
        infinity where its gradient was not finite.
    """
    total = total_norm(norms)
    finite = tf.math.is_finite(total)
    used = tf.logical_and(finite, chunk.unit_present)
    zero = tf.zeros([], tf.float64)
    factors = tf.where(used, clip(tf.where(used, norms, zero)), zero)
    shown = tf.where(finite, total, float("inf"))
    return factors, used, tf.where(chunk.unit_present, shown, zero)


def total_norm(norms):
    """L2 norm of float64 norms over their first axis, without overflow of squares."""
    largest = tf.reduce_max(norms, axis=0)
    # A maximum may skip a nan; the sum does not.
    divisor = tf.where(largest > 0, largest, tf.ones_like(largest))
    return divisor * tf.sqrt(tf.reduce_sum(tf.square(norms / divisor), axis=0))
