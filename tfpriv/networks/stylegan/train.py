"""Trains a small StyleGAN on pictures, in one go or in several.

The embedded generator: `small_generator()` and the default `StyleGANRecipe`.
"""

import os
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from tfpriv.networks.stylegan.generator import StyleGAN, standard_channels
from tfpriv.networks.stylegan.loading import save_generator
from tfpriv.networks.stylegan.training import StyleGANRecipe, Trainer
from tfpriv.support import images
from tfpriv.support.training import batches, mark_of, run

CHECKPOINT, SAMPLES, GENERATOR = "training.npz", "samples.png", "generator.keras"
_SAMPLES = 16  # pictures on the sheet
_SMALL_CHANNELS = (128, 128, 64, 32, 16)  # at 4, 8, 16, 32 and 64 pixels


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
    recipe: StyleGANRecipe | None = None,
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
        recipe: How; by default `StyleGANRecipe()`.
        save_every: Steps from one checkpoint to the next.
        progress: Called with `(steps done, steps)`.

    Returns:
        The average of the generator over its last steps, which makes better pictures.

    Raises:
        ValueError: Pictures of another size; a checkpoint of another training; losses
            that are not finite.
    """
    recipe = recipe or StyleGANRecipe()
    generator = generator or small_generator(seed=recipe.seed)
    trainer, folder = Trainer(generator, recipe), Path(folder)
    size, count, seed = generator.resolution, recipe.batch_size, recipe.seed
    run(
        trainer.step,
        lambda start: batches(data, size, count, seed, start),
        trainer.state,
        recipe.steps,
        checkpoint=folder / CHECKPOINT,
        owner=_owner(trainer, data),
        save_every=save_every,
        on_save=lambda done, losses, _: _draw_samples(
            trainer.average, folder / SAMPLES, done, losses
        ),
        progress=progress,
    )
    save_generator(trainer.average, folder / GENERATOR)
    return trainer.average


def _owner(trainer, data):
    """What a checkpoint belongs to: recipe but for its end, network and pictures."""
    recipe = dict(vars(trainer.recipe))
    del recipe["steps"]
    config = trainer.generator.get_config()
    config.pop("name")
    return {"recipe": recipe, "generator": config, "data": mark_of(data)}


def _draw_samples(generator, path, done, losses):
    random = np.random.default_rng(0)
    z = random.normal(size=(_SAMPLES, generator.latent_dim))
    pictures = images.to_values(generator.generate(z, "z", batch_size=_SAMPLES))
    title = "step {}: losses {:.3f} (discriminator), {:.3f}".format(done, *losses)
    sheet = images.contact_sheet(
        list(pictures), [""] * _SAMPLES, cell=2 * generator.resolution, title=title
    )
    images.save(path, sheet)
