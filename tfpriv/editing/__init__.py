"""System 3: faces in a generator's latent space, their attributes released privately.

Names are imported when they are used: the mechanism needs no TensorFlow.
"""

import importlib

_MODULES = {
    "AttributeMechanism": "mechanism",
    "Boundary": "boundary",
    "FixedTarget": "comparisons",
    "IsotropicMechanism": "comparisons",
    "LatentMechanism": "comparisons",
    "StyleGAN": "stylegan",
    "UnclippedSeedRelease": "comparisons",
    "attribute_subspace": "nullspace",
    "encode": "encoder",
    "invert": "inversion",
    "load_generator": "stylegan",
    "save_generator": "stylegan",
    "save_latents": "inversion",
    "train_boundary": "training_boundaries",
    "train_encoder": "encoder",
}
__all__ = sorted(_MODULES)


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
