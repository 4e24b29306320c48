"""A small inpainter of 64 pixels without a text encoder, which two cores can train."""

import keras

from tfpriv.networks.diffusion.pipeline import StableDiffusionInpainter
from tfpriv.networks.diffusion.schedulers import DDIMScheduler
from tfpriv.networks.diffusion.unet import UNet
from tfpriv.networks.diffusion.vae import VAE

_VAE = {
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
    "block_out_channels": [16, 32, 64],
    "norm_num_groups": 8,
    "scaling_factor": 1.0,
}
_UNET = {
    "in_channels": 9,
    "down_block_types": ["CrossAttnDownBlock2D"] * 2 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 2,
    "block_out_channels": [32, 64, 64],
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "attention_head_dim": 4,
    "cross_attention_dim": 8,  # there is no prompt: tokens of zeros
}


def small_inpainter(size: int = 64, seed: int = 0) -> StableDiffusionInpainter:
    """A latent of 16 x 16 x 4 for 64 pixels, and few weights.

    Args:
        size: Pixels of a side that it is meant for, a multiple of 16.
        seed: Of the initial weights.

    Raises:
        ValueError: For another size.
    """
    if size < 16 or size % 16:
        raise ValueError(f"`size` must be a multiple of 16. Received: size={size}")
    keras.utils.set_random_seed(seed)
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    vae, unet = (
        VAE(_VAE | {"sample_size": size}),
        UNet(_UNET | {"sample_size": size // 4}),
    )
    return StableDiffusionInpainter(unet, vae, scheduler)
