"""Inpainters by their names, and what is to be known of one."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tfpriv.inpainting import embedded
from tfpriv.inpainting.photos import obfuscation


def load(name: str | os.PathLike | None = None) -> Callable[..., np.ndarray]:
    """Loads an inpainter.

    Args:
        name: one of `obfuscation.OBFUSCATIONS`, or a folder of diffusers, which is what
            `train_inpainter` writes, too; None for the embedded one.

    Returns:
        A function as `StableDiffusionInpainter`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the folder's files are damaged, or hold something else.
    """
    if name in obfuscation.OBFUSCATIONS:
        return obfuscation.OBFUSCATIONS[name]
    folder = embedded.path(embedded.INPAINTER) if name is None else Path(name)
    if not folder.is_dir():
        names = ", ".join(obfuscation.OBFUSCATIONS)
        raise FileNotFoundError(
            f"An inpainter is one of {names}, or a folder of diffusers with "
            f"model_index.json (see `tfpriv weights`). Received: {name}"
        )
    from tfpriv.networks.diffusion import StableDiffusionInpainter

    return StableDiffusionInpainter.from_diffusers(folder)


def pixels(inpainter: Callable[..., np.ndarray]) -> int | None:
    """The size of pictures that an inpainter was made for.

    Args:
        inpainter: of ours, or with an attribute `size`: a number, or height and width.

    Returns:
        Pixels of a side; None for any.

    Raises:
        ValueError: if it paints no squares.
    """
    unet = getattr(inpainter, "unet", None)
    if unet is not None:
        vae, latent = inpainter.vae, unet.config["sample_size"]
        return latent * vae.factor if latent else vae.config["sample_size"]
    size = getattr(inpainter, "size", None)
    if not isinstance(size, tuple):
        return size
    if size[0] != size[1]:
        raise ValueError(f"Faces are painted in squares. Received: size={size}")
    return size[0]


def reads_masked(inpainter: Callable[..., np.ndarray]) -> bool:
    """Whether an inpainter must be shown what is under the masks: no unless it says so.

    Args:
        inpainter: with an attribute `reads_masked` or without.
    """
    return getattr(inpainter, "reads_masked", False)


def painted(
    inpainter: Callable[..., np.ndarray],
    picture: np.ndarray,
    mask: np.ndarray,
    **options,
) -> np.ndarray:
    """What an inpainter makes of one picture.

    Args:
        inpainter: as `load` gives it.
        picture: uint8 (height, width, 3).
        mask: bool (height, width).
        **options: of the inpainter.

    Returns:
        uint8 (height, width, 3).

    Raises:
        ValueError: if the inpainter returns something else than pictures.
    """
    found = np.asarray(inpainter(picture[None], mask[None], **options))
    if found.dtype != np.uint8 or found.shape != (1, *picture.shape):
        raise ValueError(
            f"An inpainter must return uint8 of shape {(1, *picture.shape)}. Received: "
            f"{found.dtype} of shape {found.shape}"
        )
    return found[0]
