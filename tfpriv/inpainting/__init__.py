"""System 4: what identifies a face is masked and painted anew.

Names are imported when they are used.
"""

from tfpriv import lazy

_MODULES = {
    "StableDiffusionInpainter": "diffusion",
    "train_inpainter": "diffusion",
}
__all__ = sorted(_MODULES)
__getattr__ = lazy.attributes(__name__, _MODULES)
