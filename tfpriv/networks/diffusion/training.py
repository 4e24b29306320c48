"""One step of training the small inpainter: first the VAE, then the UNet."""

import dataclasses
import functools

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfpriv.networks.diffusion.pipeline import StableDiffusionInpainter, empty_context
from tfpriv.networks.diffusion.unet import UNet
from tfpriv.support.recipe import TrainingRecipe


@dataclasses.dataclass(frozen=True)
class DiffusionRecipe(TrainingRecipe):
    """How to train.

    Args:
        vae_steps: Steps of the VAE, which come first.
        unet_steps: Steps of the UNet.
        batch_size: Pictures in a step.
        learning_rate: Adam's. The VAE's falls to 0 along a cosine; the UNet's stays,
            and its weights are averaged instead, so that it can be trained further.
        divergence: Weight of the Kullback-Leibler divergence of the latents from
            standard normal ones, beside the mean absolute error of pixels.
        half_life: Pictures after which half of the averaged UNet is new.
        seed: Of masks, noise, times and the order of the pictures.
    """

    vae_steps: int = 3_000
    unet_steps: int = 8_000
    batch_size: int = 16
    learning_rate: float = 1e-3
    divergence: float = 1e-6
    half_life: float = 8_000
    seed: int = 0
    zero_allowed = ("divergence",)

    @property
    def steps(self) -> int:
        """Of both networks."""
        return self.vae_steps + self.unet_steps


def random_masks(random: np.random.Generator, count: int, size: int) -> np.ndarray:
    """Masks of the kinds that an inpainter meets.

    Of random kinds: a box, patches of a grid, both, or everything.

    Args:
        random: Where the numbers come from.
        count: Number of masks.
        size: Pixels of a side, at least 8.

    Returns:
        bool `(count, size, size)`.
    """
    masks = np.zeros((count, size, size), bool)
    for number, kind in enumerate(random.integers(0, 8, count)):
        if kind == 0:
            masks[number] = True
        if kind < 5:
            masks[number] |= _box(random, size)
        if kind > 2:
            masks[number] |= _patches(random, size)
    return masks


def _box(random, size):
    height, width = random.integers(size // 4, size * 7 // 8, 2)
    top, left = random.integers(0, (size - height + 1, size - width + 1))
    mask = np.zeros((size, size), bool)
    mask[top : top + height, left : left + width] = True
    return mask


def _patches(random, size):
    patch = size // int(random.choice([4, 8]))
    grid = random.random((size // patch + 1,) * 2) < random.uniform(0.2, 0.9)
    return grid.repeat(patch, 0).repeat(patch, 1)[:size, :size]


class Trainer:
    """The networks in training, and all that a next step depends on.

    What is drawn in a step follows from the seed and the step's number alone.

    Args:
        inpainter: Its VAE and UNet are trained in place.
        recipe: How.
    """

    def __init__(self, inpainter: StableDiffusionInpainter, recipe: DiffusionRecipe):
        self.inpainter, self.recipe = inpainter, recipe
        self.vae, self.unet = inpainter.vae, inpainter.unet
        self.average = UNet(self.unet.config)
        self.average.set_weights(self.unet.get_weights())
        self.scale = keras.Variable(1.0, trainable=False, name="scaling_factor")
        falling = keras.optimizers.schedules.CosineDecay(
            recipe.learning_rate, recipe.vae_steps
        )
        self.optimizers = [
            keras.optimizers.Adam(rate, clipnorm=1.0)
            for rate in (falling, recipe.learning_rate)
        ]
        for optimizer, network in zip(
            self.optimizers, (self.vae, self.unet), strict=True
        ):
            optimizer.build(network.trainable_variables)
        self._kept = 0.5 ** (recipe.batch_size / recipe.half_life)
        self._alphas = inpainter.scheduler.alphas.astype(np.float32)
        self._vae_step = tf.function(self._one_vae_step, autograph=False)
        self._unet_step = tf.function(self._one_unet_step, autograph=False)

    @property
    def state(self) -> list:
        """The variables that a next step depends on, in an order that never changes."""
        networks = (self.vae, self.unet, self.average)
        return [
            *(variable for network in networks for variable in network.weights),
            *(variable for one in self.optimizers for variable in one.variables),
            self.scale,
        ]

    def step(self, number: int, pictures: np.ndarray) -> float:
        """Trains the network whose turn it is on a batch.

        Args:
            number: Of the step, from 0.
            pictures: float32 `(batch_size, size, size, 3)`, -1 to 1.

        Returns:
            The loss.
        """
        random = np.random.default_rng([self.recipe.seed, number])
        factor, latent = self.vae.factor, self.vae.config["latent_channels"]
        count, side = len(pictures), pictures.shape[1] // factor
        noise = random.standard_normal((count, side, side, latent), np.float32)
        if number < self.recipe.vae_steps:
            return float(self._vae_step(pictures, noise))
        if number == self.recipe.vae_steps:
            self._measure_scale(pictures)
        masks = random_masks(random, count, pictures.shape[1])
        times = random.integers(0, len(self._alphas), count)
        visible = np.where(masks[..., None], np.float32(0), pictures)
        seen = masks[:, ::factor, ::factor, None].astype(np.float32)
        alphas = self._alphas[times].reshape(-1, 1, 1, 1)
        times = times.astype(np.int32)
        return float(self._unet_step(pictures, visible, seen, noise, times, alphas))

    @functools.cached_property
    def trained(self) -> StableDiffusionInpainter:
        """The inpainter with the average of the UNet; to be read in the UNet's steps.

        Its VAE is done then, and has the scale of its latents.
        """
        vae = type(self.vae)(
            self.vae.config | {"scaling_factor": float(np.asarray(self.scale))}
        )
        vae.set_weights(self.vae.get_weights())
        return StableDiffusionInpainter(self.average, vae, self.inpainter.scheduler)

    def _measure_scale(self, pictures):
        """Brings the latents to about unit variance, as the UNet expects them."""
        self.scale.assign(1 / np.std(self.vae.moments(pictures)[0]))

    def _one_vae_step(self, pictures, noise):
        with tf.GradientTape() as tape:
            mean, log_variance = self.vae.moments(pictures)
            latents = mean + ops.exp(log_variance / 2) * noise
            painted = self.vae.decode(latents * self.vae.config["scaling_factor"])
            error = ops.mean(ops.abs(painted - pictures))
            excess = ops.square(mean) + ops.exp(log_variance) - 1 - log_variance
            divergence = ops.sum(excess) / 2 / mean.shape[0]
            loss = error + self.recipe.divergence * divergence
        self._apply(0, tape, loss, self.vae)
        return loss

    def _one_unet_step(self, pictures, visible, seen, noise, times, alphas):
        latents = self.vae.moments(pictures)[0] * self.scale
        hints = self.vae.moments(visible)[0] * self.scale
        noisy = ops.sqrt(alphas) * latents + ops.sqrt(1 - alphas) * noise
        context = empty_context(self.unet, noisy.shape[0])
        with tf.GradientTape() as tape:
            x = ops.concatenate([noisy, seen, hints], axis=-1)
            loss = ops.mean(ops.square(self.unet(x, times, context) - noise))
        self._apply(1, tape, loss, self.unet)
        pairs = zip(self.average.weights, self.unet.weights, strict=True)
        for slow, fast in pairs:
            slow.assign(fast + (slow - fast) * self._kept)
        return loss

    def _apply(self, number, tape, loss, network):
        variables = network.trainable_variables
        self.optimizers[number].apply(tape.gradient(loss, variables), variables)
