"""One step of training a small StyleGAN: losses, regularisation, averages."""

import dataclasses

import keras
import tensorflow as tf
from keras import ops

from tfpriv.networks.stylegan.discriminator import Discriminator
from tfpriv.networks.stylegan.generator import StyleGAN
from tfpriv.support.recipe import TrainingRecipe

W_AVERAGE_KEPT = 0.995  # of the mean w, at each step


@dataclasses.dataclass(frozen=True)
class StyleGANRecipe(TrainingRecipe):
    """How to train.

    Args:
        steps: Steps, of the discriminator and of the generator.
        batch_size: Pictures in a step; a multiple of 4.
        learning_rate: Adam's.
        r1: Weight of the penalty on the discriminator's gradients at real pictures.
        r1_every: Steps from one penalty to the next, which weighs as many times more.
        mixing: How often two w share a picture, from a random layer on.
        half_life: Pictures after which half of the averaged generator is new.
        seed: Of weights, latents, noise and the order of the pictures.

    References: L. Mescheder et al., "Which Training Methods for GANs do actually
    Converge?", ICML 2018 (R1); T. Karras et al., "Analyzing and Improving the Image
    Quality of StyleGAN", CVPR 2020 (the penalty now and then).
    """

    steps: int = 20_000
    batch_size: int = 16
    learning_rate: float = 2e-3
    r1: float = 1.0
    r1_every: int = 16
    mixing: float = 0.9
    half_life: float = 5_000
    seed: int = 0
    zero_allowed = ("r1", "mixing")
    at_most_one = ("mixing",)

    def __post_init__(self):
        super().__post_init__()
        if self.batch_size % 4:
            raise ValueError(
                "`batch_size` must be a multiple of 4: pictures are compared in "
                f"groups of four. Received: batch_size={self.batch_size}"
            )


def discriminator_loss(real, generated):
    """Mean of the logistic losses of scores, each `(n, 1)`."""
    return ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(generated))


def generator_loss(generated):
    """The logistic loss that does not saturate, of scores `(n, 1)`."""
    return ops.mean(ops.softplus(-generated))


def gradient_penalty(discriminator, pictures):
    """R1: mean squared length of the score's gradient at real pictures."""
    with tf.GradientTape() as tape:
        tape.watch(pictures)
        score = ops.sum(discriminator(pictures))
    gradient = tape.gradient(score, pictures)
    return ops.mean(ops.sum(ops.square(gradient), (1, 2, 3)))


class Trainer:
    """The networks in training, and all that a next step depends on.

    Args:
        generator: It is trained in place.
        recipe: How.
    """

    def __init__(self, generator: StyleGAN, recipe: StyleGANRecipe):
        self.recipe = recipe
        self.generator = generator
        keras.utils.set_random_seed(recipe.seed)
        self.discriminator = Discriminator(generator.channels)
        self.average = StyleGAN.from_config(generator.get_config())
        self.average.set_weights(generator.get_weights())
        self.random = keras.random.SeedGenerator(recipe.seed)
        generator.synthesis.random.state.assign(self.random.next())
        self.optimizers = [
            keras.optimizers.Adam(recipe.learning_rate, beta_1=0.0, beta_2=0.99)
            for _ in range(2)
        ]
        for optimizer, network in zip(
            self.optimizers, (generator, self.discriminator), strict=True
        ):
            optimizer.build(network.trainable_variables)
        self._kept = 0.5 ** (recipe.batch_size / recipe.half_life)
        self._step = tf.function(self._one_step)
        self._regularised_step = tf.function(self._one_regularised_step)

    @property
    def state(self) -> list:
        """The variables that a next step depends on, in an order that never changes."""
        networks = (self.generator, self.discriminator, self.average)
        return [
            *(variable for network in networks for variable in network.weights),
            *(variable for one in self.optimizers for variable in one.variables),
            self.random.state,
            self.generator.synthesis.random.state,
        ]

    def step(self, number: int, pictures) -> tuple[float, float]:
        """Trains both networks on a batch.

        Args:
            number: Of the step, from 0; decides whether the penalty is due.
            pictures: `(batch_size, size, size, 3)`, -1 to 1.

        Returns:
            The losses of the discriminator and the generator.
        """
        due = self.recipe.r1 and number % self.recipe.r1_every == 0
        step = self._regularised_step if due else self._step
        losses = step(tf.convert_to_tensor(pictures, tf.float32))
        return tuple(float(loss) for loss in losses)

    def _one_step(self, pictures):
        with tf.GradientTape() as tape:
            loss = self._scores_apart(pictures)
        self._apply(1, tape, loss, self.discriminator)
        return loss, self._generator_step()

    def _one_regularised_step(self, pictures):
        with tf.GradientTape() as tape:
            loss = self._scores_apart(pictures)
            penalty = gradient_penalty(self.discriminator, pictures)
            weight = self.recipe.r1 / 2 * self.recipe.r1_every
            total = loss + weight * penalty
        self._apply(1, tape, total, self.discriminator)
        return loss, self._generator_step()

    def _scores_apart(self, pictures):
        generated, _ = self._pictures()
        generated = tf.stop_gradient(generated)
        real = self.discriminator(pictures)
        return discriminator_loss(real, self.discriminator(generated))

    def _generator_step(self):
        with tf.GradientTape() as tape:
            generated, w = self._pictures()
            loss = generator_loss(self.discriminator(generated))
        self._apply(0, tape, loss, self.generator)
        mean, w_avg = ops.mean(w, axis=0), self.generator.w_avg
        w_avg.assign(mean + (w_avg - mean) * W_AVERAGE_KEPT)
        self._average()
        return loss

    def _apply(self, number, tape, loss, network):
        gradients = tape.gradient(loss, network.trainable_variables)
        self.optimizers[number].apply(gradients, network.trainable_variables)

    def _pictures(self):
        """Pictures of random latents with random noise, and the w of the first."""
        shape = (2, self.recipe.batch_size, self.generator.latent_dim)
        z = keras.random.normal(shape, seed=self.random)
        mapped = self.generator.mapping(ops.reshape(z, (-1, shape[-1])))
        first, second = ops.split(mapped, 2)
        layers = self.generator.num_layers
        chance = keras.random.uniform((2, shape[1], 1), seed=self.random)
        mixed, place = chance[0], chance[1]
        cut = 1 + ops.floor(place * (layers - 1))  # 1 to layers - 1
        cut = ops.where(mixed < self.recipe.mixing, cut, layers)
        before = ops.arange(layers, dtype="float32")[None] < cut
        wp = ops.where(before[:, :, None], first[:, None], second[:, None])
        return self.generator.synthesis(wp, noise="random"), first

    def _average(self):
        pairs = zip(self.average.weights, self.generator.weights, strict=True)
        for slow, fast in pairs:
            slow.assign(fast + (slow - fast) * self._kept)
