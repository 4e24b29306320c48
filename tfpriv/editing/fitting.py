"""Fits a generator to drawn faces, whose pictures are a known function of numbers.

A GAN learns what pictures look like from nothing else, which takes two cores hours.
Drawn faces need no such detour: 28 numbers make each of them. Here they are read off z,
so that each z has a picture, and the generator is fitted to these pairs by their
difference. Its mapping and synthesis are StyleGAN's; no discriminator takes part.

Differences of pixels alone leave a smile or glasses blurred for long: they are few
pixels. A face reader, which looks for them, says what is missing.
"""

import dataclasses
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from scipy.special import ndtr

from tfpriv import faces
from tfpriv.editing.losses import FeatureLoss
from tfpriv.faces.looks import NUMBERS
from tfpriv.faces.reader import feature_maps
from tfpriv.networks.stylegan.generator import StyleGAN
from tfpriv.networks.stylegan.layers import SLOPE, equalised
from tfpriv.networks.stylegan.loading import save_generator
from tfpriv.networks.stylegan.train import GENERATOR
from tfpriv.support import images
from tfpriv.support.recipe import TrainingRecipe
from tfpriv.support.training import run
from tfpriv.support.weights import digest_of

CHECKPOINT, SAMPLES = "fitting.npz", "samples.png"
LATENT_DIM, MAPPING_LAYERS = 64, 4
_CHANNELS = (128, 128, 64, 32, 16)  # at 4, 8, 16, 32 and 64 pixels
# The mapping's weights are scaled by 0.01, as published: with 100 times the rate they
# would move as far as the others. They need not: see `_unmix`.
_MAPPING_RATE = 10.0
_FIRST_STYLES = 0.1  # of what is usual
_SQUARES = 2.0  # weight of squared differences beside absolute ones
_FEATURES, _READINGS = 0.5, 0.5  # of what a reader finds different
_SAMPLES, _FIRST_SAMPLE = 16, 10_000_000  # on the sheet; no step's
_MEAN_OF = 8192  # latents whose mean is the mean w


def faces_of(z: np.ndarray) -> faces.Faces:
    """The faces that latents stand for.

    Args:
        z: float (n, latent_dim), at least 28 of them. Their length does not matter, as
            it does not for StyleGAN's mapping. Standard normal ones give evenly spread
            numbers.

    Returns:
        n faces, of the first 28.

    Raises:
        ValueError: for fewer than 28.
    """
    z = np.asarray(z, np.float64)
    if z.ndim != 2 or z.shape[1] < NUMBERS:
        raise ValueError(
            f"A face takes a latent of at least {NUMBERS} numbers. "
            f"Received: shape {z.shape}"
        )
    scaled = z / np.sqrt(np.mean(z**2, axis=1, keepdims=True) + 1e-8)
    return faces.of_numbers(2 * ndtr(scaled[:, :NUMBERS]) - 1)


def pairs(number: int, count: int, latent_dim: int, size: int, seed: int):
    """The latents and pictures of a step.

    Args:
        number: of the step.
        count: of pairs.
        latent_dim: of z.
        size: of the pictures in pixels.
        seed: of all steps.

    Returns:
        float32 (count, latent_dim) and (count, size, size, 3), -1 to 1.
    """
    random = np.random.default_rng([seed, number])
    z = random.standard_normal((count, latent_dim), np.float32)
    return z, images.to_signed(faces.draw(faces_of(z), size))


@dataclasses.dataclass(frozen=True)
class FittingRecipe(TrainingRecipe):
    """How a generator is fitted; `fit` documents the fields."""

    seed: int
    batch_size: int
    steps: int
    learning_rate: float


def fit(
    folder: str | os.PathLike,
    generator: StyleGAN | None = None,
    *,
    reader: keras.Model | None = None,
    steps: int = 4000,
    batch_size: int = 16,
    learning_rate: float = 0.01,
    seed: int = 0,
    save_every: int = 500,
    progress: Callable[[int, int], None] | None = None,
) -> StyleGAN:
    """Fits a generator to drawn faces, or goes on where the folder's checkpoint stands.

    Args:
        folder: for the checkpoint, a sheet of samples, and at the end
            `generator.keras`; created if need be.
        generator: fitted in place; by default one of 64 pixels.
        reader: a face reader; see `tfpriv.faces.reader`. Pictures are compared by its
            features, and by the numbers that it reads, too.
        steps: of Adam, whose rate falls to zero at the last.
        batch_size: pairs in a step, fresh ones each time.
        learning_rate: of the synthesis; the mapping's is 10 times as large.
        seed: of the pairs, and of the default generator's weights.
        save_every: steps from one checkpoint to the next.
        progress: called with `(steps done, steps)`.

    Returns:
        The generator.

    Raises:
        FileExistsError: the folder holds other things than such a fit's.
        ValueError: for a number out of range, a checkpoint of another fit, or losses
            that are not finite.
    """
    recipe = FittingRecipe(seed, batch_size, steps, learning_rate)
    generator = generator or _new(seed)
    folder = Path(folder)
    optimizers, groups = _optimizers(generator, steps, learning_rate)
    owner = dict(vars(recipe))
    owner["reader"] = reader and digest_of(reader.weights)
    owner["generator"] = generator.get_config() | {"name": ""}
    step = _compiled(generator, optimizers, groups, _difference(reader))
    sizes = (batch_size, generator.latent_dim, generator.resolution, seed)

    def on_save(done, loss, _):
        _set_mean(generator, seed)
        _draw_samples(generator, folder / SAMPLES, f"step {done}: {loss:.4f}", seed)

    run(
        lambda _, batch: float(step(*batch)),
        lambda start: (pairs(number, *sizes) for number in itertools.count(start)),
        [*generator.weights, *(v for one in optimizers for v in one.variables)],
        steps,
        checkpoint=folder / CHECKPOINT,
        owner=owner,
        save_every=save_every,
        on_save=on_save,
        progress=progress,
    )
    save_generator(generator, folder / GENERATOR)
    return generator


