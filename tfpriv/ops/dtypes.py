"""The dtypes that ops take, and those that they compute in."""

from typing import Any

import tensorflow as tf

DTYPES = (tf.float16, tf.bfloat16, tf.float32, tf.float64)


def as_float64(value: Any) -> tf.Tensor:
    """A number or tensor in float64; `tf.cast` would make a Python float float32 first.

    Args:
        value: tensor of any numeric dtype, or what `tf.convert_to_tensor` takes.
    """
    if tf.is_tensor(value):
        return tf.cast(value, tf.float64)
    return tf.convert_to_tensor(value, tf.float64)


def computed_in(dtype: tf.DType) -> tf.DType:
    """Says in which dtype values of another one are computed.

    Args:
        dtype: one of `DTYPES`.

    Returns:
        float64 for itself, float32 for the others.
    """
    return tf.float64 if dtype == tf.float64 else tf.float32
