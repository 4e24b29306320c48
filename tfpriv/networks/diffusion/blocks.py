"""What the networks of latent diffusion are made of. Pictures are channels last.

Each part of a block has the name that diffusers gives it; `names.py` joins them to the
names of weights in its files.
"""

import math

import keras
from keras import ops


class Block(keras.layers.Layer):
    """A layer made of named parts.

    Attributes:
        parts: dict from the name that diffusers has for a part to the layer.
    """

    def __init__(self, **options):
        super().__init__(**options)
        self.parts = {}

    def add(self, name: str, layer):
        """Adds a part under diffusers' name for it, and returns it."""
        self.parts[name] = layer
        return layer


class GroupNorm(keras.layers.Layer):
    """Group normalisation of `(n, ..., c)`, in float32 whatever goes in.

    Args:
        groups: Of neighbouring channels.
        epsilon: Under the square root.

    Reference: Y. Wu, K. He, "Group Normalization", ECCV 2018.
    """

    def __init__(self, groups: int, epsilon: float, **options):
        super().__init__(autocast=False, **options)
        self.groups, self.epsilon = groups, epsilon

    def build(self, shape):
        """Creates `gamma` and `beta`, `(c,)`."""
        if shape[-1] % self.groups:
            raise ValueError(
                f"The channels must fall into {self.groups} groups of one size. "
                f"Received: {shape[-1]} channels"
            )
        self.gamma = self.add_weight((shape[-1],), "ones", name="gamma")
        self.beta = self.add_weight((shape[-1],), "zeros", name="beta")

    def call(self, x):
        """Normalises each group over its channels and all places."""
        kept, x = x.dtype, ops.cast(x, "float32")
        mean = self._group_mean(x)
        # The mean is taken off first: where it is large, the mean square alone would
        # lose the variance to rounding.
        x = x - mean
        scale = ops.rsqrt(self._group_mean(ops.square(x)) + self.epsilon)
        return ops.cast(x * (scale * self.gamma) + self.beta, kept)

    def _group_mean(self, x):
        """Means of groups, one for each of their channels: `(n, 1, ..., 1, c)`.

        Row by row first: TensorFlow adds up one number after the other along outer
        axes, and a float32 sum of many is off.
        """
        channels, inner = x.shape[-1], len(x.shape) - 2
        for axis in range(inner, 0, -1):
            x = ops.mean(x, axis, keepdims=True)
        grouped = ops.reshape(x, (-1, self.groups, channels // self.groups))
        means = ops.repeat(ops.mean(grouped, -1), channels // self.groups, axis=-1)
        return ops.reshape(means, (-1, *[1] * inner, channels))


# With more weights to a place, TensorFlow's convolution on a processor spends as long
# on bringing them into its own order, each time anew, as on products.
HEAVY = 2048


class Convolution(keras.layers.Conv2D):
    """A convolution that keeps height and width, quick on small pictures.

    Args:
        filters: Channels that come out.
        size: Of the kernel, odd.
        **options: Of a Keras layer.
    """

    def __init__(self, filters: int, size: int = 3, **options):
        super().__init__(filters, size, padding="same", **options)

    def convolution_op(self, inputs, kernel):
        """As Keras' own; where there are far more weights than places, one product."""
        places = None if None in inputs.shape[:3] else math.prod(inputs.shape[:3])
        weights = math.prod(kernel.shape)
        if places is None or kernel.shape[0] == 1 or weights < HEAVY * places:
            return super().convolution_op(inputs, kernel)
        return as_product(inputs, kernel)


def as_product(x, kernel):
    """A convolution as a product of each place's surroundings with all weights.

    Args:
        x: `(n, h, w, c)`, of a known shape.
        kernel: `(k, k, c, filters)`, k odd.

    Returns:
        `(n, h, w, filters)`; zeros lie around the picture.
    """
    _, height, width, channels = x.shape
    size, filters = kernel.shape[0], kernel.shape[-1]
    edge = (size // 2, size // 2)
    wide = ops.pad(x, ((0, 0), edge, edge, (0, 0)))
    shifted = [
        wide[:, i : i + height, j : j + width] for i in range(size) for j in range(size)
    ]
    surroundings = ops.concatenate(shifted, axis=-1)
    product = ops.matmul(
        ops.reshape(surroundings, (-1, size * size * channels)),
        ops.reshape(kernel, (-1, filters)),
    )
    return ops.reshape(product, (-1, height, width, filters))


class ResidualBlock(Block):
    """Two convolutions beside a shortcut.

    Args:
        filters: Channels that come out.
        groups: Of the norms.
        epsilon: Of the norms.
        timed: Whether it hears of the time.
    """

    def __init__(
        self, filters: int, groups: int, epsilon: float, timed: bool, **options
    ):
        super().__init__(**options)
        self.filters, self.timed = filters, timed
        dtype = self.dtype_policy
        self.norm1 = self.add("norm1", GroupNorm(groups, epsilon, dtype=dtype))
        self.conv1 = self.add("conv1", Convolution(filters, dtype=dtype))
        if timed:
            dense = keras.layers.Dense(filters, dtype=dtype)
            self.time_projection = self.add("time_emb_proj", dense)
        self.norm2 = self.add("norm2", GroupNorm(groups, epsilon, dtype=dtype))
        self.conv2 = self.add("conv2", Convolution(filters, dtype=dtype))
        self.shortcut = None

    def build(self, shape, time_shape=None):
        """Builds the parts; there is a shortcut's convolution if channels change."""
        wide = (*shape[:-1], self.filters)
        self.norm1.build(shape)
        self.conv1.build(shape)
        if self.timed:
            self.time_projection.build(time_shape)
        self.norm2.build(wide)
        self.conv2.build(wide)
        if shape[-1] != self.filters:
            layer = Convolution(self.filters, 1, dtype=self.dtype_policy)
            self.shortcut = self.add("conv_shortcut", layer)
            self.shortcut.build(shape)

    def call(self, x, time=None):
        """Maps `(n, h, w, c)`, and the time's embedding `(n, d)`, to `filters`."""
        y = self.conv1(ops.silu(self.norm1(x)))
        if self.timed:
            y = y + self.time_projection(ops.silu(time))[:, None, None]
        y = self.conv2(ops.silu(self.norm2(y)))
        return y + (x if self.shortcut is None else self.shortcut(x))


class Downsample(Block):
    """Halves a picture by a convolution.

    Args:
        filters: Channels that come out.
        before: Zeros in front of the first row and column: 1 in the UNet, 0 in the VAE.
            Behind the last there is one.
    """

    def __init__(self, filters: int, before: int, **options):
        super().__init__(**options)
        self.before = before
        layer = keras.layers.Conv2D(filters, 3, strides=2, dtype=self.dtype_policy)
        self.conv = self.add("conv", layer)

    def build(self, shape):
        """Builds the convolution."""
        self.conv.build(shape)

    def call(self, x):
        """Maps `(n, h, w, c)` to `(n, h / 2, w / 2, filters)`."""
        zeros = (self.before, 1)
        return self.conv(ops.pad(x, ((0, 0), zeros, zeros, (0, 0))))


class Upsample(Block):
    """Doubles a picture and convolves it.

    Args:
        filters: Channels that come out.
    """

    def __init__(self, filters: int, **options):
        super().__init__(**options)
        self.conv = self.add("conv", Convolution(filters, dtype=self.dtype_policy))

    def build(self, shape):
        """Builds the convolution."""
        self.conv.build(shape)

    def call(self, x):
        """Maps `(n, h, w, c)` to `(n, 2 h, 2 w, filters)`."""
        return self.conv(ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2))
