"""Training the reader on faces that nobody has to label."""

import dataclasses
import os
from collections.abc import Callable

import keras
import numpy as np

from tfpriv.faces.drawing import draw
from tfpriv.faces.looks import Faces, sample
from tfpriv.faces.reader import (
    ATTRIBUTES,
    NUMBERS,
    SIZE,
    reader,
    truth,
    without_optimizer,
)
from tfpriv.support.recipe import TrainingRecipe
from tfpriv.support.training import batches_of_rows, run_model

TEST_PEOPLE = 1000
_FIRST_TEST_PERSON = 10_000_000  # nobody who is trained on


@dataclasses.dataclass(frozen=True)
class ReaderRecipe(TrainingRecipe):
    """How a reader is trained; `train_reader` documents the fields."""

    people: int
    epochs: int
    batch_size: int
    seed: int


def train_reader(
    people: int = 20_000,
    *,
    epochs: int = 12,
    batch_size: int = 128,
    seed: int = 0,
    folder: str | os.PathLike | None = None,
    save_every: int = 500,
    progress: Callable[[int, int], None] | None = None,
) -> keras.Model:
    """Trains a reader on one picture of each of many persons.

    Args:
        people: number of persons, at least 1.
        epochs: passes over them.
        batch_size: pictures in a step. Those that fill no batch are left out, other
            ones in each pass.
        seed: of the faces, the weights and the order.
        folder: where the state is kept while it trains: a call with the same arguments
            goes on from there.
        save_every: steps from one checkpoint to the next.
        progress: called with `(steps done, steps)`.

    Returns:
        The reader.

    Raises:
        FileExistsError: other things are in `folder`.
        ValueError: for a number out of range, a checkpoint of another training, or
            losses that are not finite.
    """
    recipe = ReaderRecipe(people, epochs, batch_size, seed)
    keras.utils.set_random_seed(seed)
    faces = sample(people, seed=seed)
    model, in_batch = reader(), min(batch_size, people)
    steps = epochs * (people // in_batch)
    rate = keras.optimizers.schedules.CosineDecay(1e-3, steps)
    model.compile(keras.optimizers.Adam(rate), loss="mse")

    def batches(start):
        pictures, numbers = draw(faces, SIZE).astype(np.float32), truth(faces)
        for rows in batches_of_rows(people, in_batch, seed, start):
            yield pictures[rows], numbers[rows]

    run_model(
        model,
        batches,
        steps,
        folder=folder,
        owner=dict(vars(recipe)),
        save_every=save_every,
        progress=progress,
    )
    return without_optimizer(model)


def faces_for_testing(people: int = TEST_PEOPLE, *, seed: int = 0) -> Faces:
    """One face of each of persons that no reader was trained on."""
    return sample(people, seed=seed, first=_FIRST_TEST_PERSON)


def figures(model: keras.Model, faces: Faces) -> dict[str, float]:
    """How well a reader reads faces.

    Args:
        model: the reader.
        faces: what it was not trained on.

    Returns:
        For each of `NUMBERS` the share of its variance that is read, at most 1; and
        `accuracy of NAME` for each attribute: how often it is told on which side of the
        middle of its range the attribute is.
    """
    pictures = draw(faces, SIZE).astype(np.float32)
    read, true = model.predict(pictures, verbose=0), truth(faces)
    explained = 1 - np.mean((read - true) ** 2, 0) / np.var(true, 0)
    result = dict(zip(NUMBERS, explained.tolist(), strict=True))
    for name in ATTRIBUTES:
        column = NUMBERS.index(name)
        same = (read[:, column] > 0) == (true[:, column] > 0)
        result[f"accuracy of {name}"] = float(same.mean())
    return result
