"""A loop of one's own with two optimizers: the worked example of a private GAN.

The discriminator sees private data and is trained by a DP optimizer. The generator
learns from the discriminator alone, which is released already, and so needs none.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfpriv.dp as dp
from tfpriv.accounting import Ledger, mechanisms

NOISE_SHAPE, BATCH = 4, 32


class PrivateGan:
    """Generates points like those it was trained on.

    Args:
        privacy: `dp.Privacy`: the ledger that is charged.
        noise_multiplier: Float.
    """

    def __init__(self, privacy, noise_multiplier):
        self.generator = keras.Sequential(
            [keras.Input((NOISE_SHAPE,)), layers.Dense(16, "relu"), layers.Dense(2)]
        )
        self.discriminator = keras.Sequential(
            [keras.Input((2,)), layers.Dense(16, "relu"), layers.Dense(1)]
        )
        # One unit is one real point, together with the made-up one beside it.
        real, fake = keras.Input((2,)), keras.Input((2,))
        self.pair = keras.Model(
            [real, fake], [self.discriminator(real), self.discriminator(fake)]
        )
        self.loss = keras.losses.BinaryCrossentropy(from_logits=True)
        self.private_optimizer = dp.DPAdam(
            1e-2, l2_norm_clip=1.0, noise_multiplier=noise_multiplier
        ).track(privacy)
        self.plain_optimizer = keras.optimizers.Adam(1e-2)
        self.private_optimizer.build(self.pair.trainable_variables)
        self.plain_optimizer.build(self.generator.trainable_variables)

    @tf.function
    def train_discriminator(self, real):
        """The one step that touches private data."""
        fake = self.generator(tf.random.normal([BATCH, NOISE_SHAPE]))
        gradients, _ = dp.clipped_gradients(
            self.pair,
            [real, fake],
            [tf.ones([BATCH, 1]), tf.zeros([BATCH, 1])],
            loss=self.loss,
            l2_norm_clip=self.private_optimizer.l2_norm_clip,
        )
        self.private_optimizer.apply(gradients, self.pair.trainable_variables)

    @tf.function
    def train_generator(self):
        """Post-processing of the released discriminator: free."""
        with tf.GradientTape() as tape:
            fake = self.generator(tf.random.normal([BATCH, NOISE_SHAPE]))
            loss = self.loss(tf.ones([BATCH, 1]), self.discriminator(fake))
        variables = self.generator.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        self.plain_optimizer.apply(gradients, variables)


def test_private_gan(rng):
    data = rng.normal(2.0, 0.3, (256, 2)).astype("float32")
    privacy = dp.Privacy(max_occurrences=1)
    gan = PrivateGan(privacy, noise_multiplier=2.0)
    before = [w.copy() for w in gan.discriminator.get_weights()]
    steps = 8
    for step in range(steps):
        gan.train_discriminator(data[step * BATCH : (step + 1) * BATCH])
        for _ in range(3):
            gan.train_generator()
    assert any(
        not np.array_equal(old, new)
        for old, new in zip(before, gan.discriminator.get_weights(), strict=True)
    )
    # Only the discriminator's steps cost, and each without amplification.
    expected = Ledger()
    expected.record(
        mechanisms.stream(2.0, max_occurrences=1),
        unit="example",
        purpose="user-provided batch",
        count=steps,
    )
    assert len(privacy.ledger) == steps
    epsilon = privacy.epsilon(delta=1e-5)
    assert epsilon == pytest.approx(expected.epsilon(1e-5))
    assert 0 < epsilon < 20


@pytest.mark.slow
def test_without_noise_the_gan_learns(rng):
    data = rng.normal(2.0, 0.3, (256, 2)).astype("float32")
    gan = PrivateGan(dp.Privacy(max_occurrences=1), noise_multiplier=0.0)
    latent = rng.normal(size=(500, NOISE_SHAPE))

    def distance():
        return np.linalg.norm(np.mean(gan.generator(latent), axis=0) - 2.0)

    at_first = distance()
    for step in range(800):
        start = step * BATCH % len(data)
        gan.train_discriminator(data[start : start + BATCH])
        gan.train_generator()
    assert distance() < 0.6 * at_first


def test_an_undeclared_loop_has_no_finite_epsilon(rng):
    gan = PrivateGan(dp.Privacy(), noise_multiplier=2.0)
    real = rng.normal(size=(BATCH, 2)).astype("float32")
    with pytest.warns(UserWarning, match="how often one unit can be in it"):
        gan.train_discriminator(real)
    assert gan.private_optimizer.privacy.epsilon(1e-5) == float("inf")
