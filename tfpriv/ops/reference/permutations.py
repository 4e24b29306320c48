"""Permutations from a ChaCha20 stream, in plain TensorFlow.

This is the readable statement of what `cc/permutations.h` computes.

1. The key and a picture's 96-bit nonce start ChaCha20 with a 32-bit block counter from
   0. Its keystream is read as little-endian 64-bit integers w0, w1, w2, ...
2. Fisher-Yates from the identity: for i = size - 1, ..., 1, with s = size - 1 - i, the
   values at i and j change places, where j is w(2s) mod (i + 1). Where w(2s) is among
   the 2^64 mod (i + 1) largest integers, which would favour the lower places, j is
   w(2s+1) mod (i + 1): each step has its own two words, whatever the others drew.

Steps are not run one after the other, because TensorFlow would copy all values at each.
What ends up at i was at j before step i. It came there at the last earlier step that
put something at j, its step k > i being the smallest with j(k) = j, and was at k before
that; or, if there is none, it is j itself. Sorting the steps by j finds k; following
such links until there is none gives the value.

Reference: RFC 8439; Knuth, "Seminumerical algorithms", algorithm P; Shun et al.,
"Sequential random permutation, list contraction and tree contraction are highly
parallel", 2015.
"""

import tensorflow as tf

from tfpriv.ops.reference.chacha import BLOCKS_PER_CHUNK, chacha20_blocks

STEPS_PER_BLOCK = 4


def places(words: tf.Tensor, choices: tf.Tensor) -> tf.Tensor:
    """Draws one of several places from two words.

    Let R = 2^64 mod m. A place is drawn from the second word with probability R / 2^64,
    and is then R (m - R) / (2^64 m) from uniform in total variation: altogether at most
    4 m^2 / (27 * 2^128).

    Args:
        words: uint64 tensor of shape `(2, ...)`.
        choices: uint64 tensor of the shape behind the 2: m, the number of places.

    Returns:
        uint64 tensor of that shape: integers in [0, m).
    """
    first, second = words[0], words[1]
    largest, one = tf.constant(2**64 - 1, tf.uint64), tf.constant(1, tf.uint64)
    surplus = (largest % choices + one) % choices
    return tf.where(first > largest - surplus, second, first) % choices


def _block_places(key, nonces, size, blocks):
    """The places drawn in some blocks of the stream.

    Args:
        key: uint8 tensor of shape `(32,)`.
        nonces: uint32 tensor of shape `(3, n)`: each block's nonce.
        size: int64 scalar.
        blocks: int64 tensor of shape `(n,)`: each block's number in its stream.

    Returns:
        int64 tensor of shape `(n, 4)`, for the four steps of each block.
    """
    counter = tf.cast(blocks, tf.uint32)[None]
    words = chacha20_blocks(key, tf.concat([counter, nonces], axis=0))
    # (16, n) to the two 64-bit words of each step: (2, n, 4).
    words = tf.reshape(tf.transpose(words), (-1, STEPS_PER_BLOCK, 2, 2))
    words = tf.transpose(tf.bitcast(words, tf.uint64), (2, 0, 1))
    steps = STEPS_PER_BLOCK * blocks[:, None] + tf.range(4, dtype=tf.int64)
    choices = tf.cast(tf.maximum(size - steps, 1), tf.uint64)
    return tf.cast(places(words, choices), tf.int64)


def _all_places(key, nonces, size):
    """j(0) = 0, j(1), ..., j(size - 1) for each nonce: int64, (pictures, size)."""
    pictures = tf.shape(nonces, tf.int64)[0]
    blocks = tf.maximum(-(-(size - 1) // STEPS_PER_BLOCK), 1)
    total = pictures * blocks
    in_chunk = tf.clip_by_value(total, 1, BLOCKS_PER_CHUNK)
    words = tf.transpose(tf.bitcast(tf.reshape(nonces, (-1, 3, 4)), tf.uint32))
    words = tf.pad(words, [(0, 0), (0, 1)])  # for what a chunk has too much

    def chunk(first):
        block = tf.minimum(first + tf.range(in_chunk), total)
        chosen = tf.gather(words, block // blocks, axis=1)
        return _block_places(key, chosen, size, block % blocks)

    drawn = tf.map_fn(
        chunk,
        tf.range(0, tf.maximum(total, 1), in_chunk),  # map_fn wants an element
        fn_output_signature=tf.TensorSpec((None, STEPS_PER_BLOCK), tf.int64),
    )
    drawn = tf.reshape(drawn, (-1, STEPS_PER_BLOCK))[:total]
    drawn = tf.reshape(drawn, tf.stack([pictures, STEPS_PER_BLOCK * blocks]))
    drawn = tf.pad(drawn[:, : size - 1], [(0, 0), (0, 1)])
    return tf.reverse(drawn, axis=[1])


def _shuffle(j: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Runs the steps of Fisher-Yates, given their places (see above).

    Args:
        j: int64 tensor of shape `(pictures, size)`: j(0) = 0, j(1), ..., j(size - 1).
        size: int64 scalar.

    Returns:
        int64 tensor of that shape: the permutations.
    """
    i = tf.broadcast_to(tf.range(size), tf.shape(j))
    steps = tf.sort(j * size + i)  # by place, then by step

    def earlier_step(place, step):
        """The smallest k > step with j(k) = place, or -1."""
        found = tf.searchsorted(steps, place * size + step, "right", tf.int64)
        known = found < size
        found = tf.gather(steps, tf.minimum(found, size - 1), axis=1, batch_dims=1)
        return tf.where(known & (found // size == place), found % size, -1)

    def follow(links, places):
        return tf.gather(links, places, axis=1, batch_dims=1)

    link = earlier_step(i, i)
    value = tf.where(link < 0, i, link)
    _, value = tf.while_loop(
        lambda value, further: tf.reduce_any(value != further),
        lambda _, further: (further, follow(further, further)),
        (value, follow(value, value)),
    )
    source = earlier_step(j, i)
    return tf.where(source < 0, j, follow(value, tf.maximum(source, 0)))


@tf.function(
    input_signature=[
        tf.TensorSpec((32,), tf.uint8),
        tf.TensorSpec((None, 12), tf.uint8),
        tf.TensorSpec((), tf.int64),
    ],
    autograph=False,
)
def permutations(key: tf.Tensor, nonces: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """One permutation for each nonce; see `tfpriv.ops.permutations`.

    Args:
        key: uint8 tensor of shape `(32,)`.
        nonces: uint8 tensor of shape `(pictures, 12)`.
        size: int64 scalar.

    Returns:
        int32 tensor of shape `(pictures, size)`.

    Raises:
        tf.errors.InvalidArgumentError: for a size outside [1, 2^31).
    """
    message = "permutations: size must be in [1, 2^31)."
    checks = [
        tf.debugging.assert_positive(size, message),
        tf.debugging.assert_less(size, tf.constant(2**31, tf.int64), message),
    ]
    with tf.control_dependencies(checks):
        size = tf.identity(size)
    return tf.cast(_shuffle(_all_places(key, nonces, size), size), tf.int32)
