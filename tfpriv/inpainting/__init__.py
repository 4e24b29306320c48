"""System 4: what identifies a face is found, masked and painted anew.

`photos` anonymises photographs, `masks` says what is covered, `experiment` repeats the
published experiment on known people. They share `recognition`, the weights of
`embedded`, `seeds` and the `options` of their verbs. `cli` chooses the verb; `report`
writes pages, `export` SavedModels. FaceNet and the diffusion model are in
`tfpriv.networks`.

Names are imported when they are used: masks need no TensorFlow.
"""

from tfpriv.support import lazy

_MODULES = {
    "Anonymiser": "photos.anonymiser",
    "FaceNet": "tfpriv.networks.facenet",
    "KerasHubInpainter": "tfpriv.networks.diffusion.keras_hub_task",
    "StableDiffusionInpainter": "tfpriv.networks.diffusion",
    "aligned_region": "masks.geometric",
    "anonymise_file": "photos.jobs",
    "anonymise_folder": "photos.jobs",
    "evaluate": "experiment.evaluation",
    "export_facenet": "export",
    "export_grad_cam": "export",
    "export_inpainter": "export",
    "export_pipeline": "export",
    "eyes_to_mouth": "masks.geometric",
    "generate_dataset": "experiment.generation",
    "grad_cam": "masks.saliency",
    "identity_classifier": "experiment.identities",
    "input_gradients": "masks.saliency",
    "load_classifier": "experiment.identities",
    "load_facenet": "tfpriv.networks.facenet",
    "private_patches": "masks.private",
    "random_patches": "masks.geometric",
    "train_embedding_privately": "experiment.private_training",
    "train_facenet": "experiment.facenet_training",
    "train_identities": "experiment.identities",
    "train_identities_privately": "experiment.private_training",
    "train_inpainter": "tfpriv.networks.diffusion",
    "whole_face": "masks.geometric",
}
__all__ = sorted(_MODULES)
__getattr__ = lazy.attributes(__name__, _MODULES)
