"""The network that tells generated pictures from real ones while a generator trains."""

import keras
from keras import ops

from tfpriv.networks.stylegan.layers import (
    EPSILON,
    EqualisedConv,
    EqualisedDense,
    blur,
    leaky_relu,
)
from tfpriv.networks.stylegan.synthesis import FIRST

GROUP = 4  # pictures that are compared with each other


def with_deviation(x):
    """Adds a channel: how much the pictures of a group differ, on average.

    Args:
        x: Features `(n, h, w, c)`; n a multiple of 4, or smaller.

    Returns:
        `(n, h, w, c + 1)`.

    Reference: T. Karras et al., "Progressive Growing of GANs", ICLR 2018, section 3.
    """
    count, height, width, channels = x.shape
    group = min(GROUP, count)
    grouped = ops.reshape(x, (group, count // group, height, width, channels))
    variance = ops.var(grouped, axis=0)
    deviation = ops.mean(ops.sqrt(variance + EPSILON), (1, 2, 3), keepdims=True)
    plane = ops.tile(deviation, (group, height, width, 1))
    return ops.concatenate([x, plane], axis=-1)


class Discriminator(keras.Model):
    """StyleGAN's discriminator: pictures `(n, size, size, 3)` to scores `(n, 1)`.

    Args:
        channels: Of the resolutions 4, 8, ... pixels, as the generator's.
    """

    def __init__(self, channels: tuple[int, ...], **options):
        super().__init__(**options)
        self.channels = tuple(channels)
        self.from_rgb = EqualisedConv(channels[-1], 1, use_bias=True, name="from_rgb")
        self.same, self.down = [], []
        for level in range(len(channels) - 1, 0, -1):
            width = channels[level]
            self.same.append(EqualisedConv(width, use_bias=True))
            self.down.append(
                EqualisedConv(channels[level - 1], form="down", use_bias=True)
            )
        self.last = EqualisedConv(channels[0], use_bias=True, name="last")
        self.dense = EqualisedDense(channels[0], name="dense")
        self.score = EqualisedDense(1, gain=1.0, name="score")
        self.build()

    def build(self, shape=None):
        """Creates the weights, which the arguments determine."""
        if self.built:
            return
        self.from_rgb.build((None, None, None, 3))
        inputs = self.channels[-1]
        for same, down in zip(self.same, self.down, strict=True):
            same.build((None, None, None, inputs))
            down.build((None, None, None, inputs))
            inputs = down.filters
        self.last.build((None, None, None, inputs + 1))
        self.dense.build((None, FIRST * FIRST * inputs))
        self.score.build((None, inputs))
        self.built = True

    def call(self, pictures):
        """Scores: large for what looks real."""
        x = leaky_relu(self.from_rgb(pictures))
        for same, down in zip(self.same, self.down, strict=True):
            x = leaky_relu(same(x))
            x = leaky_relu(down(blur(x)))
        x = leaky_relu(self.last(with_deviation(x)))
        x = ops.reshape(x, (x.shape[0], -1))
        return self.score(leaky_relu(self.dense(x)))
