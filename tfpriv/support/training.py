"""What trainings share: batches of pictures from any step on, their state in a file.

A training that is interrupted and taken up again must come to the same weights: the
order of the pictures follows from a seed, and the state is one file, whole or not at
all.
"""

import hashlib
import io
import itertools
import json
import os
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from tfpriv.support import images
from tfpriv.support.files import (
    check_holds_only,
    parse_json,
    read_arrays,
    remove_only,
    write_atomically,
)
from tfpriv.support.settings import is_taken_up

_LINE = "line"  # entry of the state that says whose it is
_BACKUP = ("latest.weights.h5", "training_metadata.json")


class Backup(keras.callbacks.BackupAndRestore):
    """`keras.callbacks.BackupAndRestore` that removes nothing but its own files.

    Args:
        folder: Of its own for one training; the state is kept in it after each epoch.

    Raises:
        FileExistsError: Other things are in the folder.
    """

    def __init__(self, folder: str | os.PathLike):
        check_holds_only(folder, _BACKUP)
        super().__init__(os.fspath(folder), "epoch")

    def on_train_end(self, logs=None):
        remove_only(self.backup_dir, _BACKUP)


def batches(data, size: int, batch_size: int, seed: int, start: int) -> Iterator:
    """Batches of pictures from a step on; every picture once in each pass.

    Args:
        data: Pictures: an array `(n, size, size, 3)`, uint8 or float of -1 to 1; or a
            `tf.data.Dataset` of single ones, endless, in the same order each time.
        size: Pixels that a side must have.
        batch_size: Pictures in a batch.
        seed: Of the order of an array's pictures, a new one in each pass.
        start: Steps that are done already.

    Yields:
        float32 `(batch_size, size, size, 3)`, -1 to 1.

    Raises:
        ValueError: Pictures of another size, or fewer than a batch.
    """
    if isinstance(data, tf.data.Dataset):
        rest = data.skip(start * batch_size).batch(batch_size, drop_remainder=True)
        return (_checked(batch.numpy(), size) for batch in rest)
    _checked(data[:1], size)
    return _array_batches(data, batch_size, seed, start)


def _array_batches(pictures, batch_size, seed, start):
    per_pass = len(pictures) // batch_size
    if not per_pass:
        raise ValueError(
            f"A batch has {batch_size} pictures. Received: {len(pictures)} pictures in "
            "all"
        )
    first_pass, first_batch = divmod(start, per_pass)
    for number in itertools.count(first_pass):
        order = np.random.default_rng([seed, number]).permutation(len(pictures))
        for batch in range(first_batch, per_pass):
            rows = np.sort(order[batch * batch_size : (batch + 1) * batch_size])
            yield _scaled(pictures[rows])
        first_batch = 0


def _checked(pictures, size):
    if pictures.shape[1:] != (size, size, 3):
        raise ValueError(
            f"Expected pictures of shape (n, {size}, {size}, 3). Received: "
            f"shape={pictures.shape}"
        )
    return _scaled(pictures)


def _scaled(pictures):
    if pictures.dtype == np.uint8:
        return images.to_signed(pictures)
    return pictures.astype(np.float32)


def mark_of(data) -> str:
    """Tells data sets apart, by their first picture and, of an array, their number.

    Args:
        data: As for `batches`.
    """
    if isinstance(data, tf.data.Dataset):
        first, count = next(iter(data.take(1))).numpy(), None
    else:
        first, count = np.asarray(data[0]), len(data)
    digest = hashlib.sha256(np.ascontiguousarray(first).tobytes()).hexdigest()
    return f"{count} pictures, {first.shape}, {digest}"


def save_state(
    path: str | os.PathLike, variables: Sequence, owner: dict, done: int
) -> None:
    """Writes the whole state of a training into one file, whole or not at all.

    Args:
        path: Where to.
        variables: All that a next step depends on, in an order that never changes.
        owner: What the state belongs to: recipe and networks.
        done: Steps that are done.
    """
    arrays = {str(n): np.asarray(v) for n, v in enumerate(variables)}
    stream = io.BytesIO()
    np.savez(stream, **{_LINE: _line(owner, done)}, **arrays)
    write_atomically(path, stream.getvalue())


def restore_state(path: str | os.PathLike, variables: Sequence, owner: dict) -> int:
    """Takes up the state of a training, if there is one.

    Args:
        path: What `save_state` wrote; or where there is nothing yet.
        variables: As in `save_state`; they get their values.
        owner: As in `save_state`.

    Returns:
        Steps that are done.

    Raises:
        FileExistsError: There is none, but other files, which might be replaced.
        ValueError: The file is damaged, or of another training.
    """
    if not is_taken_up(path):
        return 0
    try:
        arrays = read_arrays(path)
        done = parse_json(arrays[_LINE].item())["done"]
        same = arrays.pop(_LINE).item() == _line(owner, done)
        values = [arrays[str(number)] for number in range(len(variables))]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"The checkpoint is damaged. Received: {path} ({error})"
        ) from error
    if not same:
        raise ValueError(
            "The checkpoint is of a training with another recipe, network or data; "
            f"choose another folder. Received: {path}"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return done


def _line(owner, done):
    return json.dumps({"done": done} | owner, default=str)
