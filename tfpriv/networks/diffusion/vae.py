"""The autoencoder between pictures and latents: AutoencoderKL of diffusers."""

import keras
from keras import ops

from tfpriv.networks.diffusion import configs
from tfpriv.networks.diffusion.attention import PictureAttention
from tfpriv.networks.diffusion.blocks import (
    Block,
    Convolution,
    Downsample,
    GroupNorm,
    ResidualBlock,
    Upsample,
)

DEFAULTS = {
    "sample_size": 32,
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",),
    "up_block_types": ("UpDecoderBlock2D",),
    "block_out_channels": (64,),
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 32,
    "scaling_factor": 0.18215,
}
FIXED = {
    "act_fn": ("silu",),
    "use_quant_conv": (True,),
    "use_post_quant_conv": (True,),
    "mid_block_add_attention": (True,),
    "force_upcast": (None, False, True),  # says what half precision needs elsewhere
}
EPSILON = 1e-6  # of all norms


@keras.saving.register_keras_serializable(package="tfpriv")
class VAE(keras.Model):
    """Encoder and decoder.

    Args:
        config: Fields of diffusers' `AutoencoderKL`.
        **options: Of `keras.Model`, such as `dtype="mixed_bfloat16"`.

    Raises:
        ValueError: A field has a value that is not built here.

    Reference: D. Kingma, M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014; R.
    Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", CVPR
    2022.
    """

    def __init__(self, config: dict, **options):
        super().__init__(**options)
        self.config = configs.checked("The VAE", config, DEFAULTS, FIXED)
        for name, kind in (
            ("down_block_types", "DownEncoderBlock2D"),
            ("up_block_types", "UpDecoderBlock2D"),
        ):
            levels = len(self.config["block_out_channels"])
            if set(configs.per_level(list(self.config[name]), levels)) != {kind}:
                raise ValueError(
                    f"`{name}` must be {kind!r} on all levels. Received: "
                    f"{self.config[name]}"
                )
        latent, dtype = self.config["latent_channels"], self.dtype_policy
        self.encoder = Encoder(self.config, dtype=dtype)
        self.decoder = Decoder(self.config, dtype=dtype)
        self.to_moments = Convolution(2 * latent, 1, dtype=dtype)
        self.from_latent = Convolution(latent, 1, dtype=dtype)
        self.parts = {
            "encoder": self.encoder,
            "decoder": self.decoder,
            "quant_conv": self.to_moments,
            "post_quant_conv": self.from_latent,
        }
        self.build()

    @property
    def factor(self) -> int:
        """Pixels of a picture to one of the latent, each way."""
        return 2 ** (len(self.config["block_out_channels"]) - 1)

    def build(self, shape=None):
        """Creates all weights; called when it is made."""
        if self.built:  # Keras asks again when it loads a file
            return
        latent = self.config["latent_channels"]
        self.encoder.build((None, None, None, self.config["in_channels"]))
        self.decoder.build((None, None, None, latent))
        self.to_moments.build((None, None, None, 2 * latent))
        self.from_latent.build((None, None, None, latent))

    def moments(self, pictures):
        """The distribution of the latents of pictures.

        Args:
            pictures: `(n, h, w, 3)`, -1 to 1; h and w multiples of `factor`.

        Returns:
            Mean and logarithm of the variance, float32 `(n, h / factor, w / factor,
            latent_channels)`, not yet scaled.
        """
        found = ops.cast(self.to_moments(self.encoder(pictures)), "float32")
        mean, log_variance = ops.split(found, 2, axis=-1)
        return mean, ops.clip(log_variance, -30.0, 20.0)

    def encode(self, pictures):
        """The most likely latents of pictures, scaled to about unit variance.

        Args:
            pictures: As in `moments`.
        """
        return self.moments(pictures)[0] * self.config["scaling_factor"]

    def decode(self, latents):
        """The pictures of scaled latents.

        Args:
            latents: `(n, h, w, latent_channels)`.

        Returns:
            float32 `(n, h * factor, w * factor, 3)`, about -1 to 1.
        """
        latents = latents * (1 / self.config["scaling_factor"])
        return ops.cast(self.decoder(self.from_latent(latents)), "float32")

    def call(self, pictures):
        """Pictures there and back."""
        return self.decode(self.encode(pictures))

    def get_config(self):
        """The fields that it was built from."""
        return super().get_config() | {"config": self.config}


class _Middle(Block):
    """Attention between two residual blocks."""

    def __init__(self, channels, groups, **options):
        super().__init__(**options)
        dtype = self.dtype_policy

        def residual():
            return ResidualBlock(channels, groups, EPSILON, False, dtype=dtype)

        self.first = self.add("resnets.0", residual())
        attention = PictureAttention(channels, groups, EPSILON, dtype=dtype)
        self.attention = self.add("attentions.0", attention)
        self.second = self.add("resnets.1", residual())

    def build(self, shape):
        """Builds the parts."""
        for layer in (self.first, self.attention, self.second):
            layer.build(shape)

    def call(self, x):
        """Maps `(n, h, w, channels)`."""
        return self.second(self.attention(self.first(x)))


class _Row(Block):
    """Layers one after the other.

    Args:
        config: Of the VAE.
    """

    def __init__(self, config, **options):
        super().__init__(**options)
        self.groups, self.row, self.widths = config["norm_num_groups"], [], []
        self._fill(config)

    def _append(self, name, kind, *arguments, width):
        """Adds a layer behind the others, which hands on so many channels."""
        layer = kind(*arguments, dtype=self.dtype_policy)
        self.row.append(self.add(name, layer))
        self.widths.append(width)

    def _append_residuals(self, name, count, width):
        for number in range(count):
            at = f"{name}.resnets.{number}"
            arguments = (width, self.groups, EPSILON, False)
            self._append(at, ResidualBlock, *arguments, width=width)

    def _append_end(self, width, outputs):
        self._append("conv_norm_out", GroupNorm, self.groups, EPSILON, width=width)
        self._append("conv_out", Convolution, outputs, width=outputs)

    def build(self, shape):
        """Builds the layers."""
        for layer, width in zip(self.row, self.widths, strict=True):
            layer.build(shape)
            shape = (*shape[:-1], width)

    def call(self, x):
        """Maps `(n, h, w, c)`; the last norm's result goes through SiLU."""
        for layer in self.row:
            x = layer(x)
            if isinstance(layer, GroupNorm):
                x = ops.silu(x)
        return x


class Encoder(_Row):
    """From pictures to the moments of latents, before the last product."""

    def _fill(self, config):
        widths = list(config["block_out_channels"])
        self._append("conv_in", Convolution, widths[0], width=widths[0])
        for level, width in enumerate(widths):
            name = f"down_blocks.{level}"
            self._append_residuals(name, config["layers_per_block"], width)
            if level + 1 < len(widths):
                at = f"{name}.downsamplers.0"
                self._append(at, Downsample, width, 0, width=width)
        width = widths[-1]
        self._append("mid_block", _Middle, width, self.groups, width=width)
        self._append_end(width, 2 * config["latent_channels"])


class Decoder(_Row):
    """From latents to pictures."""

    def _fill(self, config):
        widths = list(config["block_out_channels"])[::-1]
        width = widths[0]
        self._append("conv_in", Convolution, width, width=width)
        self._append("mid_block", _Middle, width, self.groups, width=width)
        for level, width in enumerate(widths):
            name = f"up_blocks.{level}"
            self._append_residuals(name, config["layers_per_block"] + 1, width)
            if level + 1 < len(widths):
                self._append(f"{name}.upsamplers.0", Upsample, width, width=width)
        self._append_end(width, config["out_channels"])
