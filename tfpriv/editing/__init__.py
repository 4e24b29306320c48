"""System 3: a face in StyleGAN's latent space, its attributes released with privacy.

Names are imported when they are used: the mechanism needs no TensorFlow.
"""

import importlib

_MODULES = {
    "AttributeMechanism": "mechanism",
    "FixedTarget": "comparisons",
    "IsotropicMechanism": "comparisons",
    "LatentMechanism": "comparisons",
    "UnclippedSeedRelease": "comparisons",
}
__all__ = sorted(_MODULES)


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
