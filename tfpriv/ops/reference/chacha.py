"""The ChaCha20 block function in plain TensorFlow; `cc/chacha.h` is the native one."""

import tensorflow as tf

# "expand 32-byte k" as four little-endian words.
CONSTANTS = (0x61707865, 0x3320646E, 0x79622D32, 0x6B206574)
# Small enough for a chunk's sixteen words to stay in the second-level cache.
BLOCKS_PER_CHUNK = 8192


def _rotate_left(x: tf.Tensor, bits: int) -> tf.Tensor:
    left = tf.bitwise.left_shift(x, tf.constant(bits, tf.uint32))
    right = tf.bitwise.right_shift(x, tf.constant(32 - bits, tf.uint32))
    return tf.bitwise.bitwise_or(left, right)


def _quarter_rounds(a, b, c, d):
    """ChaCha's quarter round on four columns at once; each argument is (4, n)."""
    a = a + b
    d = _rotate_left(tf.bitwise.bitwise_xor(d, a), 16)
    c = c + d
    b = _rotate_left(tf.bitwise.bitwise_xor(b, c), 12)
    a = a + b
    d = _rotate_left(tf.bitwise.bitwise_xor(d, a), 8)
    c = c + d
    b = _rotate_left(tf.bitwise.bitwise_xor(b, c), 7)
    return a, b, c, d


def _turn(rows: tf.Tensor, places: int) -> tf.Tensor:
    """Moves row i to row i - places (mod 4)."""
    return tf.concat([rows[places:], rows[:places]], axis=0)


def chacha20_blocks(key: tf.Tensor, counter_and_nonce: tf.Tensor) -> tf.Tensor:
    """The ChaCha20 block function.

    Args:
        key: uint8 tensor of shape (32,).
        counter_and_nonce: uint32 tensor of shape (4, n): the last row of the state of
            each block (RFC 8439: counter and nonce; here: 64-bit counter and stream).

    Returns:
        uint32 tensor of shape (16, n): the words of n blocks.

    Reference: RFC 8439, section 2.3.
    """
    d0 = counter_and_nonce
    rows = [
        tf.constant(CONSTANTS, tf.uint32),
        *tf.unstack(tf.reshape(tf.bitcast(tf.reshape(key, (8, 4)), tf.uint32), (2, 4))),
    ]
    a0, b0, c0 = (tf.broadcast_to(row[:, None], tf.shape(d0)) for row in rows)

    def double_round(i, a, b, c, d):
        a, b, c, d = _quarter_rounds(a, b, c, d)
        a, b, c, d = _quarter_rounds(a, _turn(b, 1), _turn(c, 2), _turn(d, 3))
        return i + 1, a, _turn(b, 3), _turn(c, 2), _turn(d, 1)

    _, a, b, c, d = tf.while_loop(
        lambda i, *_: i < 10, double_round, (0, a0, b0, c0, d0), parallel_iterations=1
    )
    return tf.concat([a + a0, b + b0, c + c0, d + d0], axis=0)
