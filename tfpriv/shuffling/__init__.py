"""System 2: pictures whose pixels are shuffled with a secret key, and their networks.

Names are imported when they are used: a key needs no TensorFlow.
"""

from tfpriv.support import lazy

_MODULES = {
    "Key": "keys",
    "KeyedModel": "keyed_model",
    "keyed": "keyed_model",
    "new_nonces": "pictures",
    "preresnet": "networks",
    "preresnet110": "networks",
    "shuffle": "pictures",
    "small_cnn": "networks",
    "unshuffle": "pictures",
    "vgg16_bn": "networks",
}
__all__ = sorted(_MODULES)
__getattr__ = lazy.attributes(__name__, _MODULES)
