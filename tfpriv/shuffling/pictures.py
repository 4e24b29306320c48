"""Pictures in memory: shuffled with a key, and put in order again."""

import math
import os
from typing import Any

import numpy as np
import tensorflow as tf

from tfpriv import ops
from tfpriv.ops.permutations import NONCE_BYTES
from tfpriv.shuffling.keys import Key
from tfpriv.shuffling.purposes import FIXED, PER_PICTURE, picture_purpose

_PLACES_AT_ONCE = 1 << 22  # of permutations that are held in memory together


def new_nonces(count: Any) -> Any:
    """Draws nonces, one for each image, from the operating system's generator.

    A nonce is no secret: it is stored with its image. It must not be used twice with
    a key, or two images share a permutation. Of n nonces two are equal with
    probability below n^2 / 2^97.

    In a graph (`tf.function`, `tf.data.Dataset.map`) they are drawn anew each time that
    the graph runs, by Python: a SavedModel with such a graph fails in another process.

    Args:
        count: Number of images, an integer or scalar integer tensor.

    Returns:
        uint8 of shape `(count, 12)`: an array; in a graph, a tensor.
    """
    if tf.executing_eagerly():
        return _drawn_nonces(int(count))
    nonces = tf.numpy_function(_drawn_nonces, [count], tf.uint8, stateful=True)
    return tf.ensure_shape(nonces, (tf.get_static_value(count), NONCE_BYTES))


def _drawn_nonces(count):
    drawn = np.frombuffer(os.urandom(int(count) * NONCE_BYTES), np.uint8)
    return drawn.reshape(-1, NONCE_BYTES)


def shuffle(images: Any, key: Key, nonce: Any = None) -> Any:
    """Moves the pixels of images to secret places.

    `shuffled[n, q] = images[n, permutation[q]]`, with places in row-major order and all
    channels of a pixel together. What is left to see is which colours there are, and
    how often.

    Without nonces all images of a size share one permutation: the mode of the
    original prototype, which falls to anyone who knows one image and its shuffled form.

    In a graph the key is asked for at run time and never becomes a part of the graph:
    one that is exported cannot shuffle elsewhere.

    Args:
        images: Array or tensor of shape `(height, width, channels)` or `(n, height,
            width, channels)`, any dtype; height and width must be known.
        key: The secret key.
        nonce: `None` (one permutation for all), 12 bytes for one image, or uint8
            `(n, 12)`: a fresh nonce for each image, see `new_nonces`. The key
            remembers which image a nonce was used for.

    Returns:
        Images of the same shape and dtype: arrays of arrays, tensors of tensors.

    Raises:
        TypeError: `key` is not a `Key`.
        ValueError: Wrong shapes; or a nonce that comes twice, or was used with this
            `Key` object before, for another image of this shape and dtype.
        tf.errors.InvalidArgumentError: Such a nonce in a graph, when it runs.
    """
    return _moved(images, key, nonce, back=False)


def unshuffle(images: Any, key: Key, nonce: Any = None) -> Any:
    """Puts shuffled images in order again: the inverse of `shuffle`.

    With a wrong key, or another nonce, the result is another disorder.

    Args:
        images: What `shuffle` returned.
        key: The key that they were shuffled with.
        nonce: The nonces that they were shuffled with; `None` if without.

    Returns:
        Images of the same shape and dtype: arrays of arrays, tensors of tensors.

    Raises:
        TypeError: `key` is not a `Key`.
        ValueError: Wrong shapes.
    """
    return _moved(images, key, nonce, back=True)


def _moved(images, key, nonce, *, back):
    if not isinstance(key, Key):
        raise TypeError(
            "`key` must be a tfpriv.shuffling.Key: `Key.generate()` or "
            f"`Key.load(path)`. Received: {type(key).__name__}"
        )
    if not tf.is_tensor(images):
        symbolic = tf.is_tensor(nonce) and not tf.executing_eagerly()
        images = (tf.convert_to_tensor if symbolic else np.asarray)(images)
    shape = tf.TensorShape(images.shape)
    rank = shape.rank
    if rank not in (3, 4) or any(not side for side in shape[-3:-1]):
        raise ValueError(
            "Pictures must have the shape (height, width, channels) or (n, height, "
            "width, channels), with known height and width of at least 1. Received: "
            f"shape={images.shape}"
        )
    batch = images if rank == 4 else images[None]
    move = _move_tensor if tf.is_tensor(images) else _move_array
    moved = move(batch, key, _as_rows(nonce, rank), back)
    return moved if rank == 4 else moved[0]


