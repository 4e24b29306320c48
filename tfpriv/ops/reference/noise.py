"""Gaussian noise from a ChaCha20 stream, in plain TensorFlow.

This is the readable statement of what `cc/gaussian_noise.cc` computes, operation by
operation, so that both give the same bits wherever the machine's float64 arithmetic is
IEEE 754 without fused multiply-adds (TensorFlow on CPU: checked by the tests).

1. The key and the stream number start ChaCha20 with a 64-bit block counter from 0. Its
   keystream is read as little-endian 64-bit integers w0, w1, w2, ...
2. Each becomes a uniform of float64: u = (w + 1) / 2^64, rounded, in (0, 1].
3. Pairs (u, v) go through Box-Muller: sqrt(-2 ln u) * (cos 2 pi v, sin 2 pi v). The
   smallest u is 2^-64, so values reach 9.4 standard deviations.

No sum stands directly inside another sum: TensorFlow's graph optimizer would gather the
two in an order of its own, which rounds differently. A difference it leaves alone.

Reference: D. J. Bernstein, "ChaCha, a variant of Salsa20", 2008 (64-bit counter and
nonce); Box and Muller, 1958.
"""

import math

import tensorflow as tf

from tfpriv.ops.reference.chacha import BLOCKS_PER_CHUNK, chacha20_blocks

VALUES_PER_BLOCK = 8

# ln 2 in two parts: the first has trailing zeros, so that exponent * LN2_HIGH is exact.
LN2_HIGH = float.fromhex("0x1.62e42fefap-1")
LN2_LOW = float.fromhex("0x1.cf79abc9e3b39p-40")
SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
ONE_BITS = 0x3FF0000000000000
# ln((1 + s) / (1 - s)) = 2 s (1 + s^2 / 3 + s^4 / 5 + ...): |s| < 0.1716, so that the
# first term left out is below 2^-54 of the sum. Taylor's for sin and cos on |x| < pi/4.
LOG_TERMS = [1.0 / (2 * k + 1) for k in range(1, 11)]
SIN_TERMS = [(-1.0) ** k / math.factorial(2 * k + 1) for k in range(1, 9)]
COS_TERMS = [(-1.0) ** k / math.factorial(2 * k) for k in range(1, 9)]


