"""From each unit's norms to the factors of its gradients: the same for every engine."""

import tensorflow as tf


def scale(norms_by_variable, chunk, clip):
    """How much of each unit's gradient goes into the clipped sum.

    Args:
        norms_by_variable: List with one float `(units,)` tensor per trainable
            variable: the L2 norm of each unit's gradient for that variable. Not
            finite where the gradient is not.
        chunk: `Chunk` that the units come from.
        clip: Function that takes finite norms, float64, and returns the factors,
            float64 and at least 0 (see `styles`).

    Returns:
        `(factors, used, norms)`: a list with one float64 `(units,)` tensor per
        variable, finite for every unit; boolean `(units,)`, false where a unit is
        absent or its gradient not finite, which must then contribute exactly zero;
        and float64 `(units,)` norms over all variables to show, 0 where a unit was
        absent and infinity where its gradient was not finite.
    """
    norms = [tf.cast(n, tf.float64) for n in norms_by_variable]
    total = total_norm(norms)
    finite = tf.math.is_finite(total)
    used = tf.logical_and(finite, chunk.unit_present)
    factors = clip([tf.where(used, n, tf.zeros_like(n)) for n in norms])
    shown = tf.where(finite, total, float("inf"))
    return factors, used, tf.where(chunk.unit_present, shown, tf.zeros_like(shown))


def total_norm(norms):
    """Root of the sum of squares of float64 norms, beyond the range of the squares."""
    stacked = tf.stack(norms)
    largest = tf.reduce_max(stacked, axis=0)
    # A nan may hide from the maximum, not from the sum.
    divisor = tf.where(largest > 0, largest, tf.ones_like(largest))
    return divisor * tf.sqrt(tf.reduce_sum(tf.square(stacked / divisor), axis=0))
