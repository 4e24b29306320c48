"""System 4: what identifies a face is found, masked and painted anew.

Names are imported when they are used: masks need no TensorFlow.
"""

from tfpriv.support import lazy

_MODULES = {
    "Anonymiser": "anonymiser",
    "FaceNet": "tfpriv.networks.facenet",
    "KerasHubInpainter": "tfpriv.networks.diffusion.keras_hub_task",
    "StableDiffusionInpainter": "tfpriv.networks.diffusion",
    "aligned_region": "masks",
    "anonymise_file": "photo_jobs",
    "anonymise_folder": "photo_jobs",
    "evaluate": "evaluation",
    "export_facenet": "exporting",
    "export_grad_cam": "exporting",
    "export_inpainter": "exporting",
    "export_pipeline": "exporting",
    "eyes_to_mouth": "masks",
    "generate_dataset": "generation",
    "grad_cam": "saliency",
    "identity_classifier": "identities",
    "input_gradients": "saliency",
    "load_classifier": "identities",
    "load_facenet": "tfpriv.networks.facenet",
    "private_patches": "private_masks",
    "random_patches": "masks",
    "train_embedding_privately": "private_training",
    "train_facenet": "facenet_training",
    "train_identities": "identities",
    "train_identities_privately": "private_training",
    "train_inpainter": "tfpriv.networks.diffusion",
    "whole_face": "masks",
}
__all__ = sorted(_MODULES)
__getattr__ = lazy.attributes(__name__, _MODULES)