def uniforms(low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """Makes float64 uniforms in (0, 1] of 64-bit integers.

    Args:
        low: uint32 tensor, the integers' lower halves.
        high: uint32 tensor of the same shape, their upper halves.

    Returns:
        float64 tensor of that shape: (integer + 1) / 2^64, rounded once.
    """
    low, high = tf.cast(low, tf.float64), tf.cast(high, tf.float64)
    return (high * 2.0**32 - (-1.0 - low)) * 2.0**-64


def _series(z: tf.Tensor, terms: list[float]) -> tf.Tensor:
    """terms[0] + terms[1] z + terms[2] z^2 + ... by Horner's rule."""
    total = tf.fill(tf.shape(z), tf.constant(terms[-1], tf.float64))
    for term in reversed(terms[:-1]):
        total = total * z + term
    return total


def _minus_log(u: tf.Tensor) -> tf.Tensor:
    """-ln u of float64 values in (0, 1], to about two units in the last place."""
    bits = tf.bitcast(u, tf.int64)
    exponent = tf.bitwise.right_shift(
        bits + (ONE_BITS - SQRT_HALF_BITS), tf.constant(52, tf.int64)
    )
    exponent = exponent - 1023
    # The mantissa lies in [sqrt(1/2), sqrt(2)), so that no digits cancel near u = 1.
    shifted = tf.bitwise.left_shift(exponent, tf.constant(52, tf.int64))
    mantissa = tf.bitcast(bits - shifted, tf.float64)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    z = s * s
    s = 2.0 * s
    halvings = tf.cast(-exponent, tf.float64)
    return halvings * LN2_HIGH - (
        (s + s * (z * _series(z, LOG_TERMS))) - halvings * LN2_LOW
    )


def _cos_sin_turns(v: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """cos(2 pi v) and sin(2 pi v) of float64 values in [0, 1]."""
    quarter = tf.round(v * 4.0)
    x = (v - quarter * 0.25) * (2.0 * math.pi)  # exact up to the product
    z = x * x
    sin = x + x * (z * _series(z, SIN_TERMS))
    cos = 1.0 + z * _series(z, COS_TERMS)
    quarter = tf.bitwise.bitwise_and(
        tf.cast(quarter, tf.int64), tf.constant(3, tf.int64)
    )
    swap = tf.equal(tf.bitwise.bitwise_and(quarter, tf.constant(1, tf.int64)), 1)
    cos, sin = tf.where(swap, sin, cos), tf.where(swap, cos, sin)
    cos = tf.where((quarter == 1) | (quarter == 2), -cos, cos)
    sin = tf.where(quarter >= 2, -sin, sin)
    return cos, sin


def box_muller(u: tf.Tensor, v: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Makes two independent standard normals of two independent uniforms.

    Args:
        u: float64 tensor, values in (0, 1].
        v: float64 tensor of the same shape, values in [0, 1].

    Returns:
        Two float64 tensors of that shape, finite for every such u and v.

    Reference: Box and Muller, "A note on the generation of random normal deviates",
    1958.
    """
    radius = tf.sqrt(2.0 * _minus_log(u))
    cos, sin = _cos_sin_turns(v)
    return radius * cos, radius * sin


def _chunk(key, stream, first_block, blocks):
    """The values of `blocks` blocks from `first_block` on: float64, (8 * blocks,)."""
    counter = tf.bitcast(first_block + tf.range(blocks), tf.uint32)  # (n, 2): low, high
    nonce = tf.broadcast_to(tf.bitcast(stream, tf.uint32)[:, None], (2, blocks))
    words = chacha20_blocks(key, tf.concat([tf.transpose(counter), nonce], axis=0))
    u = uniforms(words[0::2], words[1::2])  # (8, n)
    first, second = box_muller(u[0::2], u[1::2])  # (4, n) each
    return tf.reshape(tf.transpose(tf.stack([first, second]), (2, 1, 0)), (-1,))


@tf.function(
    input_signature=[
        tf.TensorSpec((32,), tf.uint8),
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((), tf.int64),
    ],
    autograph=False,
)
def gaussian_noise(key: tf.Tensor, shape: tf.Tensor, stream: tf.Tensor) -> tf.Tensor:
    """Standard normal noise; see `tfpriv.ops.gaussian_noise`.

    Args:
        key: uint8 tensor of shape (32,).
        shape: int64 vector, the shape of the result.
        stream: int64 scalar, not negative.

    Returns:
        float64 tensor of the given shape.

    Raises:
        tf.errors.InvalidArgumentError: for a negative stream, or a shape that is
            negative somewhere or has more than 2^40 values.
    """
    size = tf.reduce_prod(shape)
    real_size = tf.reduce_prod(tf.cast(shape, tf.float64))  # does not wrap around
    checks = [
        tf.debugging.assert_non_negative(
            shape, "gaussian_noise: shape must not be negative anywhere."
        ),
        tf.debugging.assert_less_equal(
            real_size,
            tf.constant(2.0**40, tf.float64),
            "gaussian_noise: shape must have at most 2^40 values.",
        ),
        tf.debugging.assert_non_negative(
            stream, "gaussian_noise: stream must not be negative."
        ),
    ]
    with tf.control_dependencies(checks):
        blocks = tf.maximum(-(-size // VALUES_PER_BLOCK), 1)  # map_fn wants an element
        in_chunk = tf.minimum(blocks, BLOCKS_PER_CHUNK)
    values = tf.map_fn(
        lambda first: _chunk(key, stream, first, in_chunk),
        tf.range(0, blocks, in_chunk),
        fn_output_signature=tf.float64,
    )
    return tf.reshape(tf.reshape(values, (-1,))[:size], shape)


# Beyond it, float64 no longer holds every whole number.
LARGEST_SUM = 2.0**52


def noisy_sum(
    total: tf.Tensor,
    key: tf.Tensor,
    stream: tf.Tensor,
    step: tf.Tensor,
    stddev: tf.Tensor,
    scale: tf.Tensor,
    dtype: tf.DType,
) -> tf.Tensor:
    """A sum and noise, added as whole numbers; see `tfpriv.ops.noisy_sum`.

    Args:
        total: float64 tensor.
        key: uint8 tensor of shape (32,).
        stream: int64 scalar, not negative.
        step: float64 scalar, a power of two.
        stddev: float64 scalar, positive.
        scale: float64 scalar, positive.
        dtype: float32, float64 or int64.

    Returns:
        Tensor of that dtype, shaped like `total`.

    Raises:
        tf.errors.InvalidArgumentError: For a scalar that is not positive and finite.
    """
    checks = [
        tf.debugging.Assert(
            (value > 0) & tf.math.is_finite(value),
            [f"noisy_sum: {name} must be finite and larger than 0. Received:", value],
        )
        for name, value in (("step", step), ("stddev", stddev), ("scale", scale))
    ]
    with tf.control_dependencies(checks):
        steps = total * (1.0 / step)
    steps = tf.clip_by_value(steps, -LARGEST_SUM, LARGEST_SUM)
    noise = gaussian_noise(key, tf.shape(total, tf.int64), stream) * (stddev / step)
    whole = tf.round(steps) + tf.round(noise)
    if dtype == tf.int64:
        return tf.cast(whole, dtype)
    return tf.cast(whole * (step * scale), dtype)
