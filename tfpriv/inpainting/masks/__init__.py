"""Masks: from regions and landmarks, from what a network looks at, and private ones.

`kinds` knows them by name. Names are imported when they are used: `geometric` needs no
TensorFlow.
"""

from tfpriv.support import lazy

_MODULES = {
    "aligned_region": "geometric",
    "eyes_to_mouth": "geometric",
    "grad_cam": "saliency",
    "input_gradients": "saliency",
    "private_patches": "private",
    "random_patches": "geometric",
    "whole_face": "geometric",
}
__all__ = sorted(_MODULES)
__getattr__ = lazy.attributes(__name__, _MODULES)
