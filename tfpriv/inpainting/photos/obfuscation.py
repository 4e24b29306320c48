"""Blur, pixelation and boxes: what people use instead of repainting, to compare with.

They are called as inpainters are. `Blur` and `Pixelate` are made of the pixels under
the mask: **these show**, made coarse, and recognisers trained on such pictures read
them. Nothing that tfpriv says about what is under a mask holds for them; their
`reads_masked` says so. `Fill` reads nothing.
"""

import dataclasses

import numpy as np
from PIL import Image, ImageFilter

from tfpriv.support import images as image_files
from tfpriv.support.images import checked


@dataclasses.dataclass(frozen=True)
class Obfuscation:
    """What the three have in common: a picture of which parts take the place of ours.

    They take pictures of any size and ignore prompts, steps, guidance and seeds.
    """

    reads_masked = True

    def __call__(
        self, images: np.ndarray, masks: np.ndarray, prompt: str = "", **ignored
    ) -> np.ndarray:
        """Replaces what masks cover.

        Args:
            images: uint8 (n, height, width, 3).
            masks: bool (n, height, width).
            prompt: ignored.
            **ignored: what else inpainters take: steps, guidance, a seed.

        Returns:
            uint8 (n, height, width, 3), equal to `images` outside of the masks.

        Raises:
            ValueError: for arrays of another shape or type.
        """
        images, masks = checked(images, square=False), np.asarray(masks)
        if masks.dtype != bool or masks.shape != images.shape[:3]:
            raise ValueError(
                f"Expected bool masks {images.shape[:3]}. Received: {masks.dtype} of "
                f"shape {masks.shape}"
            )
        changed = np.stack([self._changed(image) for image in images])
        return np.where(masks[..., None], changed, images)

    def _changed(self, image: np.ndarray) -> np.ndarray:
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Blur(Obfuscation):
    """Gaussian blur. Reads what is under the mask: for comparison only.

    Args:
        share: standard deviation, in shorter sides of the picture, at least 0.
    """

    share: float = 1 / 16

    def _changed(self, image):
        radius = self.share * min(image.shape[:2])
        blur = ImageFilter.GaussianBlur(radius)
        return np.asarray(image_files.from_array(image).filter(blur))


@dataclasses.dataclass(frozen=True)
class Pixelate(Obfuscation):
    """Squares of one colour each. Reads what is under the mask: for comparison only.

    Args:
        squares: on the shorter side of the picture, at most; at least 1.
    """

    squares: int = 16

    def _changed(self, image):
        height, width = image.shape[:2]
        side = -(-min(height, width) // self.squares)
        shape = max(1, width // side), max(1, height // side)
        picture = image_files.from_array(image)
        coarse = picture.resize(shape, Image.Resampling.BOX)
        return np.asarray(coarse.resize(picture.size, Image.Resampling.NEAREST))


@dataclasses.dataclass(frozen=True)
class Fill(Obfuscation):
    """One colour. Reads nothing.

    Args:
        colour: red, green and blue, 0 to 255.
    """

    colour: tuple[int, int, int] = (0, 0, 0)
    reads_masked = False

    def _changed(self, image):
        return np.broadcast_to(np.array(self.colour, np.uint8), image.shape)


OBFUSCATIONS = {"blur": Blur(), "pixelate": Pixelate(), "black": Fill()}
