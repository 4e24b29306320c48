"""A photograph's faces, covered and painted anew.

What is under a mask becomes grey at the photograph's full resolution, before an
inpainter sees it and before it is made smaller: nothing of it can show. The border is
blended outside of the masks only.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from tfpriv.inpainting.photos import inpainters
from tfpriv.inpainting.photos.crops import Frame, resized, touched

GREY = 128
MASK_SIZE = 256  # pixels of the squares that mask functions see, whoever paints
_BAND, _LEAST_BAND = 1 / 32, 2  # width of the blended border: in sides, in pixels


class Region(NamedTuple):
    """What is to be painted anew for one face.

    Attributes:
        frame: the square around the face, of `side` pixels.
        mask: bool (side, side): nothing under it may show.
        strength: float32 (side, side), of the paint: 1 under the mask, falling to 0 in
            a band around it.
    """

    frame: Frame
    mask: np.ndarray
    strength: np.ndarray


def cover(
    photograph: np.ndarray,
    box: tuple[int, int, int, int],
    mask: Callable[[np.ndarray], np.ndarray],
) -> Region:
    """Finds what is to be covered of a face.

    Args:
        photograph: uint8 (height, width, 3).
        box: (left, top, width, height) of the face; it meets the photograph.
        mask: a function from squares around faces, uint8 (n, 256, 256, 3), to bool
            (n, 256, 256): True is to be covered.

    Raises:
        ValueError: if the mask covers nothing of the photograph, or is no mask: the
            face would be published as it is.
    """
    frame = Frame.around(box)
    found = np.asarray(mask(resized(frame.cut(photograph), MASK_SIZE)[None]))
    if found.dtype != bool or found.shape != (1, MASK_SIZE, MASK_SIZE):
        raise ValueError(
            f"A mask function must return bool {(1, MASK_SIZE, MASK_SIZE)}. Received: "
            f"{found.dtype} of shape {found.shape}"
        )
    region = _region(frame, touched(found[0], frame.side))
    if not region.mask[frame.inside(photograph.shape)[1]].any():
        raise ValueError(f"The mask covers nothing of a face. Received: {box}")
    return region


def covered(shape: tuple[int, ...], regions: Sequence[Region]) -> np.ndarray:
    """What regions cover of a photograph.

    Args:
        shape: (height, width, ...) of the photograph.
        regions: as `cover` gives them.

    Returns:
        bool (height, width).
    """
    return _union(shape, [(region.frame, region.mask) for region in regions])


def repaint(
    photograph: np.ndarray,
    regions: Sequence[Region],
    inpainter: Callable[..., np.ndarray],
    seeds: Sequence[int],
    **options,
) -> np.ndarray:
    """Paints regions of a photograph anew.

    With the regions and the seeds fixed, the result does not depend on any pixel that
    they cover, unless the inpainter is one of `obfuscation` that reads it. Pixels
    outside of the masks and of a narrow band around them stay as they are.

    Args:
        photograph: uint8 (height, width, 3).
        regions: as `cover` gives them.
        inpainter: as `StableDiffusionInpainter`, or one of `obfuscation`. It is called
            for one face at a time, so that a face looks the same in any company.
        seeds: one for each region.
        **options: further arguments of the inpainter.

    Returns:
        uint8 (height, width, 3).

    Raises:
        ValueError: if the inpainter returns something else than pictures.
    """
    canvas = photograph.copy()
    canvas[covered(photograph.shape, regions)] = GREY
    # A face's square may show other faces, which are hidden there, too.
    band = _union(photograph.shape, [(r.frame, r.strength > 0) for r in regions])
    size = inpainters.pixels(inpainter)
    seen = photograph if inpainters.reads_masked(inpainter) else canvas
    for region, seed in zip(regions, seeds, strict=True):
        frame = region.frame
        square = resized(frame.cut(seen), size or frame.side)
        mask = touched(frame.cut(band), len(square))
        painted = inpainters.painted(inpainter, square, mask, seed=seed, **options)
        _paste(canvas, region, resized(painted, frame.side))
    return canvas


def _region(frame, mask):
    width = max(_LEAST_BAND, round(_BAND * frame.side))
    outside = ndimage.distance_transform_edt(~mask) if mask.any() else np.inf
    strength = np.clip(1 - outside / (width + 1), 0, 1).astype(np.float32)
    return Region(frame, mask, strength)


def _union(shape, parts):
    joined = np.zeros(shape[:2], bool)
    for frame, mask in parts:
        whole, part = frame.inside(shape)
        joined[whole] |= mask[part]
    return joined


def _paste(canvas, region, painted):
    """Everything under the mask is replaced; around it, paint and canvas are mixed."""
    whole, part = region.frame.inside(canvas.shape)
    strength = region.strength[part][..., None]
    mixed = strength * painted[part] + (1 - strength) * canvas[whole]
    canvas[whole] = np.rint(mixed).astype(np.uint8)
