"""Trains a small latent diffusion inpainter, in one go or in several.

The embedded inpainter: `small_inpainter()` and the default `DiffusionRecipe`.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tfpriv.networks.diffusion import loading
from tfpriv.networks.diffusion.pipeline import StableDiffusionInpainter
from tfpriv.networks.diffusion.small import small_inpainter
from tfpriv.networks.diffusion.training import DiffusionRecipe, Trainer, random_masks
from tfpriv.support import images
from tfpriv.support.outputs import replaced_directory
from tfpriv.support.training import batches, mark_of, run

CHECKPOINT, SAMPLES, INPAINTER = "training.npz", "samples.png", "inpainter"
_SAMPLES = 4  # pictures on the sheet, three of each
_SAMPLE_STEPS = 20


def train_inpainter(
    data,
    folder: str | os.PathLike,
    inpainter: StableDiffusionInpainter | None = None,
    recipe: DiffusionRecipe | None = None,
    *,
    save_every: int = 500,
    progress: Callable[[int, int], None] | None = None,
) -> StableDiffusionInpainter:
    """Trains an inpainter, or goes on where the folder's checkpoint stands.

    A training that was interrupted and taken up again gives the weights that it would
    have given without: all that is drawn follows from the seed and the step's number.

    Args:
        data: Pictures: an array `(n, size, size, 3)`, uint8 or float of -1 to 1; or a
            `tf.data.Dataset` of single ones, endless, in the same order each time.
        folder: For the checkpoint, a sheet of samples, and at the end `inpainter/`, as
            `StableDiffusionInpainter.from_diffusers` reads it; created if need be.
        inpainter: Trained in place, without a text encoder; by default
            `small_inpainter()`.
        recipe: How; by default `DiffusionRecipe()`.
        save_every: Steps from one checkpoint to the next.
        progress: Called with `(steps done, steps)`.

    Returns:
        The inpainter with the average of its UNet over the last steps.

    Raises:
        FileExistsError: The folder holds other things than such a training's.
        ValueError: Pictures of another size; a text encoder; a checkpoint of another
            training; losses that are not finite.
    """
    recipe = recipe or DiffusionRecipe()
    inpainter = inpainter or small_inpainter(seed=recipe.seed)
    if inpainter.text_encoder is not None:
        raise ValueError(
            "Inpainters are trained without prompts. Received: one with a text encoder"
        )
    trainer, folder = Trainer(inpainter, recipe), Path(folder)
    _check_replaceable(folder / INPAINTER)
    size, count = inpainter.vae.config["sample_size"], recipe.batch_size
    run(
        trainer.step,
        lambda start: batches(data, size, count, recipe.seed, start),
        trainer.state,
        recipe.steps,
        checkpoint=folder / CHECKPOINT,
        owner=_owner(trainer, data),
        save_every=save_every,
        on_save=lambda done, loss, pictures: _draw_samples(
            trainer, pictures[:_SAMPLES], folder / SAMPLES, done, loss
        ),
        progress=progress,
    )
    with replaced_directory(folder / INPAINTER) as new:
        trainer.trained.save_diffusers(new)
        _check_replaceable(folder / INPAINTER)
    return trainer.trained


def _check_replaceable(path):
    """What an earlier run wrote may give way to more steps; nothing else may."""
    others = loading.others_below(path)
    if others or path.is_symlink():
        raise FileExistsError(
            "The trained inpainter's folder is replaced, and holds other things; move "
            f"them elsewhere. Received: {path} with {', '.join(others[:5]) or 'a link'}"
        )


def _owner(trainer, data):
    """What a checkpoint belongs to: recipe but for its end, networks and pictures."""
    recipe = dict(vars(trainer.recipe))
    del recipe["unet_steps"]
    networks = {"vae": trainer.vae.config, "unet": trainer.unet.config}
    scheduler = trainer.inpainter.scheduler.get_config()
    whose = {"recipe": recipe, "scheduler": scheduler, "data": mark_of(data)}
    return whose | networks


def _draw_samples(trainer, pictures, path, done, loss):
    """Pictures, what of them is seen, and what is painted."""
    originals = images.to_uint8(pictures)
    masks = random_masks(np.random.default_rng(0), len(originals), originals.shape[1])
    masked = np.where(masks[..., None], np.uint8(128), originals)
    if done <= trainer.recipe.vae_steps:
        painted = images.to_uint8(np.asarray(trainer.vae(pictures)))
    else:
        painted = trainer.trained(originals, masks, steps=_SAMPLE_STEPS)
    cells = [
        cell for row in zip(originals, masked, painted, strict=True) for cell in row
    ]
    sheet = images.contact_sheet(
        cells,
        [""] * len(cells),
        columns=3,
        cell=2 * originals.shape[1],
        title=f"step {done}: loss {loss:.3f}",
    )
    images.save(path, sheet)
