"""The UNet that tells the noise from the latent: UNet2DConditionModel of diffusers."""

import math

import keras
import numpy as np
from keras import ops

from tfpriv.networks.diffusion import configs
from tfpriv.networks.diffusion.blocks import Convolution, GroupNorm
from tfpriv.networks.diffusion.levels import DownLevel, MiddleLevel, UpLevel

DEFAULTS = {
    "sample_size": None,
    "in_channels": 4,
    "out_channels": 4,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "norm_eps": 1e-5,
    "cross_attention_dim": 1280,
    "attention_head_dim": 8,
    "use_linear_projection": False,
}
FIXED = {
    "mid_block_type": ("UNetMidBlock2DCrossAttn",),
    "downsample_padding": (1,),
    "mid_block_scale_factor": (1,),
    "dropout": (0.0,),
    "act_fn": ("silu",),
    "transformer_layers_per_block": (1,),
    "resnet_time_scale_shift": ("default",),
    "resnet_out_scale_factor": (1.0,),
    "time_embedding_type": ("positional",),
    "conv_in_kernel": (3,),
    "conv_out_kernel": (3,),
    "attention_type": ("default",),
    "addition_embed_type_num_heads": (64,),
    # Softmax is in float32 here in any case.
    "upcast_attention": (False, True),
}
_DOWN = {"CrossAttnDownBlock2D": True, "DownBlock2D": False}
_UP = {"CrossAttnUpBlock2D": True, "UpBlock2D": False}


@keras.saving.register_keras_serializable(package="tfpriv")
class UNet(keras.Model):
    """The denoising network.

    Args:
        config: Fields of diffusers' `UNet2DConditionModel`; `attention_head_dim` is
            the number of heads, as it is there.
        **options: Of `keras.Model`, such as `dtype="mixed_bfloat16"`.

    Raises:
        ValueError: A field has a value that is not built here.

    Reference: R. Rombach, A. Blattmann, D. Lorenz, P. Esser, B. Ommer, "High-Resolution
    Image Synthesis with Latent Diffusion Models", CVPR 2022.
    """

    def __init__(self, config: dict, **options):
        super().__init__(**options)
        self.config = configs.checked("The UNet", config, DEFAULTS, FIXED)
        self.parts = {}
        widths = list(self.config["block_out_channels"])
        self.time1 = self._part("time_embedding.linear_1", _dense, 4 * widths[0])
        self.time2 = self._part("time_embedding.linear_2", _dense, 4 * widths[0])
        self.conv_in = self._part("conv_in", Convolution, widths[0])
        down, up = self._levels(widths)
        last = len(widths) - 1
        self.down = [
            self._part(f"down_blocks.{n}", DownLevel, self.config, *level, n < last)
            for n, level in enumerate(down)
        ]
        heads = down[-1][1]
        self.middle = self._part(
            "mid_block", MiddleLevel, self.config, widths[-1], heads
        )
        self.up = [
            self._part(f"up_blocks.{n}", UpLevel, self.config, *level, n < last)
            for n, level in enumerate(up)
        ]
        groups, epsilon = self.config["norm_num_groups"], self.config["norm_eps"]
        self.norm_out = self._part("conv_norm_out", GroupNorm, groups, epsilon)
        self.conv_out = self._part("conv_out", Convolution, self.config["out_channels"])
        self.build()

    def _levels(self, widths):
        """(channels, heads, with attention?) of the blocks down, and up."""
        count = len(widths)
        heads = configs.per_level(self.config["attention_head_dim"], count)
        found = []
        for name, table, order in (
            ("down_block_types", _DOWN, 1),
            ("up_block_types", _UP, -1),
        ):
            kinds = configs.per_level(list(self.config[name]), count)
            if not set(kinds) <= set(table):
                raise ValueError(
                    f"`{name}` must be among {sorted(table)}. Received: {kinds}"
                )
            attends = [table[kind] for kind in kinds]
            found.append(
                list(zip(widths[::order], heads[::order], attends, strict=True))
            )
        return found

    def _part(self, name, kind, *arguments):
        self.parts[name] = kind(*arguments, dtype=self.dtype_policy)
        return self.parts[name]

    @property
    def divisor(self) -> int:
        """Height and width of the latent must be multiples of this."""
        return 2 ** (len(self.down) - 1)

    def build(self, shape=None):
        """Creates all weights; called when it is made."""
        if self.built:  # Keras asks again when it loads a file
            return
        width = self.config["block_out_channels"][0]
        time = (None, 4 * width)
        context = (None, None, self.config["cross_attention_dim"])
        self.time1.build((None, width))
        self.time2.build(time)
        self.conv_in.build((None, None, None, self.config["in_channels"]))
        skips = [width]
        for level in self.down:
            level.build(skips[-1], time, context)
            skips += [level.channels] * level.skips
        channels = skips[-1]
        self.middle.build(channels, time, context)
        for level in self.up:
            skips, joined = _handed_over(skips, level)
            level.build(channels, time, context, joined)
            channels = level.channels
        self.norm_out.build((None, None, None, channels))
        self.conv_out.build((None, None, None, channels))

    def call(self, x, times, context):
        """Tells the noise.

        Args:
            x: `(n, h, w, in_channels)`: noisy latent, and what else the network sees.
            times: `(n,)`, time steps of training.
            context: `(n, tokens, cross_attention_dim)`.

        Returns:
            `(n, h, w, out_channels)`, float32.
        """
        time = self.time1(ops.cast(self._waves(times), self.compute_dtype))
        time = self.time2(ops.silu(time))
        x = self.conv_in(x)
        skips = [x]
        for level in self.down:
            x, passed = level(x, time, context)
            skips += passed
        x = self.middle(x, time, context)
        for level in self.up:
            skips, joined = _handed_over(skips, level)
            x = level(x, time, context, joined)
        x = self.conv_out(ops.silu(self.norm_out(x)))
        return ops.cast(x, "float32")

    def _waves(self, times):
        """Times as sines and cosines `(n, width)`."""
        half = self.config["block_out_channels"][0] // 2
        steps = np.arange(half) / (half - self.config["freq_shift"])
        angles = ops.cast(times, "float32")[:, None] * np.exp(
            -math.log(10000) * steps
        ).astype(np.float32)
        waves = [ops.sin(angles), ops.cos(angles)]
        if self.config["flip_sin_to_cos"]:
            waves.reverse()
        return ops.concatenate(waves, axis=-1)

    def get_config(self):
        """The fields that it was built from."""
        return super().get_config() | {"config": self.config}


def _dense(units, dtype):
    return keras.layers.Dense(units, dtype=dtype)


def _handed_over(skips, level):
    """What is left of the results of the way down, and what a level of the way up gets.

    The last that was made is the first to be used.
    """
    return skips[: -level.depth], skips[-level.depth :][::-1]
