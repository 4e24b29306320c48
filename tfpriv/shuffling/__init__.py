"""System 2: pictures whose pixels are shuffled with a secret key, and their networks.

Names are imported when they are used: a key needs no TensorFlow.
"""

import importlib

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


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
