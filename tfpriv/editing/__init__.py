"""System 3: faces in a generator's latent space, their attributes released privately.

Names are imported when they are used: the mechanism needs no TensorFlow.
"""

from tfpriv.support import lazy

_MODULES = {
    "AttributeMechanism": "mechanism",
    "Boundary": "boundary",
    "FixedTarget": "comparisons",
    "IsotropicMechanism": "comparisons",
    "LatentMechanism": "comparisons",
    "StyleGAN": "tfpriv.networks.stylegan",
    "UnclippedSeedRelease": "comparisons",
    "attribute_subspace": "nullspace",
    "encode": "encoder",
    "invert": "inversion",
    "export_release": "exporting",
    "load_generator": "tfpriv.networks.stylegan",
    "load_release": "exporting",
    "save_generator": "tfpriv.networks.stylegan",
    "save_latents": "inversion",
    "train_boundary": "training_boundaries",
    "train_encoder": "encoder",
}
__all__ = sorted(_MODULES)
__getattr__ = lazy.attributes(__name__, _MODULES)
