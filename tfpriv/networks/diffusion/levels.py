"""The UNet's levels: residual blocks and transformers at one size of the latent."""

from keras import ops

from tfpriv.networks.diffusion.attention import Transformer
from tfpriv.networks.diffusion.blocks import Block, Downsample, ResidualBlock, Upsample


class _Level(Block):
    """Residual blocks, and transformers if the level attends.

    Args:
        config: Of the UNet.
        channels: That come out.
        heads: Of the transformers.
        residuals: How many residual blocks.
        transformers: How many transformers.
    """

    def __init__(self, config, channels, heads, residuals, transformers, **options):
        super().__init__(**options)
        self.channels, self.depth = channels, residuals
        groups, dtype = config["norm_num_groups"], self.dtype_policy
        self.residuals = [
            self.add(
                f"resnets.{n}",
                ResidualBlock(channels, groups, config["norm_eps"], True, dtype=dtype),
            )
            for n in range(residuals)
        ]
        linear = config["use_linear_projection"]
        self.transformers = [
            self.add(
                f"attentions.{n}",
                Transformer(channels, heads, groups, linear, dtype=dtype),
            )
            for n in range(transformers)
        ]

    def _build(self, inputs, time_shape, context_shape):
        """Builds the blocks for their numbers of input channels."""
        for channels, block in zip(inputs, self.residuals, strict=True):
            block.build((None, None, None, channels), time_shape)
        for block in self.transformers:
            block.build((None, None, None, self.channels), context_shape)


class DownLevel(_Level):
    """A level on the way down; the last one does not halve.

    Args:
        config: Of the UNet.
        channels: That come out.
        heads: Of the transformers.
        attends: Whether there are transformers.
        halves: Whether the next level is smaller.
    """

    def __init__(self, config, channels, heads, attends, halves, **options):
        depth = config["layers_per_block"]
        super().__init__(
            config, channels, heads, depth, depth if attends else 0, **options
        )
        self.halve = None
        if halves:
            layer = Downsample(channels, before=1, dtype=self.dtype_policy)
            self.halve = self.add("downsamplers.0", layer)

    @property
    def skips(self) -> int:
        """How many results are handed over to the way up."""
        return self.depth + (self.halve is not None)

    def build(self, channels, time_shape, context_shape):
        """Builds the parts for so many channels that come in."""
        inputs = [channels, *[self.channels] * (self.depth - 1)]
        self._build(inputs, time_shape, context_shape)
        if self.halve is not None:
            self.halve.build((None, None, None, self.channels))

    def call(self, x, time, context):
        """Maps `(n, h, w, c)`; returns the last result and all, for the way up."""
        passed = []
        for number, residual in enumerate(self.residuals):
            x = residual(x, time)
            if self.transformers:
                x = self.transformers[number](x, context)
            passed.append(x)
        if self.halve is not None:
            x = self.halve(x)
            passed.append(x)
        return x, passed


class MiddleLevel(_Level):
    """The level at the bottom: a transformer between two residual blocks.

    Args:
        config: Of the UNet.
        channels: That come in and go out.
        heads: Of the transformer.
    """

    def __init__(self, config, channels, heads, **options):
        super().__init__(config, channels, heads, 2, 1, **options)

    def build(self, channels, time_shape, context_shape):
        """Builds the parts for so many channels that come in."""
        self._build([channels, self.channels], time_shape, context_shape)

    def call(self, x, time, context):
        """Maps `(n, h, w, channels)`."""
        x = self.residuals[0](x, time)
        x = self.transformers[0](x, context)
        return self.residuals[1](x, time)


class UpLevel(_Level):
    """A level on the way up, with what the way down handed over; the last one does not
    double.

    Args:
        config: Of the UNet.
        channels: That come out.
        heads: Of the transformers.
        attends: Whether there are transformers.
        doubles: Whether the next level is larger.
    """

    def __init__(self, config, channels, heads, attends, doubles, **options):
        depth = config["layers_per_block"] + 1
        super().__init__(
            config, channels, heads, depth, depth if attends else 0, **options
        )
        self.double = None
        if doubles:
            layer = Upsample(channels, dtype=self.dtype_policy)
            self.double = self.add("upsamplers.0", layer)

    def build(self, channels, time_shape, context_shape, joined):
        """Builds the parts for channels that come in, and for those handed over."""
        before = [channels, *[self.channels] * (self.depth - 1)]
        inputs = [own + other for own, other in zip(before, joined, strict=True)]
        self._build(inputs, time_shape, context_shape)
        if self.double is not None:
            self.double.build((None, None, None, self.channels))

    def call(self, x, time, context, joined):
        """Maps `(n, h, w, c)`, with one result of the way down for each block."""
        for number, residual in enumerate(self.residuals):
            x = residual(ops.concatenate([x, joined[number]], axis=-1), time)
            if self.transformers:
                x = self.transformers[number](x, context)
        return x if self.double is None else self.double(x)
