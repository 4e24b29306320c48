"""KerasHub's inpainting tasks, called as our own inpainter is."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfpriv.support import images as pictures_door
from tfpriv.support.images import checked


class KerasHubInpainter:
    """A `keras_hub.models.Inpaint` task as an inpainter.

    KerasHub encodes the picture as it is, covered parts too, and decodes all of it
    anew. Here what is under a mask is set to grey first, the task begins with noise
    alone (`strength=1`), and outside of the mask the picture is kept to the last bit.
    Each picture is painted by itself, so that it does not depend on the others.

    Args:
        task: such as `keras_hub.models.StableDiffusion3Inpaint.from_preset(...)`.

    Raises:
        TypeError: if it has no `generate` and `image_shape`.
    """

    def __init__(self, task: Any):
        if not (hasattr(task, "generate") and hasattr(task, "image_shape")):
            raise TypeError(
                "`task` must be an inpainting task of KerasHub. Received: "
                f"{type(task).__name__}"
            )
        self.task = task

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the pictures that the task paints."""
        return tuple(self.task.image_shape[:2])

    def __call__(
        self,
        images: np.ndarray,
        masks: np.ndarray,
        prompt: str = "",
        steps: int = 50,
        guidance_scale: float = 7.5,
        seed: int | Sequence[int] = 0,
    ) -> np.ndarray:
        """Repaints what the masks cover.

        Args:
            images: uint8 (n, height, width, 3), of the task's `size`.
            masks: bool (n, height, width), True where it is repainted.
            prompt: what is to be painted.
            steps: of the scheduler.
            guidance_scale: as the task takes it.
            seed: of the noise; or one for each picture.

        Returns:
            uint8 (n, height, width, 3), equal to `images` outside of the masks.

        Raises:
            ValueError: for arrays of another shape or type, or too few seeds.
        """
        images, masks = checked(images, square=False), np.asarray(masks)
        if images.shape[1:3] != self.size or (masks.shape, masks.dtype) != (
            images.shape[:3],
            np.bool_,
        ):
            raise ValueError(
                f"The task paints pictures of {self.size} pixels, with bool masks of "
                f"the same shape. Received: pictures of shape {images.shape}, masks "
                f"{masks.dtype} of shape {masks.shape}"
            )
        signed = pictures_door.to_signed(images)
        visible = np.where(masks[..., None], np.float32(0), signed)
        painted = [
            self._paint(*one, prompt, steps, guidance_scale)
            for one in zip(visible, masks, _numbers(seed, len(images)), strict=True)
        ]
        painted = np.reshape(painted, images.shape).astype(np.uint8)
        return np.where(masks[..., None], painted, images)

    def _paint(self, visible, mask, seed, prompt, steps, guidance_scale):
        # The task's own seed is that of the first noise; its autoencoder draws too,
        # from a generator that every call would move on.
        for variable in self.task.variables:
            if variable.name == "seed_generator_state":
                variable.assign(np.array([seed, 0]))
        return self.task.generate(
            {"images": visible[None], "masks": mask[None], "prompts": [prompt]},
            num_steps=steps,
            strength=1.0,
            guidance_scale=guidance_scale,
            seed=seed,
        )[0]


def _numbers(seed, count):
    """A number of 31 bits for each picture, which is what the task takes."""
    seeds = [(seed, n) for n in range(count)] if np.ndim(seed) == 0 else list(seed)
    if len(seeds) != count:
        raise ValueError(
            f"There must be one seed, or one for each of {count} pictures. Received: "
            f"{len(seeds)} seeds"
        )
    return [int(np.random.SeedSequence(s).generate_state(1)[0] >> 1) for s in seeds]
