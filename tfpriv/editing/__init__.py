"""System 3: faces in a generator's latent space, their attributes released privately.

`inversion` and `encoder` find the latent of a face; `boundary` and `subspace` say where
an attribute is, `mechanism` and `release` replace it with noise of `grid_noise`.
`fitting` fits a generator of `tfpriv.networks.stylegan` to drawn faces. `study` and
`release_audit` measure what is kept and what leaks, `comparisons` are other mechanisms.
`cli`, `training_cli` and `jobs` are the commands, `report` their pages, `export`
SavedModels.

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
    "export_release": "export",
    "load_generator": "tfpriv.networks.stylegan",
    "load_release": "export",
    "save_generator": "tfpriv.networks.stylegan",
    "save_latents": "inversion",
    "train_boundary": "training_boundaries",
    "train_encoder": "encoder",
}
__all__ = sorted(_MODULES)
__getattr__ = lazy.attributes(__name__, _MODULES)
