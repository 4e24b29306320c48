"""The weights of system 4 that come with tfpriv.

`checkpoints/manifest.json` says how they were made.
"""

from pathlib import Path

from tfpriv import checkpoints

FOLDER = "inpainting"
INPAINTER, FACENET = "inpainter", "facenet.keras"


def path(name: str) -> Path:
    """Where embedded weights lie.

    Args:
        name: `INPAINTER`, a folder of diffusers, or `FACENET`.

    Raises:
        FileNotFoundError: they are not there.
    """
    try:
        found = checkpoints.folder(FOLDER) / name
    except FileNotFoundError:
        found = None
    if found is None or not found.exists():
        raise FileNotFoundError(
            f"No weights of {name!r} come with this tfpriv yet: name what is to be used. "
            f"For an inpainter: blur, pixelate, black, or a folder of diffusers. "
            f"Received: none"
        )
    return found
