"""Secret permutations: drawn from a key, inverted, and applied to pictures."""

from typing import Any

import tensorflow as tf

from tfpriv.ops import loader
from tfpriv.ops.reference import permutations as permutations_reference

KEY_BYTES = 32
NONCE_BYTES = 12
MAX_SIZE = 2**31 - 1


def permutations(key: Any, nonces: Any, size: Any) -> tf.Tensor:
    """Draws permutations that are a function of a key, a nonce and the size.

    Unbiased Fisher-Yates shuffles from ChaCha20 streams: without the key they cannot be
    told from uniform ones by anyone who could not break that cipher. Were its words
    truly random, a permutation would be within (4 / 81) (size + 1/2)^3 / 2^128 of
    uniform in total variation: 2^-102 for 32x32 places, 2^-66 for 2048x2048.

    Args:
        key: uint8 tensor of shape `(32,)`.
        nonces: uint8 tensor of shape `(pictures, 12)`. Equal nonces give equal
            permutations.
        size: integer or scalar integer tensor in [1, 2^31).

    Returns:
        int32 tensor of shape `(pictures, size)`, each row a permutation of
        0 ... size - 1. The native op and the pure-TensorFlow twin give the same ones.

    Raises:
        ValueError: for a key, nonces or a size of the wrong kind.
        tf.errors.InvalidArgumentError: for a size out of range that is known only
            when the graph runs.

    Reference: RFC 8439 (ChaCha20); Knuth, "Seminumerical algorithms", algorithm P.
    """
    key = _checked_bytes("key", key, (KEY_BYTES,))
    nonces = _checked_bytes("nonces", nonces, (None, NONCE_BYTES))
    size = _checked_size(size)
    native = loader.native_ops()
    with tf.device("/device:CPU:0"):
        if native is None:
            result = permutations_reference.permutations(key, nonces, size)
        else:
            result = native.tfpriv_permutations(
                key=key,
                nonces=nonces,
                size=size,
                num_threads=tf.config.threading.get_intra_op_parallelism_threads(),
            )
    return tf.ensure_shape(result, [nonces.shape[0], tf.get_static_value(size)])


def _checked_bytes(name, value, shape):
    value = tf.convert_to_tensor(value)
    if value.dtype != tf.uint8 or not value.shape.is_compatible_with(shape):
        raise ValueError(
            f"permutations cannot use these {name}. Expected a uint8 tensor of shape "
            f"{shape}. Received: {name} of dtype {value.dtype.name} and shape "
            f"{value.shape}"
        )
    return tf.ensure_shape(value, shape)  # where only the run knows it


def _checked_size(size):
    if tf.is_tensor(size):
        valid = size.dtype.is_integer and size.shape.is_compatible_with(())
    else:
        valid = isinstance(size, int) and 1 <= size <= MAX_SIZE
    if not valid:
        raise ValueError(
            "permutations needs the number of places. Expected size to be an integer "
            f"in [1, 2^31). Received: size={size}"
        )
    return tf.cast(size, tf.int64)


def invert_permutations(permutations: Any) -> tf.Tensor:
    """Inverts permutations: `result[b, permutations[b, q]] = q`.

    Args:
        permutations: int32 tensor of shape `(pictures, size)`, each row a permutation
            of 0 ... size - 1.

    Returns:
        int32 tensor of that shape.

    Raises:
        tf.errors.InvalidArgumentError: for a row with a value that is missing.
    """
    permutations = tf.convert_to_tensor(permutations, tf.int32)
    shape = tf.shape(permutations, tf.int64)
    # As one permutation of all rows' places, which TensorFlow inverts in one pass.
    first = tf.range(shape[0])[:, None] * shape[1]
    together = tf.reshape(tf.cast(permutations, tf.int64) + first, (-1,))
    inverse = tf.reshape(tf.math.invert_permutation(together), shape) - first
    return tf.ensure_shape(tf.cast(inverse, tf.int32), permutations.shape)


def permute(x: Any, permutations: Any) -> tf.Tensor:
    """Reads the places of pictures or features in another order.

    `result[n, q] = x[n, permutations[n, q]]`, with the places of a plane in row-major
    order, the same for all channels. The gradient is the inverse gather, never a
    scatter.

    Args:
        x: tensor of shape `(n, places, channels)` or `(n, height, width, channels)`.
        permutations: int32 tensor of shape `(n, places)`, or `(1, places)` for one
            permutation of all.

    Returns:
        Tensor of x's shape and dtype.

    Raises:
        ValueError: for other numbers of axes, or sizes that do not fit.
        tf.errors.InvalidArgumentError: for a place that x does not have, or sizes that
            do not fit and are known only when the graph runs.
    """
    x, permutations = tf.convert_to_tensor(x), tf.convert_to_tensor(permutations)
    permutations = _checked_fit(x, permutations)
    if x.shape.rank == 3:
        return _gather_places(x, permutations)
    shape = tf.shape(x)
    flat = tf.reshape(x, tf.stack([shape[0], shape[1] * shape[2], shape[3]]))
    result = tf.reshape(_gather_places(flat, permutations), shape)
    return tf.ensure_shape(result, x.shape)


def _checked_fit(x, permutations):
    places, rows = None, None
    if x.shape.rank in (3, 4):
        places = tf.TensorShape(x.shape[1:-1]).num_elements()
    if permutations.shape.rank == 2:
        rows = permutations.shape[0]
    if not (
        x.shape.rank in (3, 4)
        and permutations.dtype == tf.int32
        and permutations.shape.is_compatible_with((None, places))
        and (rows in (None, 1) or x.shape[0] in (None, rows))
    ):
        raise ValueError(
            "permute needs as many places in the permutations as in the pictures. "
            "Expected x of shape (n, places, channels) or (n, height, width, channels) "
            "and int32 permutations of shape (n, places) or (1, places). Received: x "
            f"of shape {x.shape}, permutations of dtype {permutations.dtype.name} and "
            f"shape {permutations.shape}"
        )
    return tf.ensure_shape(permutations, (None, places))


def _gather_places(x, permutations):
    """x (n, places, channels) at permutations (n or 1, places)."""
    if loader.portable():  # for inference, and to be loaded without a warning
        return _gathered(x, permutations)
    return _gathered_both_ways(x, permutations)


@tf.custom_gradient
def _gathered_both_ways(x, permutations):
    def gradient(upstream):
        return _gather_places(upstream, invert_permutations(permutations)), None

    return _gathered(x, permutations), gradient


def _gathered(x, permutations):
    if permutations.shape[0] == 1:
        return tf.gather(x, permutations[0], axis=1)
    rows = tf.broadcast_to(permutations, tf.shape(x)[:2])  # one row may serve all
    return tf.gather(x, rows, axis=1, batch_dims=1)
