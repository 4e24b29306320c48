"""The weights of system 4 that come with tfpriv.

`checkpoints/manifest.json` says how they were made.
"""

from pathlib import Path

from tfpriv import checkpoints

FOLDER = "inpainting"
INPAINTER, FACENET = "inpainter", "facenet.keras"
_INSTEAD = {
    INPAINTER: "`--inpainter` takes blur, pixelate, black, or a folder of diffusers",
    FACENET: "`--facenet` takes facenet-pytorch's .pt, or a .keras file",
}


def path(name: str) -> Path:
    """Where embedded weights lie.

    Args:
        name: `INPAINTER`, a folder of diffusers, or `FACENET`.

    Raises:
        FileNotFoundError: they are not there; says what may be named instead.
    """
    try:
        found = checkpoints.folder(FOLDER) / name
        if found.exists():
            return found
        where = str(found.parent)
    except FileNotFoundError as error:
        where = str(error)
    raise FileNotFoundError(
        f"No {name} comes with this tfpriv; {_INSTEAD[name]}. Received: {where}"
    )