def _as_rows(nonce, rank):
    """Nonces as uint8 rows of an array or tensor, or `None` where there are none."""
    if nonce is None:
        return None
    if isinstance(nonce, bytes):
        nonce = np.frombuffer(nonce, np.uint8)
    elif not tf.is_tensor(nonce):
        nonce = np.asarray(nonce)
    wanted = (NONCE_BYTES,) if rank == 3 else (None, NONCE_BYTES)
    if nonce.dtype != np.uint8 or not tf.TensorShape(nonce.shape).is_compatible_with(
        wanted
    ):
        raise ValueError(
            f"One picture has a nonce of {NONCE_BYTES} bytes, n pictures have a uint8 "
            f"array of shape (n, {NONCE_BYTES}): `new_nonces(n)`. Received: nonce of "
            f"dtype {getattr(nonce.dtype, 'name', nonce.dtype)} and shape {nonce.shape}"
        )
    return nonce if rank == 4 else nonce[None]


def _check_count(nonces, count):
    rows = None if nonces is None else nonces.shape[0]
    if None not in (rows, count) and rows != count:
        raise ValueError(
            f"Every picture has its own nonce. Received: {rows} nonces for {count} "
            "pictures"
        )


def _claimed(key: Key, images, nonces):
    """The nonces, once it is certain that none is another image's."""
    kind = (*images.shape[1:], images.dtype.name)

    def claim(given, prints):
        key.used_nonces.claim(kind, *([bytes(x) for x in a] for a in (given, prints)))
        return given

    if not tf.is_tensor(images):
        images = np.ascontiguousarray(images)
        images = images.reshape(len(images), math.prod(images.shape[1:]))
        images = images.view(np.uint8)  # dtypes that TensorFlow lacks, too
    with tf.device("/device:CPU:0"):
        prints = tf.fingerprint(images)
    if tf.executing_eagerly():
        return claim(np.asarray(nonces), prints.numpy())
    claimed = tf.numpy_function(claim, [nonces, prints], tf.uint8, stateful=True)
    return tf.ensure_shape(claimed, nonces.shape)


def _permutations(key: Key, shape, nonces) -> tf.Tensor:
    """The permutations of pictures of a shape (..., h, w, c): `(n or 1, h * w)`."""
    height, width = shape[-3:-1]
    mode = FIXED if nonces is None else PER_PICTURE
    purpose = picture_purpose(height, width, mode)
    if nonces is None:
        nonces = np.zeros((1, NONCE_BYTES), np.uint8)
    if tf.executing_eagerly():
        secret = np.frombuffer(key.derive(purpose), np.uint8)
    else:
        # A constant would be written into whatever the graph is exported to.
        secret = tf.numpy_function(
            lambda: np.frombuffer(key.derive(purpose), np.uint8), [], tf.uint8
        )
    return ops.permutations(secret, nonces, height * width)


def _move_array(images, key, nonces, back):
    if nonces is not None:
        nonces = np.asarray(nonces)
        _check_count(nonces, len(images))
        if not back:
            with tf.init_scope():  # arrays are moved at once, in a trace too
                nonces = _claimed(key, images, nonces)
    count, height, width, channels = images.shape
    places = height * width
    flat = images.reshape(count, places, channels)
    moved = np.empty_like(flat)
    at_once = count if nonces is None else max(1, _PLACES_AT_ONCE // places)
    for first in range(0, count, max(1, at_once)):
        part = slice(first, first + at_once)
        of_part = None if nonces is None else nonces[part]
        with tf.init_scope():
            rows = _permutations(key, images.shape, of_part).numpy()
        _move_rows(flat[part], rows, moved[part], back)
    return moved.reshape(images.shape)


def _move_rows(pictures, rows, moved, back):
    """Writes pictures `(n, places, channels)`, permuted, to an array of that shape."""
    rows = np.broadcast_to(rows, pictures.shape[:2])
    for picture, row, out in zip(pictures, rows, moved, strict=True):
        if back:
            out[row] = picture
        else:
            np.take(picture, row, axis=0, out=out, mode="clip")


def _move_tensor(images, key, nonces, back):
    _check_count(nonces, images.shape[0])
    if nonces is not None and not back:
        nonces = _claimed(key, images, nonces)
    rows = _permutations(key, images.shape, nonces)
    return ops.permute(images, ops.invert_permutations(rows) if back else rows)
