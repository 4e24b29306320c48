"""Latent diffusion that repaints what a mask covers, in Keras.

Names are imported when they are used.
"""

from tfpriv.support import lazy

_MODULES = {
    "StableDiffusionInpainter": "pipeline",
    "Step": "pipeline",
    "UNet": "unet",
    "VAE": "vae",
    "small_inpainter": "small",
    "train_inpainter": "train",
}
__all__ = sorted(_MODULES)
__getattr__ = lazy.attributes(__name__, _MODULES)
