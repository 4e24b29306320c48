"""Trains a small StyleGAN on pictures, in one go or in several.

The embedded generator: `small_generator()` and the default `Recipe`.
"""

import io
import itertools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfpriv import images
from tfpriv.accounting.serialization import write_atomically
from tfpriv.editing.stylegan.generator import StyleGAN, standard_channels
from tfpriv.editing.stylegan.loading import save_generator
from tfpriv.editing.stylegan.training import Recipe, Trainer
from tfpriv.files import read_arrays

CHECKPOINT, SAMPLES, GENERATOR = "training.npz", "samples.png", "generator.keras"
_SAMPLES = 16  # pictures on the sheet
_SMALL_CHANNELS = (128, 128, 64, 32, 16)  # at 4, 8, 16, 32 and 64 pixels
_LINE = "line"  # entry of the checkpoint that says whose it is


def small_generator(
    resolution: int = 64, latent_dim: int = 128, seed: int = 0
) -> StyleGAN:
    """A generator that two cores can train: 0.9 M weights for 64 pixels.

    Args:
        resolution: Pixels of a side, 8 to 64.
        latent_dim: Dimensions of z and w.
        seed: Of the initial weights.
    """
    keras.utils.set_random_seed(seed)
    levels = len(standard_channels(resolution))
    return StyleGAN(resolution, latent_dim, _SMALL_CHANNELS[:levels])


def train(
    data,
    folder: str | os.PathLike,
    generator: StyleGAN | None = None,
    recipe: Recipe | None = None,
    *,
    save_every: int = 500,
    progress: Callable[[int, int], None] | None = None,
) -> StyleGAN:
    """Trains a generator, or goes on where the folder's checkpoint stands.

    A training that was interrupted and taken up again gives the weights that it would
    have given without: latents, noise and the order of pictures follow from the seed.

    Args:
        data: Pictures: an array `(n, size, size, 3)`, uint8 or float of -1 to 1; or a
            `tf.data.Dataset` of single ones, endless, in the same order each time.
        folder: For the checkpoint, a sheet of samples, and at the end
            `generator.keras`; created if need be.
        generator: Trained in place; by default `small_generator()`.
        recipe: How; by default `Recipe()`.
        save_every: Steps from one checkpoint to the next.
        progress: Called with `(steps done, steps)`.

    Returns:
        The average of the generator over its last steps, which makes better pictures.

    Raises:
        ValueError: Pictures of another size; a checkpoint of another training; losses
            that are not finite.
    """
    recipe = recipe or Recipe()
    generator = generator or small_generator(seed=recipe.seed)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(generator, recipe)
    start = _resume(trainer, folder / CHECKPOINT)
    fed = batches(data, generator.resolution, recipe, start)
    for number in range(start, recipe.steps):
        losses = trainer.step(number, next(fed))
        if not np.isfinite(losses).all():
            raise ValueError(
                "Training diverged; try a lower learning rate or a higher `r1`. "
                f"Received: losses {losses} at step {number}"
            )
        done = number + 1
        if done % save_every == 0 or done == recipe.steps:
            _save(trainer, folder / CHECKPOINT, done)
            _draw_samples(trainer.average, folder / SAMPLES, done, losses)
        if progress:
            progress(done, recipe.steps)
    save_generator(trainer.average, folder / GENERATOR)
    return trainer.average


def batches(data, resolution, recipe, start) -> Iterator:
    """Batches from a step on.

    Args:
        data: As in `train`.
        resolution: Pixels that a side must have.
        recipe: Says how many pictures, and the order of an array's.
        start: Steps that are done already.

    Yields:
        float32 `(batch_size, resolution, resolution, 3)`, -1 to 1.
    """
    size = recipe.batch_size
    if isinstance(data, tf.data.Dataset):
        rest = data.skip(start * size).batch(size, drop_remainder=True)
        return (_checked(batch.numpy(), resolution) for batch in rest)
    _checked(data[:1], resolution)
    return _array_batches(data, recipe, start)


def _array_batches(pictures, recipe, start):
    """Every picture once in each pass, each pass in an order of its own."""
    size = recipe.batch_size
    per_pass = len(pictures) // size
    if not per_pass:
        raise ValueError(
            f"A batch has {size} pictures. Received: {len(pictures)} pictures in all"
        )
    first_pass, first_batch = divmod(start, per_pass)
    for number in itertools.count(first_pass):
        order = np.random.default_rng([recipe.seed, number]).permutation(len(pictures))
        for batch in range(first_batch, per_pass):
            rows = np.sort(order[batch * size : (batch + 1) * size])
            yield _scaled(pictures[rows])
        first_batch = 0


def _checked(pictures, resolution):
    if pictures.shape[1:] != (resolution, resolution, 3):
        raise ValueError(
            f"Expected pictures of shape (n, {resolution}, {resolution}, 3). "
            f"Received: shape={pictures.shape}"
        )
    return _scaled(pictures)


def _scaled(pictures):
    if pictures.dtype == np.uint8:
        return images.to_signed(pictures)
    return pictures.astype(np.float32)


def _save(trainer, path, done):
    """The whole state of the training in one file, whole or not at all."""
    arrays = {str(n): np.asarray(v) for n, v in enumerate(trainer.state)}
    stream = io.BytesIO()
    np.savez(stream, **{_LINE: _line(trainer, done)}, **arrays)
    write_atomically(path, stream.getvalue())


def _line(trainer, done):
    """What a checkpoint belongs to: the recipe but for its end, and the network."""
    recipe = dict(vars(trainer.recipe))
    del recipe["steps"]
    config = trainer.generator.get_config()
    config.pop("name")
    return json.dumps(
        {"done": done, "recipe": recipe, "generator": config}, default=str
    )


def _resume(trainer, path):
    """Takes up a checkpoint if there is one; returns the steps that are done."""
    if not path.is_file():
        return 0
    try:
        arrays = read_arrays(path)
        done = json.loads(arrays[_LINE].item())["done"]
        same = arrays.pop(_LINE).item() == _line(trainer, done)
        values = [arrays[str(number)] for number in range(len(trainer.state))]
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"The checkpoint is damaged. Received: {path} ({error})"
        ) from error
    if not same:
        raise ValueError(
            "The checkpoint is of a training with another recipe or network; choose "
            f"another folder. Received: {path}"
        )
    for variable, value in zip(trainer.state, values, strict=True):
        variable.assign(value)
    return done


def _draw_samples(generator, path, done, losses):
    random = np.random.default_rng(0)
    z = random.normal(size=(_SAMPLES, generator.latent_dim))
    pictures = images.to_values(generator.generate(z, "z", batch_size=_SAMPLES))
    title = "step {}: losses {:.3f} (discriminator), {:.3f}".format(done, *losses)
    sheet = images.contact_sheet(
        list(pictures), [""] * _SAMPLES, cell=2 * generator.resolution, title=title
    )
    images.save(path, sheet)
