"""From styles to pictures: StyleGAN's synthesis network."""

import keras
from keras import ops

from tfpriv.networks.stylegan.layers import (
    EqualisedConv,
    EqualisedDense,
    blur,
    leaky_relu,
    normalise,
)

NOISES = ("fixed", "random")
FIRST = 4  # pixels of the constant that pictures grow from


class StyledLayer(keras.layers.Layer):
    """A convolution, then noise, bias, leaky ReLU and the style.

    Args:
        resolution: Pixels of its output.
        channels: Of its output.
        form: `"constant"` (of 4 pixels, no convolution) or a form of `EqualisedConv`.
        random: Generator of the seeds of random noise.
    """

    def __init__(
        self,
        resolution: int,
        channels: int,
        form: str,
        random: keras.random.SeedGenerator,
        **options,
    ):
        super().__init__(**options)
        self.resolution, self.channels, self.form = resolution, channels, form
        self._random = random
        self.style = EqualisedDense(2 * channels, gain=1.0, name="style")
        if form != "constant":
            self.conv = EqualisedConv(channels, form=form, name="conv")

    def build(self, inputs, latent_dim):
        """Creates the weights.

        Args:
            inputs: Channels that come in.
            latent_dim: Dimensions of w.
        """
        size, channels = self.resolution, self.channels
        if self.form == "constant":
            self.constant = self.add_weight(
                (1, size, size, channels), "ones", name="constant"
            )
        else:
            self.conv.build((None, None, None, inputs))
        self.style.build((None, latent_dim))
        self.noise_weight = self.add_weight((channels,), "zeros", name="noise_weight")
        self.bias = self.add_weight((channels,), "zeros", name="bias")
        self.noise = self.add_weight(
            (1, size, size, 1),
            keras.initializers.RandomNormal(stddev=1.0),
            trainable=False,
            name="noise",
        )
        self.built = True

    def call(self, w, x=None, noise="fixed"):
        """Returns features `(n, resolution, resolution, channels)`.

        Args:
            w: `(n, latent_dim)`.
            x: Features `(n, h, w, inputs)`; the constant needs none.
            noise: `"fixed"` or `"random"`.
        """
        if self.form == "constant":
            x = ops.repeat(self.constant, ops.shape(w)[0], axis=0)
        else:
            x = self.conv(x)
            x = x if self.form == "same" else blur(x)
        x = leaky_relu(x + (self._drawn(noise, w) * self.noise_weight + self.bias))
        style = ops.reshape(self.style(w), (-1, 2, 1, 1, self.channels))
        return normalise(x, style[:, 0] + 1, style[:, 1])

    def _drawn(self, noise, w):
        if noise == "fixed":
            return self.noise
        shape = (ops.shape(w)[0], self.resolution, self.resolution, 1)
        return keras.random.normal(shape, seed=self._random)


class Synthesis(keras.layers.Layer):
    """Styled layers, two for each resolution, and the colours of the last.

    Args:
        channels: Of the resolutions 4, 8, 16, ... pixels.
        fused_from: Resolution from which layers that double were trained as
            transposed convolutions.
        seed: Of random noise.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        fused_from: int,
        seed: int | None = None,
        **options,
    ):
        super().__init__(**options)
        self.random = keras.random.SeedGenerator(seed)
        self.layers = []
        for level, width in enumerate(channels):
            size = FIRST << level
            up = "fused" if size >= fused_from else "up"
            for form in (up if level else "constant", "same"):
                name = f"layer{len(self.layers)}"
                layer = StyledLayer(size, width, form, self.random, name=name)
                self.layers.append(layer)
        self.to_rgb = EqualisedConv(3, 1, gain=1.0, use_bias=True, name="to_rgb")

    def build(self, latent_dim):
        """Creates the weights for so many dimensions of w."""
        inputs = None
        for layer in self.layers:
            layer.build(inputs, latent_dim)
            inputs = layer.channels
        self.to_rgb.build((None, None, None, inputs))
        self.built = True

    def call(self, wp, noise="fixed"):
        """Maps W+ `(n, layers, latent_dim)` to pictures `(n, size, size, 3)`.

        Args:
            wp: A w for each layer.
            noise: `"fixed"` (that of the weights) or `"random"` (new each time).

        Returns:
            Pictures of about -1 to 1, not clipped.

        Raises:
            ValueError: For another `noise`.
        """
        if noise not in NOISES:
            raise ValueError(
                f"`noise` must be one of {NOISES}. Received: noise={noise!r}"
            )
        x = None
        for number, layer in enumerate(self.layers):
            x = layer(wp[:, number], x, noise=noise)
        return self.to_rgb(x)
