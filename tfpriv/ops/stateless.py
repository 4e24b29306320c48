"""TensorFlow's stateless random numbers, for many seeds in one operation."""

from typing import Any

import tensorflow as tf

from tfpriv.ops import loader


def philox_keys(seeds: Any) -> tuple[tf.Tensor, tf.Tensor] | None:
    """What `tf.raw_ops.StatelessRandomGetKeyCounter` returns, for each of many seeds.

    Args:
        seeds: Integer tensor of shape `(n, 2)`.

    Returns:
        `(keys, counters)`, uint64 of shapes `(n, 1)` and `(n, 2)`; or `None` where the
        native ops are not available.
    """
    native = loader.native_ops_on_cpu()
    if native is None:
        return None
    keys, counters = native.tfpriv_philox_keys(seeds=tf.cast(seeds, tf.int64))
    keys.set_shape([seeds.shape[0], 1])
    counters.set_shape([seeds.shape[0], 2])
    return keys, counters


def philox_uniform(keys: tf.Tensor, counters: tf.Tensor, size: Any) -> tf.Tensor | None:
    """What `tf.raw_ops.StatelessRandomUniformV2` returns, for each of many keys.

    Args:
        keys: uint64 tensor of shape `(n, 1)`.
        counters: uint64 tensor of shape `(n, 2)`.
        size: Integer scalar, how many numbers each key gives.

    Returns:
        float32 tensor of shape `(n, size)` with values in [0, 1); or `None` where the
        native ops are not available.
    """
    native = loader.native_ops_on_cpu()
    if native is None:
        return None
    values = native.tfpriv_philox_uniform(
        keys=keys,
        counters=counters,
        size=tf.cast(size, tf.int64),
        num_threads=tf.config.threading.get_intra_op_parallelism_threads(),
    )
    values.set_shape([keys.shape[0], size if isinstance(size, int) else None])
    return values
