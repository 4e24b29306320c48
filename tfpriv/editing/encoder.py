"""A first guess of a picture's latent, in one pass."""

import dataclasses
import itertools
import os
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from tfpriv.faces.reader import convolutions, without_optimizer
from tfpriv.support import images
from tfpriv.support.recipe import TrainingRecipe
from tfpriv.support.training import run_model


def encoder(generator) -> keras.Model:
    """A network for the pictures of a generator, not trained yet.

    Args:
        generator: a `StyleGAN`.

    Returns:
        A model from pictures (n, size, size, 3), 0 to 255, to latents (n, latent_dim)
        of W. It starts near the generator's mean.
    """
    halvings = int(np.log2(generator.resolution)) - 2
    filters = tuple(min(16 * 2**i, 128) for i in range(halvings + 1))
    name = "latent_encoder"
    guess = convolutions(generator.resolution, filters, generator.latent_dim, name)
    spread, mean = latent_spread(generator).tolist(), generator.w_avg.numpy().tolist()
    latents = keras.layers.Rescaling(spread, mean)(guess.output)
    return keras.Model(guess.input, latents, name=name)


@dataclasses.dataclass(frozen=True)
class EncoderRecipe(TrainingRecipe):
    """How an encoder is trained; `train_encoder` documents the fields."""

    steps: int
    batch_size: int
    psi: float
    layers: int
    seed: int
    zero_allowed = ("psi", "layers")


def train_encoder(
    generator,
    *,
    steps: int = 4000,
    batch_size: int = 32,
    psi: float = 0.7,
    layers: int = 8,
    seed: int = 0,
    folder: str | os.PathLike | None = None,
    save_every: int = 500,
    progress: Callable[[int, int], None] | None = None,
) -> keras.Model:
    """Trains an encoder on what the generator draws of random latents.

    Args:
        generator: a `StyleGAN`.
        steps: of training, each on new pictures.
        batch_size: pictures in a step.
        psi: truncation under which they are drawn.
        layers: that are truncated.
        seed: of the weights and the latents.
        folder: where the state is kept while it trains: a call with the same arguments
            goes on from there.
        save_every: steps from one checkpoint to the next.
        progress: called with `(steps done, steps)`.

    Returns:
        The encoder. Its loss is the squared error in units of the latents' spread: 1
        is no better than their mean.

    Raises:
        FileExistsError: other things are in `folder`.
        ValueError: for a number out of range, a checkpoint of another training, or
            losses that are not finite.
    """
    recipe = EncoderRecipe(steps, batch_size, psi, layers, seed)
    keras.utils.set_random_seed(seed)
    model, spread = encoder(generator), latent_spread(generator)

    @tf.function
    def draw(number):
        shape = (batch_size, generator.latent_dim)
        w = generator.mapping(tf.random.stateless_normal(shape, [seed, number]))
        pictures = generator.synthesis(generator.truncate(w, psi, layers))
        return images.to_values(tf.clip_by_value(pictures, -1, 1)), w

    def loss(wanted, guessed):
        return keras.ops.mean(keras.ops.square((wanted - guessed) / spread), axis=-1)

    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    model.compile(keras.optimizers.Adam(rate), loss=loss)
    run_model(
        model,
        lambda start: map(draw, map(tf.constant, itertools.count(start))),
        steps,
        folder=folder,
        owner={"recipe": vars(recipe), "generator": generator.fingerprint},
        save_every=save_every,
        progress=progress,
    )
    return without_optimizer(model)


def encode(model: keras.Model, pictures: np.ndarray) -> np.ndarray:
    """The latents that an encoder reads from pictures.

    Args:
        model: what `train_encoder` returned.
        pictures: (n, size, size, 3), -1 to 1, of its generator.

    Returns:
        float32 (n, latent_dim), of W.
    """
    return model.predict(images.to_values(np.asarray(pictures)), verbose=0)


def latent_spread(generator, samples: int = 4096) -> np.ndarray:
    """The standard deviation of each of W's coordinates: float32 (latent_dim,)."""
    z = np.random.default_rng(0).normal(size=(samples, generator.latent_dim))
    return np.asarray(generator.mapping(z.astype(np.float32))).std(0) + 1e-6
