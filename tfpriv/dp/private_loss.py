"""A noised loss that epsilon covers, in place of the exact one."""

import keras
import tensorflow as tf

from tfpriv.dp.noise import grid_step, release, side_key

LOSS_BOUND = 10.0  # per-example losses are cut here before a private release
LOSS_NOISE_RATIO = 10.0  # noise on the loss, relative to that on the gradients


def joint_noise_multiplier(noise_multiplier):
    """That of gradients and loss together, which come from the same batch.

    Both are one Gaussian with z = (z1**-2 + z2**-2) ** -0.5.
    """
    z = noise_multiplier
    return z if z == 0 else (z**-2 + (LOSS_NOISE_RATIO * z) ** -2) ** -0.5


def metric(model):
    """The metric behind `private_loss`, or `None`."""
    if not model._private_options["private_metrics"]:
        return None
    return keras.metrics.Mean(name="private_loss")


def update(model, losses, batch, divisor):
    """Releases the sum of bounded losses with noise; returns the running mean."""
    bounded = tf.where(
        tf.math.is_finite(losses), tf.clip_by_value(losses, 0.0, LOSS_BOUND), 0.0
    )
    if (present := batch.get("present")) is not None:
        # A group's loss is the mean over its examples: one bound for each unit.
        groups = tf.where(present)[:, 0]
        units = tf.shape(present)[0]
        bounded = tf.math.unsorted_segment_mean(bounded, groups, units)
    each = tf.cast(bounded, tf.float64)
    stddev = LOSS_NOISE_RATIO * model.optimizer.noise_multiplier * LOSS_BOUND
    if stddev > 0:  # on the grid before the sum, which is then exact
        step = grid_step(LOSS_BOUND, stddev)
        each = tf.round(each / step) * step

    (total,) = release(
        [tf.reduce_sum(each)],
        sensitivity=LOSS_BOUND,
        stddev=stddev,
        draw_key=side_key(model.privacy, "loss"),
        scale=1.0 / tf.cast(divisor, tf.float64),
        dtypes=[tf.float32],
    )
    metric = model._private_loss
    metric.update_state(total)
    return {"private_loss": metric.result()}
