"""What a viewer shows of a picture file."""

import numpy as np
from PIL import Image


def pixels_of(path) -> np.ndarray:
    """RGB, or RGBA where anything is transparent."""
    with Image.open(path) as picture:
        alpha = "A" in picture.mode or "transparency" in picture.info
        return np.asarray(picture.convert("RGBA" if alpha else "RGB"))
