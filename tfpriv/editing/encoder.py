"""A first guess of a picture's latent, in one pass."""

import os

import keras
import numpy as np
import tensorflow as tf

from tfpriv.accounting import checks
from tfpriv.faces.reader import convolutions, without_optimizer
from tfpriv.support import images
from tfpriv.support.training import Backup


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


def train_encoder(
    generator,
    *,
    steps: int = 4000,
    batch_size: int = 32,
    psi: float = 0.7,
    layers: int = 8,
    seed: int = 0,
    folder: str | os.PathLike | None = None,
) -> keras.Model:
    """Trains an encoder on what the generator draws of random latents.

    Args:
        generator: a `StyleGAN`.
        steps: of training, each on new pictures.
        batch_size: pictures in a step.
        psi: truncation under which they are drawn.
        layers: that are truncated.
        seed: of the weights and the latents.
        folder: where the state is kept: a call with the same arguments goes on from
            there.

    Returns:
        The encoder. Its loss is the squared error in units of the latents' spread: 1
        is no better than their mean.

    Raises:
        FileExistsError: other things are in `folder`.
        ValueError: for a number out of range.
    """
    callbacks = [Backup(folder)] if folder else []
    checks.whole("steps", steps)
    checks.whole("seed", seed, low=0)
    keras.utils.set_random_seed(seed)
    model, spread = encoder(generator), latent_spread(generator)

    def draw(number):
        shape = (batch_size, generator.latent_dim)
        w = generator.mapping(tf.random.stateless_normal(shape, [seed, number]))
        pictures = generator.synthesis(generator.truncate(w, psi, layers))
        return images.to_values(tf.clip_by_value(pictures, -1, 1)), w

    def loss(wanted, guessed):
        return keras.ops.mean(keras.ops.square((wanted - guessed) / spread), axis=-1)

    epochs = max(1, steps // 500)
    data = tf.data.Dataset.range(epochs * (steps // epochs)).map(draw).prefetch(2)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    model.compile(keras.optimizers.Adam(rate), loss=loss)
    model.fit(
        data,
        epochs=epochs,
        steps_per_epoch=steps // epochs,
        verbose=2,
        callbacks=callbacks,
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
