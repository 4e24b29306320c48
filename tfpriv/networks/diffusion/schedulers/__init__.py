"""How a sample is brought from noise to a picture's latent, step by step."""

from tfpriv.networks.diffusion.schedulers.base import Scheduler
from tfpriv.networks.diffusion.schedulers.ddim import DDIMScheduler
from tfpriv.networks.diffusion.schedulers.dpm_solver import DPMSolverMultistepScheduler
from tfpriv.networks.diffusion.schedulers.pndm import PNDMScheduler

__all__ = [
    "DDIMScheduler",
    "DPMSolverMultistepScheduler",
    "PNDMScheduler",
    "Scheduler",
    "from_config",
]

_CLASSES = {
    kind.__name__: kind
    for kind in (DDIMScheduler, DPMSolverMultistepScheduler, PNDMScheduler)
}


def from_config(config: dict) -> Scheduler:
    """The scheduler that a `scheduler_config.json` of diffusers describes.

    Args:
        config: Its fields; `_class_name` says which. Fields that the class does not
            know are passed over, as diffusers does.

    Raises:
        ValueError: For another class, or a field set to what is not built here.
    """
    name = config.get("_class_name")
    if not isinstance(name, str) or name not in _CLASSES:
        raise ValueError(
            f"`_class_name` must be one of {sorted(_CLASSES)}. Received: {name!r}"
        )
    return _CLASSES[name].from_config(config)