def _new(seed) -> StyleGAN:
    keras.utils.set_random_seed(seed)
    generator = StyleGAN(64, LATENT_DIM, _CHANNELS, mapping_layers=MAPPING_LAYERS)
    _unmix(generator.mapping)
    _calm(generator.synthesis)
    return generator


def _optimizers(generator, steps, learning_rate):
    """The optimizers of the mapping and the synthesis, and what they train."""
    groups = [_fitted(part) for part in (generator.mapping, generator.synthesis)]
    optimizers = [
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(rate, steps), beta_2=0.99
        )
        for rate in (_MAPPING_RATE * learning_rate, learning_rate)
    ]
    for optimizer, variables in zip(optimizers, groups, strict=True):
        optimizer.build(variables)
    return optimizers, groups


def _unmix(mapping) -> None:
    """Lets a mapping begin as what leaves z, but for its length, as it is.

    A random one mixes the numbers: a quarter of them is left to a linear layer, and
    what no style reads in the first steps (a smile) is lost in W before any does. Two
    layers that turn the sign and stretch undo each other's leaky ReLU exactly.
    """
    for layer in mapping.layers:
        kernel = -np.eye(layer.units) / np.sqrt(SLOPE)
        layer.kernel.assign(kernel / (equalised(layer.gain, layer.units) * layer.rate))


def _calm(synthesis) -> None:
    """Lets all faces begin nearly alike: random styles are to be unlearned first."""
    for variable in synthesis.trainable_variables:
        if "style" in variable.path and variable.name == "kernel":
            variable.assign(_FIRST_STYLES * variable)


def _fitted(part):
    """A part's weights but those of the noise, which nothing in a pair is due to."""
    return [v for v in part.trainable_variables if v.name != "noise_weight"]


def _difference(reader):
    """A function of drawn and wanted pictures: what else differs but pixels."""
    if reader is None:
        return lambda drawn, wanted: 0.0
    maps = feature_maps(reader).outputs
    numbers = keras.layers.Reshape((1, 1, -1))(reader.output)
    return FeatureLoss(
        keras.Model(reader.input, [*maps, numbers]),
        [_FEATURES] * len(maps) + [_READINGS],
    )


def _compiled(generator, optimizers, groups, also):
    """A function of latents and pictures that takes a step and returns the loss."""

    @tf.function
    def step(z, pictures):
        with tf.GradientTape() as tape:
            wp = generator.truncate(generator.mapping(z), psi=1)
            drawn = generator.synthesis(wp)
            difference = drawn - pictures
            loss = tf.reduce_mean(tf.abs(difference))
            total = loss + _SQUARES * tf.reduce_mean(tf.square(difference))
            total += tf.reduce_mean(also(drawn, pictures))
        gradients = tape.gradient(total, groups)
        for optimizer, some, variables in zip(
            optimizers, gradients, groups, strict=True
        ):
            optimizer.apply(some, variables)
        return loss

    return step


def _set_mean(generator, seed):
    random = np.random.default_rng([seed, _FIRST_SAMPLE])
    z = random.standard_normal((_MEAN_OF, generator.latent_dim), np.float32)
    generator.w_avg.assign(np.asarray(generator.mapping(z)).mean(0))


def _draw_samples(generator, path, title, seed):
    """Faces as they are drawn, and below them as they are generated."""
    sizes = (generator.latent_dim, generator.resolution, seed)
    z, wanted = pairs(_FIRST_SAMPLE, _SAMPLES, *sizes)
    found = generator.generate(z, "z", psi=1, batch_size=_SAMPLES)
    both = images.to_uint8(np.concatenate([wanted, found]))
    sheet = images.contact_sheet(
        list(both),
        [""] * len(both),
        columns=_SAMPLES // 2,
        cell=2 * generator.resolution,
        title=title,
    )
    images.save(path, sheet)
