"""Gaussian noise from a keyed cryptographic stream."""

from typing import Any

import tensorflow as tf

from tfpriv.ops import loader
from tfpriv.ops.dtypes import DTYPES, as_float64
from tfpriv.ops.reference import noise as noise_reference

KEY_BYTES = 32


def gaussian_noise(
    key: Any, shape: Any, dtype: Any = "float32", *, stream: Any = 0
) -> tf.Tensor:
    """Draws standard normal noise that is a function of a key and a stream number.

    The generator is ChaCha20: without the key the noise cannot be told from true
    noise by anyone who could not break that cipher. Equal arguments give equal values,
    on the native op and on the pure-TensorFlow twin, in eager mode and in graphs. The
    same (key, stream) must therefore never be used for two releases.

    Args:
        key: uint8 tensor of shape (32,), from the operating system's generator.
        shape: the result's shape: integers, a `tf.TensorShape` or an integer tensor.
        dtype: float16, bfloat16, float32 or float64. Values are computed in float64
            and rounded once (half precision: once more, from float32).
        stream: integer or scalar integer tensor in [0, 2^63): different numbers give
            independent noise under one key.

    Returns:
        Tensor of the given shape and dtype, mean 0 and standard deviation 1, every
        value within 9.42 of zero.

    Raises:
        ValueError: for a key, dtype, shape or stream of the wrong kind.
        tf.errors.InvalidArgumentError: for a shape that is negative somewhere or too
            large, or a negative stream, known only when the graph runs.

    Reference: D. J. Bernstein, "ChaCha, a variant of Salsa20", 2008; Box and Muller,
    "A note on the generation of random normal deviates", 1958.
    """
    dtype = _checked_dtype(dtype)
    key = _checked_key(key)
    shape = _checked_shape(shape)
    stream = _checked_stream(stream)
    native = loader.native_ops()
    # Both run on the CPU, whose arithmetic is the one that the two agree on.
    with tf.device("/device:CPU:0"):
        if native is None:
            noise = tf.cast(noise_reference.gaussian_noise(key, shape, stream), dtype)
        else:
            noise = native.tfpriv_gaussian_noise(
                key=key,
                shape=shape,
                stream=stream,
                dtype=tf.float64 if dtype == tf.float64 else tf.float32,
                num_threads=tf.config.threading.get_intra_op_parallelism_threads(),
            )
    noise.set_shape(_static_shape(shape))
    return tf.cast(noise, dtype)


def noisy_sum(
    total: tf.Tensor,
    key: Any,
    *,
    step: Any,
    stddev: Any,
    scale: Any = 1.0,
    dtype: Any = "float32",
    stream: Any = 0,
) -> tf.Tensor:
    """Adds Gaussian noise to a sum, both as whole numbers of grid steps.

    The sum and the noise are each rounded to the nearest multiple of `step` and added
    exactly; the output is a function of that whole number alone. The floats that can
    occur are therefore the same whatever the sum is, which is not so where noise is
    added in floating point.

    Args:
        total: float64 tensor, the sum. Values beyond 2^52 steps are clamped.
        key: As for `gaussian_noise`; the noise is its float64 noise, times `stddev`.
        step: Positive float64 scalar, a power of two. `stddev / step` must be at most
            2^49, so that the noise is finer than the grid and all numbers are exact.
        stddev: Positive float64 scalar, the standard deviation of the noise.
        scale: Positive float64 scalar by which the noisy sum is multiplied.
        dtype: float32 or float64, or int64 for the number of steps, without `scale`.
        stream: As for `gaussian_noise`.

    Returns:
        Tensor shaped like `total`.

    Raises:
        ValueError: For a key, stream or dtype of the wrong kind.
        tf.errors.InvalidArgumentError: For a step, stddev or scale that is not positive
            and finite.

    Reference: I. Mironov, "On significance of the least significant bits for
    differential privacy", CCS 2012.
    """
    dtype = tf.as_dtype(dtype)
    if dtype not in (tf.float32, tf.float64, tf.int64):
        raise ValueError(
            f"noisy_sum returns float32, float64 or int64. Received: dtype={dtype.name}"
        )
    total = as_float64(total)
    key, stream = _checked_key(key), _checked_stream(stream)
    step, stddev, scale = (as_float64(s) for s in (step, stddev, scale))
    native = loader.native_ops()
    with tf.device("/device:CPU:0"):
        if native is None:
            noisy = noise_reference.noisy_sum(
                total, key, stream, step, stddev, scale, dtype
            )
        else:
            noisy = native.tfpriv_noisy_sum(
                sum=total,
                key=key,
                stream=stream,
                step=step,
                stddev=stddev,
                scale=scale,
                dtype=dtype,
                num_threads=tf.config.threading.get_intra_op_parallelism_threads(),
            )
    return tf.ensure_shape(noisy, total.shape)


def _static_shape(shape: tf.Tensor) -> tf.TensorShape:
    """What is known, before the graph runs, of the shape that a tensor will hold."""
    sizes = tf.get_static_value(shape)
    if sizes is not None:
        return tf.TensorShape(sizes)
    return tf.TensorShape(None if shape.shape[0] is None else [None] * shape.shape[0])


def _checked_dtype(dtype: Any) -> tf.DType:
    checked = tf.as_dtype(dtype)
    if checked not in DTYPES:
        raise ValueError(
            "gaussian_noise draws floating-point noise. Expected dtype to be one of "
            f"{[allowed.name for allowed in DTYPES]}. Received: dtype={dtype}"
        )
    return checked


def _checked_key(key: Any) -> tf.Tensor:
    key = tf.convert_to_tensor(key)
    if key.dtype != tf.uint8 or not key.shape.is_compatible_with((KEY_BYTES,)):
        raise ValueError(
            f"The key of gaussian_noise has {8 * KEY_BYTES} bits. Expected a uint8 "
            f"tensor of shape ({KEY_BYTES},). Received: key of dtype {key.dtype.name} "
            f"and shape {key.shape}"
        )
    return tf.ensure_shape(key, (KEY_BYTES,))  # where only the run knows it


def _checked_shape(shape: Any) -> tf.Tensor:
    if isinstance(shape, tf.TensorShape):
        shape = shape.as_list()
    checked = tf.convert_to_tensor(shape, dtype_hint=tf.int64)
    if not checked.dtype.is_integer or not checked.shape.is_compatible_with((None,)):
        raise ValueError(
            "gaussian_noise cannot use this shape. Expected a list of integers or an "
            f"integer vector. Received: shape={shape}"
        )
    return tf.cast(checked, tf.int64)


def _checked_stream(stream: Any) -> tf.Tensor:
    if tf.is_tensor(stream):
        valid = stream.dtype.is_integer and stream.shape.is_compatible_with(())
    else:
        valid = isinstance(stream, int) and 0 <= stream < 2**63
    if not valid:
        raise ValueError(
            "gaussian_noise numbers its streams from 0. Expected stream to be an "
            f"integer in [0, 2^63). Received: stream={stream}"
        )
    return tf.cast(stream, tf.int64)
