"""Latents with the scores of their pictures, from which boundaries are trained."""

import os
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from tfpriv.faces import reader
from tfpriv.faces.looks import ATTRIBUTES
from tfpriv.support import checks, images
from tfpriv.support.files import read_csv
from tfpriv.support.outputs import atomic_file

LATENTS, SCORES, SHEET = "latents.npy", "scores.csv", "samples.png"
_SHOWN = 32  # pictures on the sheet
_AT_ONCE = 64


def sample_and_score(
    generator,
    model: keras.Model,
    output: str | os.PathLike,
    count: int,
    *,
    names: tuple[str, ...] | None = None,
    psi: float = 0.7,
    layers: int = 8,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Draws latents, lets a model score their pictures and writes both.

    `latents.npy` holds W, (count, latent_dim); `scores.csv` a line for each latent.

    Args:
        generator: a `StyleGAN`.
        model: scores pictures (n, size, size, 3), 0 to 255: a face reader, whose
            attributes are scored; or any that returns (n, columns).
        output: folder to write.
        count: number of latents.
        names: of a model's columns; needed unless it is a face reader.
        psi: truncation under which pictures are drawn.
        layers: that are truncated.
        seed: of the latents.
        progress: `None`, or a function called with `(done, total)`.

    Raises:
        ValueError: for a number out of range, a model of other pictures, or another
            number of names.
    """
    checks.whole("count", count)
    checks.whole("seed", seed, low=0)
    names, columns = _columns(model, names)
    z = np.random.default_rng(seed).normal(size=(count, generator.latent_dim))
    latents, rows, shown = [], [], []
    for first in range(0, count, _AT_ONCE):
        part = z[first : first + _AT_ONCE].astype(np.float32)
        w = np.asarray(generator.mapping(part))
        drawn = images.to_uint8(
            generator.generate(w, psi=psi, layers=layers, batch_size=_AT_ONCE)
        )
        shown += list(drawn[: _SHOWN - len(shown)])
        latents.append(w)
        rows.append(columns(model.predict(resized(drawn, model), verbose=0)))
        if progress:
            progress(first + len(w), count)
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / LATENTS) as file:
        np.save(file, np.concatenate(latents))
    write_scores(folder / SCORES, names, np.concatenate(rows))
    images.save(
        folder / SHEET, images.contact_sheet(shown, [""] * len(shown), columns=8)
    )


def resized(pictures: np.ndarray, model: keras.Model) -> np.ndarray:
    """Brings uint8 pictures to a model's size: float32, 0 to 255.

    Raises:
        ValueError: the model does not take pictures.
    """
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] != 3:
        raise ValueError(
            "The model must take pictures (n, height, width, 3). Received: a model of "
            f"input shape {shape}"
        )
    if None in shape[1:3] or shape[1:3] == pictures.shape[1:3]:
        return pictures.astype(np.float32)
    return np.asarray(
        keras.ops.image.resize(pictures.astype(np.float32), shape[1:3], antialias=True)
    )


def _columns(model, names):
    """Names of the columns, and a function that takes them from predictions."""
    count = outputs_of(model)
    if count is None:
        raise ValueError(
            "The model must return scores (n, columns). Received: "
            f"{type(model).__name__}, a model of another kind"
        )
    if names is None and count == len(reader.NUMBERS):
        chosen = tuple(ATTRIBUTES)
        return chosen, lambda read: np.stack(
            [reader.attribute(read, name) for name in chosen], 1
        )
    if names is None or len(names) != count:
        raise ValueError(
            f"The model's {count} columns must be named. Received: {names}"
        )
    return names, lambda read: read


def outputs_of(model: keras.Model) -> int | None:
    """How many numbers a model returns for a picture; None if it returns others."""
    shape = getattr(model, "output_shape", None)  # a class of its own may have none
    return shape[-1] if isinstance(shape, tuple) and len(shape) == 2 else None


def write_scores(path: str | os.PathLike, names: tuple[str, ...], scores) -> None:
    """Writes scores as a table with a line of names.

    Args:
        path: ends in .csv.
        names: of the columns.
        scores: (n, columns).
    """
    lines = [",".join(names), *(",".join(f"{x:.6g}" for x in row) for row in scores)]
    with atomic_file(path) as file:
        file.write(("\n".join(lines) + "\n").encode())


def read_scores(path: str | os.PathLike, attribute: str) -> np.ndarray:
    """Reads one column of a table of scores, or of labels.

    Args:
        path: .csv with a line of names; an empty field is a missing score.
        attribute: the column's name.

    Returns:
        float (n,), NaN where a score is missing.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the table has no such column, or holds something else than numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no such table. Received: {path}")
    with open(path, newline="", encoding="utf-8") as file:
        rows = [row for _, row in read_csv(file, path)]
    if not rows or attribute not in rows[0]:
        raise ValueError(
            f"The table has no column {attribute!r}. Received: {path} with "
            f"{', '.join(rows[0]) if rows else 'nothing'}"
        )
    column, scores = rows[0].index(attribute), []
    for number, row in enumerate(rows[1:], 2):
        try:
            field = row[column].strip()
            scores.append(float(field) if field else float("nan"))
        except (IndexError, ValueError) as error:
            raise ValueError(
                f"A score must be a number. Received: line {number} of {path}"
            ) from error
    return np.array(scores)
