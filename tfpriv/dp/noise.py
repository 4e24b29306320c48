"""Gaussian noise on a clipped sum, once per step however many replicas compute it."""

import tensorflow as tf

from tfpriv import ops
from tfpriv.randomness import KEY_BYTES


def add_noise(sums, stddev, draw_key):
    """Adds independent normal noise of the given standard deviation to each tensor.

    Keras sums the gradients of all replicas, so that only the first replica adds
    noise: the total then carries it exactly once.

    Args:
        sums: List of float tensors: this replica's part of the clipped sum.
        stddev: Float >= 0, noise_multiplier * l2_norm_clip; or a positive scalar
            tensor.
        draw_key: Function without arguments that returns a fresh key as a uint8
            tensor of shape `(32,)`. Called once per step, in the first replica.

    Returns:
        List of tensors like `sums`.
    """
    context = tf.distribute.get_replica_context()
    if context is None:
        raise ValueError(
            "A DP optimizer is applied inside `strategy.run(...)`, in replica "
            "context. Received: a call in cross-replica context."
        )

    def noised():
        return _noised(sums, stddev, draw_key())

    if context.num_replicas_in_sync == 1:
        return noised()
    is_first = tf.equal(context.replica_id_in_sync_group, 0)
    return tf.cond(is_first, noised, lambda: [tf.identity(s) for s in sums])


def _noised(sums, stddev, key):
    with tf.control_dependencies([key]):
        if not tf.is_tensor(stddev) and stddev == 0:
            return [tf.identity(s) for s in sums]
        return [
            s
            + tf.cast(stddev, s.dtype)
            * ops.gaussian_noise(key, tf.shape(s), s.dtype, stream=i)
            for i, s in enumerate(sums)
        ]


def key_from(redeem, ticket):
    """The key that a Python function hands out when the step runs.

    Args:
        redeem: Function `ticket -> uint8 array (32,)`.
        ticket: Scalar int64 tensor.
    """
    key = tf.numpy_function(redeem, [ticket], tf.uint8, stateful=True)
    key.set_shape([KEY_BYTES])
    return key
