"""The training loop: steps, batches from a seed, checkpoints, resuming.

A training that is interrupted and resumed gives the weights that it would have given
without: batches follow from a seed and the number of the step, and the state is one
file, written atomically.
"""

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfpriv.support import checks, images
from tfpriv.support.files import parse_json, read_arrays
from tfpriv.support.outputs import (
    atomic_file,
    check_holds_only,
    is_taken_up,
    remove_only,
)

_CHECKPOINT = "training.npz"  # of `run_model`
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


def run(
    step: Callable,
    batches: Callable[[int], Iterable],
    state: Sequence,
    steps: int,
    *,
    checkpoint: str | os.PathLike | None,
    owner: dict,
    save_every: int = 500,
    on_save: Callable | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Trains, or resumes from the checkpoint if there is one.

    Args:
        step: Function of the step's number, from 0, and its batch. It trains on the
            batch and returns the loss, or several losses.
        batches: Function of the first step's number that returns the batches from that
            step on.
        state: All variables that a next step depends on, in an order that never
            changes.
        steps: Number of steps.
        checkpoint: File of the state; its folder is created if needed. `None` keeps
            none.
        owner: What the checkpoint belongs to: recipe, networks and data.
        save_every: Steps between two checkpoints. The last step writes one, too.
        on_save: Called before each checkpoint is written, with the number of steps
            done, the losses and the batch of the last of them.
        progress: Called with `(steps done, steps)` after each step.

    Raises:
        FileExistsError: There is no checkpoint, but other files in its folder.
        ValueError: The checkpoint is damaged, or of another training; the losses are
            not finite.
    """
    checks.whole("save_every", save_every)
    start = 0
    if checkpoint is not None:
        start = restore_state(checkpoint, state, owner)
        Path(checkpoint).parent.mkdir(parents=True, exist_ok=True)
    fed = iter(batches(start))
    for number in range(start, steps):
        batch = next(fed)
        losses = step(number, batch)
        if not np.isfinite(losses).all():
            raise ValueError(
                "Training diverged; try a lower learning rate. Received: loss "
                f"{losses} at step {number}"
            )
        done = number + 1
        if checkpoint is not None and (done % save_every == 0 or done == steps):
            if on_save:
                on_save(done, losses, batch)
            save_state(checkpoint, state, owner, done)
        if progress:
            progress(done, steps)


def run_model(
    model: keras.Model,
    batches: Callable[[int], Iterable],
    steps: int,
    *,
    folder: str | os.PathLike | None,
    owner: dict,
    save_every: int = 500,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Trains a compiled model; its checkpoint is removed when the training is done.

    Args:
        model: Compiled model.
        batches: As for `run`; a batch is a pair of inputs and targets.
        steps: Number of steps.
        folder: Of the checkpoint; `None` keeps none.
        owner: As for `run`.
        save_every: As for `run`.
        progress: As for `run`.

    Raises:
        FileExistsError: There is no checkpoint in `folder`, but other files.
        ValueError: As for `run`.
    """
    model.optimizer.build(model.trainable_variables)
    run(
        lambda _, batch: model.train_on_batch(*batch),
        batches,
        [*model.variables, *model.optimizer.variables],
        steps,
        checkpoint=folder and Path(folder, _CHECKPOINT),
        owner=owner,
        save_every=save_every,
        progress=progress,
    )
    if folder is not None:
        remove_only(folder, [_CHECKPOINT])


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
    for rows in batches_of_rows(len(pictures), batch_size, seed, start):
        yield _scaled(pictures[rows])


def batches_of_rows(
    count: int, batch_size: int, seed: int, start: int
) -> Iterator[np.ndarray]:
    """Indices of batches from a step on; in each pass, every index at most once.

    Args:
        count: Number of examples.
        batch_size: Examples in a batch. Those that fill no batch are left out, other
            ones in each pass.
        seed: Of the order, a new one in each pass.
        start: Steps that are done already.

    Yields:
        int `(batch_size,)`, ascending.

    Raises:
        ValueError: There are fewer examples than a batch has.
    """
    per_pass = count // batch_size
    if not per_pass:
        raise ValueError(
            f"A batch has {batch_size} pictures. Received: {count} pictures in all"
        )
    first_pass, first_batch = divmod(start, per_pass)
    for number in itertools.count(first_pass):
        order = np.random.default_rng([seed, number]).permutation(count)
        for batch in range(first_batch, per_pass):
            yield np.sort(order[batch * batch_size : (batch + 1) * batch_size])
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
    with atomic_file(path, durable=True) as file:
        np.savez(file, **{_LINE: _line(owner, done)}, **arrays)


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
