"""The dtypes that ops take, and those that they compute in."""

import tensorflow as tf

DTYPES = (tf.float16, tf.bfloat16, tf.float32, tf.float64)


def computed_in(dtype: tf.DType) -> tf.DType:
    """Says in which dtype values of another one are computed.

    Args:
        dtype: one of `DTYPES`.

    Returns:
        float64 for itself, float32 for the others.
    """
    return tf.float64 if dtype == tf.float64 else tf.float32
